"""The tasks of the Android library, but for question answering; and what every task refuses."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import pytest

from albert_edge.bundle.bundle import pack, read
from albert_edge.errors import BundleError, InputError
from albert_edge.pipelines import load
from android.task_tests import *  # noqa: F403 (every test of it, and their fixtures)
from android.task_tests import CASES, FLOAT
from bench_process import BenchError
from pipelines.ports import call
from rigs.kotlin import KOTLIN, class_path

NAMES = [name for name in CASES if name != "question-answering"]


def test_what_is_said_of_texts_that_cannot_be_read(jvm, file_of):
    texts = ("", " \n", "\u200b", "half \ud83d")
    cases = {
        "classification": [{"text": text} for text in texts],
        "regression": [{"text": "one", "pair": text} for text in texts]
        + [{"text": text, "pair": "two"} for text in texts],
        "question-answering": [{"question": text, "context": "one"} for text in texts]
        + [{"question": "who?", "context": text} for text in texts],
        "fill-mask": [{"text": text} for text in (*texts, "no mask", "[MASK")],
        "summarization": [{"text": text} for text in texts] + [{"sentences": []}],
        "pretraining": [{"text": text} for text in (*texts, "no mask")],
    }
    for name, inputs in cases.items():
        pipe = load(file_of(name))
        handle = jvm.call("Tasks.openDefault", path=str(file_of(name)))
        for given, found in zip(
            inputs, jvm.call("Tasks.run", handle=handle, inputs=inputs), strict=True
        ):
            with pytest.raises(InputError) as raised:
                call(pipe, given)
            expected = str(raised.value).replace(" (--pair)", "")
            if "surrogate" in expected:
                expected, found["error"] = expected[:60], found["error"][:60]
            assert found == {"error": expected}, given
        jvm.call("Models.close", handle=handle)


def test_a_file_for_another_task_is_refused(jvm, file_of):
    with pytest.raises(BenchError) as raised:
        jvm.call("Tasks.open", path=str(file_of("regression")), type="QuestionAnswerer")
    assert str(raised.value) == (
        "QuestionAnswerer takes a file for question-answering; this file is for classification."
    )
    with pytest.raises(BenchError, match="takes a file for summarization or feature-extraction;"):
        jvm.call("Tasks.open", path=str(file_of("regression")), type="TextSummarizer")


def test_a_file_without_its_own_tokenizer_is_refused(jvm, file_of, tmp_path):
    path = file_of("regression")
    blob, bundle = path.read_bytes(), read(path)
    without = tmp_path / "without.tflite"
    without.write_bytes(pack(blob, replace(bundle, tokenizer_files={})))
    with pytest.raises(BenchError) as raised:
        jvm.call("Tasks.openDefault", path=str(without))
    assert str(raised.value).startswith(
        "this file carries no tokenizer, so it does not accept text"
    )
    words = [
        *(f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")),
        *map(str, range(20000)),
    ]
    larger = tmp_path / "larger.tflite"
    files = {"vocab.txt": "\n".join(words).encode()}
    larger.write_bytes(pack(blob, replace(bundle, tokenizer_files=files)))
    with pytest.raises(BundleError) as expected:
        load(larger)
    with pytest.raises(BenchError) as raised:
        jvm.call("Tasks.openDefault", path=str(larger))
    assert str(raised.value) == str(expected.value)
    assert raised.value.kind == "FILE"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("regression", {"patience": 2}, "this file does not support early exit"),
        ("classification", {"patience": 0}, "patience must be a whole number of at least 1, not 0"),
        ("classification", {"maxLayers": 0}, "max_layers must be a whole number of at least 1"),
        ("classification", {"exitThreshold": -1}, "threshold must be a probability, or above 1"),
        ("multi-label", {"scoreThreshold": 1.5}, r"scoreThreshold must be in \[0, 1\], not 1.5"),
        ("question-answering", {"maxResults": 0}, "maxResults must be at least 1, stride"),
        ("question-answering", {"stride": -1}, "stride at least 0"),
        ("fill-mask", {"maxResults": 0}, "maxResults must be at least 1, not 0"),
        ("fill-mask", {"maxResults": 20001}, r"maxResults must be in \[1, 20000\], not 20001"),
        ("summarization", {"maxBullets": 0}, "maxBullets must be at least 1, redundancy in"),
        ("summarization", {"redundancy": 1.1}, "maxBullets must be at least 1, redundancy in"),
    ],
)
def test_options_out_of_range_are_refused(jvm, file_of, name, options, message):
    path = file_of(name)
    with pytest.raises(BenchError, match=message) as raised:
        jvm.call("Tasks.open", path=str(path), type=CASES[name].type, options=options)
    assert raised.value.kind == "INPUT"


def test_pooling_by_a_pooler_needs_one(jvm, file_of):
    path = file_of("feature-extraction")
    if "pooler_output" in load(path)("a text"):
        pytest.skip("this encoder has a pooler: ALBERT_EDGE_DATA is not set")
    options = {"pooling": "POOLER"}
    handle = jvm.call("Tasks.open", path=str(path), type="TextEmbedder", options=options)
    (found,) = jvm.call("Tasks.run", handle=handle, inputs=[{"text": "a text"}])
    assert found == {"error": "this model has no pooler; choose the pooling mean or cls."}


def test_the_cosine_of_vectors(jvm):
    pairs = [([1, 2, 2], [2, 4, 4], 1), ([1, 0], [0, 3], 0), ([3, 4], [-3, -4], -1), ([0], [1], 0)]
    for first, second, expected in pairs:
        assert jvm.call("Tasks.cosine", first=first, second=second) == pytest.approx(expected)
    with pytest.raises(BenchError, match="vectors of 2 and 1 have no cosine"):
        jvm.call("Tasks.cosine", first=[1, 2], second=[1])


def test_a_closed_task_says_so(jvm, file_of):
    handle = jvm.call("Tasks.openDefault", path=str(file_of("regression")))
    jvm.call("Models.close", handle=handle)
    (found,) = jvm.call("Tasks.run", handle=handle, inputs=[{"text": "a text"}])
    assert "is closed; open it again" in found["error"]


def test_java_uses_the_library_without_coroutines(file_of, tmp_path):
    (aar,) = KOTLIN.require().glob("*.aar")
    with ZipFile(aar) as archive:
        whole = archive.extract("classes.jar", tmp_path)
    jars = [jar for jar in class_path("desktop").split(":") if "coroutines" not in jar]
    source = Path(__file__).with_name("UseFromJava.java")
    options = ("-Xlint:all,-classfile,-path", "-Werror", "-proc:none", "--release", "11")
    compiler = ["javac", *options, "-cp", ":".join([whole, *jars]), "-d", str(tmp_path)]
    done = subprocess.run([*compiler, str(source)], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stdout + done.stderr
    path, text = file_of("classification"), "a quiet, moving film"
    command = ["java", "-cp", ":".join([str(tmp_path), *jars]), "UseFromJava", str(path), text]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = load(path)(text, patience=1, max_layers=3)
    *scores, label, error = done.stdout.splitlines()
    found = dict(line.split() for line in scores)
    assert {k: float(v) for k, v in found.items()} == pytest.approx(expected["scores"], abs=FLOAT)
    assert label == f"{expected['label']} {expected['layers_used']} layers"
    assert error == "INPUT: the text is empty: it contains no tokens."
