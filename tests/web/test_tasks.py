"""The eight tasks in JavaScript beside Python's pipelines, on the same files and texts.

Python's runtime computes the outputs of the model for both, so only what is made of texts and
outputs can differ.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from albert_edge import convert
from albert_edge.bundle.bundle import pack, read
from albert_edge.early_exit import EarlyExit
from albert_edge.errors import AlbertEdgeError, InputError
from albert_edge.pipelines import load
from albert_edge.runtime import interpreter_forward, open_interpreter
from bench_process import BenchError, BenchProcess, Run
from pipelines.drawn_texts import drawn
from pipelines.ports import (
    Input,
    Result,
    a_long_text,
    a_question,
    a_text,
    a_text_or_two,
    an_article,
    call,
    difference,
    files_of_cases,
    masked_texts,
    masks_or_two_texts,
    two_texts,
)
from web.node import arguments, decoded, moved, open_node

TEXTS = 200  # of each task; of another kind of a task 50, and where the outputs are large
# `exp` and sums in another order, in double precision; but the mean of hidden states and their
# length, which NumPy sums in single precision.
DOUBLE, SINGLE = 1e-9, 2e-6


@dataclass(frozen=True, kw_only=True)
class Case:
    """A task, its texts and options."""

    name: str
    draw: Callable[[Random], Input]
    options: tuple[dict[str, Any], ...] = field(default=({},))
    texts: int = TEXTS


EXITS: Any = (
    {},
    {"patience": 1},
    {"threshold": 0.9},
    {"threshold": 0.6, "patience": 9},
    {"max_layers": 1},
)
ANSWERS: Any = (
    {},
    {"top_k": 5},
    {"allow_null": True, "top_k": 3, "null_threshold": -2.0},
    {"max_answer_length": 3, "stride": 5},
)
WORDS: Any = (
    {},
    *({"aggregation": name, "entities": True} for name in ("first", "average", "max")),
)
VECTORS: Any = ({}, {"pooling": "mean"}, {"pooling": "cls", "normalize": True})
SUMMARIES: Any = (
    {},
    {"bullets": 1},
    {"bullets": 7, "redundancy": 0.75},
    {"bullets": 999},
)
CANDIDATES: Any = ({}, {"top_k": 1}, {"top_k": 99})
CASES = {
    case.name: case
    for case in (
        Case(name="classification", draw=a_text, options=EXITS),
        Case(name="labels", draw=a_text_or_two, texts=50),
        Case(name="multi-label", draw=a_text_or_two, options=({}, {"threshold": 0.25}), texts=50),
        Case(name="one-label", draw=a_text, texts=50),
        Case(name="regression", draw=two_texts, texts=50),
        Case(name="question-answering", draw=a_question, options=ANSWERS),
        Case(name="token-classification", draw=a_long_text, options=WORDS),
        Case(name="exiting-answers", draw=a_question, texts=50),
        Case(name="exiting-words", draw=a_long_text, texts=50),
        Case(name="fill-mask", draw=masked_texts, options=CANDIDATES, texts=60),
        Case(name="feature-extraction", draw=a_text_or_two, options=VECTORS),
        Case(
            name="pooler", draw=a_text_or_two, options=(*VECTORS, {"pooling": "pooler"}), texts=50
        ),
        Case(name="summarization", draw=an_article, options=SUMMARIES),
        Case(name="summarize", draw=an_article, options=SUMMARIES, texts=50),
        Case(name="sentence-order", draw=two_texts),
        Case(name="pretraining", draw=masks_or_two_texts, options=CANDIDATES, texts=60),
    )
}


@pytest.fixture(scope="module")
def file_of(tiny_albert, built_once) -> Callable[..., Path]:
    return files_of_cases(tiny_albert, built_once)


@pytest.fixture(scope="module")
def node() -> Iterator[BenchProcess]:
    with open_node() as opened:
        yield opened


@cache
def runtime_of(path: Path) -> Run:
    """Return the function that runs a file in Python for JavaScript."""
    bundle = read(path)
    interpreter = open_interpreter(path, threads=1, where=str(path))
    forward = interpreter_forward(bundle, interpreter)

    def run(asked: dict[str, Any]) -> dict[str, Any]:
        given = asked["inputs"]
        rule = None
        if "patience" in given:
            most = given["max_layers"][0]
            rule = EarlyExit(
                patience=given["patience"][0],
                threshold=given["threshold"][0],
                max_layers=None if most == 2**31 - 1 else most,
            )
        names = [n for n in ("input_ids", "token_type_ids", "attention_mask") if n in given]
        inputs = {name: np.array([given[name]], np.int32) for name in names}
        (several, length) = (len(bundle.seq_lens) > 1, inputs["input_ids"].shape[1])
        assert asked["signature"] == (f"serving_{length}" if several else "serving_default")
        outputs = forward(inputs, rule)
        return {name: in_base64(values) for name, values in outputs.items()}

    return run


def in_base64(values: np.ndarray) -> dict[str, str]:
    assert values.dtype in (np.float32, np.int32)
    encoded = base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
    return {"type": str(values.dtype), "base64": encoded}


def in_python(path: Path, case: Case, given: Input, options: dict[str, Any]) -> Result:
    pipe = pipeline(path, "summarize" if case.name == "summarize" else None)
    try:
        return moved(call(pipe, given, **options), given)
    except InputError as error:
        return {"error": {"kind": "input", "message": str(error)}}


@cache
def pipeline(path: Path, task: str | None = None) -> Any:
    return load(path, task=task)


def both(node: BenchProcess, path: Path, case: Case) -> Iterator[tuple[Input, Result, Result]]:
    """Run both on a case's texts; yield text, result and Python's result."""
    task = "summarize" if case.name == "summarize" else None
    handle = node.call("openPipeline", path=str(path), task=task)
    for index, options in enumerate(case.options):
        source = drawn((case.name, index))
        inputs = [case.draw(source) for _ in range(-(-case.texts // len(case.options)))]
        found = node.call(
            "callPipeline",
            run=runtime_of(path),
            handle=handle,
            inputs=[arguments(given, options) for given in inputs],
        )
        for given, one in zip(inputs, found, strict=True):
            yield given, decoded(one), in_python(path, case, given, options)


@pytest.mark.parametrize("name", CASES)
def test_the_answers_are_pythons(node, file_of, name):
    tolerance = SINGLE if name in ("feature-extraction", "pooler") else DOUBLE
    for given, found, expected in both(node, file_of(name), CASES[name]):
        assert difference(found, expected) <= tolerance, given


@pytest.mark.parametrize("name", ["classification", "question-answering", "token-classification"])
def test_a_file_of_several_lengths_is_padded(node, built_once, tiny_albert, name):
    """The runtime gets the mask, the padding and the signature of the shortest length that fits."""

    def build(path: Path) -> None:
        model = tiny_albert(name, vocab_size=20000, max_position_embeddings=96, pad_token_id=3)
        model.tokenizer_files = read("default").tokenizer_files
        made = convert(
            model, layout="unrolled", seq_len=(16, 40, 64), quantize="float32", verified=False
        )
        made.save(path)

    path = built_once(f"lengths_{name}.tflite", build)
    case = replace(CASES[name], options=({},), texts=60)
    rows = list(both(node, path, case))
    for given, found, expected in rows:
        assert difference(found, expected) <= DOUBLE, given


def test_what_is_said_of_texts_that_cannot_be_read(node, file_of):
    texts = ("", " \n", "\u200b", "half \ud83d")
    cases: dict[str, list[Input]] = {
        "classification": [{"text": text} for text in texts],
        "regression": [{"text": "one", "pair": text} for text in texts]
        + [{"text": text, "pair": "two"} for text in texts],
        "sentence-order": [{"text": "one"}],
        "question-answering": [{"question": text, "context": "one"} for text in texts]
        + [{"question": "who?", "context": text} for text in texts],
        "fill-mask": [{"text": text} for text in (*texts, "no mask", "[MASK")],
        "summarization": [{"text": text} for text in texts] + [{"sentences": []}],
        "pretraining": [{"text": text} for text in (*texts, "no mask")],
    }
    for name, inputs in cases.items():
        path = file_of(name)
        handle = node.call("openPipeline", path=str(path), task=None)
        given = [[one["sentences"]] if "sentences" in one else arguments(one, {}) for one in inputs]
        results = node.call("callPipeline", run=runtime_of(path), handle=handle, inputs=given)
        for one, found in zip(inputs, results, strict=True):
            with pytest.raises(InputError) as raised:
                call(pipeline(path), one)
            expected = str(raised.value).replace("--pair", "pair")
            message = found["error"]["message"]
            if "surrogate" in expected:
                expected, message = expected[:60], message[:60]
            assert (found["error"]["kind"], message) == ("input", expected), one


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("regression", {"patience": 2}),
        ("classification", {"patience": 0}),
        ("classification", {"max_layers": 0}),
        ("classification", {"threshold": -1}),
        ("multi-label", {"threshold": 1.5}),
        ("question-answering", {"top_k": 0}),
        ("question-answering", {"stride": -1}),
        ("fill-mask", {"top_k": 0}),
        ("fill-mask", {"top_k": 20001}),
        ("token-classification", {"aggregation": "last"}),
        ("pooler", {"pooling": "last"}),
        ("pooler", {"normalize": True}),
        ("summarization", {"bullets": 0}),
        ("summarization", {"redundancy": 1.1}),
    ],
)
def test_options_out_of_range_are_refused(node, file_of, name, options):
    path, case = file_of(name), CASES[name]
    given = case.draw(drawn(name))
    handle = node.call("openPipeline", path=str(path), task=None)
    (found,) = node.call(
        "callPipeline",
        run=runtime_of(path),
        handle=handle,
        inputs=[arguments(given, options)],
    )
    with pytest.raises(AlbertEdgeError) as raised:
        call(pipeline(path), given, **options)
    assert found == {"error": {"kind": "input", "message": str(raised.value)}}


def test_a_file_for_another_task_is_refused(node, file_of):
    path = file_of("regression")
    for task in ("summarize", "translate"):
        with pytest.raises(InputError) as expected:
            load(path, task=task)
        with pytest.raises(BenchError) as raised:
            node.call("openPipeline", path=str(path), task=task)
        assert (raised.value.kind, str(raised.value)) == ("input", str(expected.value))


def test_a_file_without_its_own_tokenizer_is_refused(node, file_of, tmp_path):
    path = file_of("regression")
    blob, bundle = path.read_bytes(), read(path)
    without = tmp_path / "without.tflite"
    without.write_bytes(pack(blob, replace(bundle, tokenizer_files={})))
    handle = node.call("openPipeline", path=str(without), task=None)
    (found,) = node.call("callPipeline", handle=handle, inputs=[["a text"]])
    assert found["error"]["message"].startswith(
        "this file carries no tokenizer, so it does not accept text"
    )
    special = (f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK"))
    files = {"vocab.txt": "\n".join([*special, *map(str, range(20000))]).encode()}
    larger = tmp_path / "larger.tflite"
    larger.write_bytes(pack(blob, replace(bundle, tokenizer_files=files)))
    with pytest.raises(AlbertEdgeError) as expected:
        load(larger)
    with pytest.raises(BenchError) as raised:
        node.call("openPipeline", path=str(larger), task=None)
    assert (raised.value.kind, str(raised.value)) == ("file", str(expected.value))


def test_pooling_by_a_pooler_needs_one(node, file_of):
    path = file_of("feature-extraction")
    if "pooler_output" in pipeline(path)("a text"):
        pytest.skip("this encoder has a pooler: ALBERT_EDGE_DATA is not set")
    handle = node.call("openPipeline", path=str(path), task=None)
    inputs = [["a text", {"pooling": "pooler"}]]
    (found,) = node.call("callPipeline", run=runtime_of(path), handle=handle, inputs=inputs)
    assert found["error"]["message"] == (
        "this model has no pooler; choose the pooling mean or cls."
    )


def test_the_cosine_of_vectors(node):
    pairs = [([1, 2, 2], [2, 4, 4], 1), ([1, 0], [0, 3], 0), ([3, 4], [-3, -4], -1), ([0], [1], 0)]
    for first, second, expected in pairs:
        assert node.call("cosine", first=first, second=second) == pytest.approx(expected)
    with pytest.raises(BenchError, match="vectors of 2 and 1 have no cosine"):
        node.call("cosine", first=[1, 2], second=[1])


def test_one_call_at_a_time_is_in_the_runtime(node, file_of):
    texts = ["a quiet film"] * 8
    assert node.call("callAtOnce", path=str(file_of("classification")), texts=texts) == 1
