"""Files in JavaScript: read as in Python, and refused for the same reasons."""

from __future__ import annotations

import base64
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from albert_edge import convert
from albert_edge.bundle.archive import OpenFile
from albert_edge.bundle.bundle import model_bytes, read
from albert_edge.errors import AlbertEdgeError
from albert_edge.files import embedded_model
from bench_process import BenchError, BenchProcess
from bundle.damaged import MANIFEST, SAME, changed_manifest
from bundle.files import remade
from fuzz import tflite as fuzz
from web.node import open_node

EMBEDDED = embedded_model() / "model.tflite"
# At the end of an error: files that web pages can run.
COMMAND = "Convert the checkpoint again: albert-edge convert CHECKPOINT --target web."
KEPT = Path(__file__).parents[1] / "data" / "written_by_0_1" / "files"
Errors = list[dict[str, str] | None]


@pytest.fixture(scope="module")
def node() -> Iterator[BenchProcess]:
    with open_node() as opened:
        yield opened


@pytest.fixture(scope="module")
def seeds(tmp_path_factory) -> list[Path]:
    """Small files of every task, layout and recipe."""
    folder = tmp_path_factory.mktemp("seeds")
    fuzz.prepare(folder)
    return sorted(folder.glob("*.tflite"))


@pytest.fixture
def opened(node, tmp_path) -> Callable[[list[bytes]], Errors]:
    """A function that tries to open files; returns the error of each, or None."""

    def try_all(contents: list[bytes]) -> Errors:
        paths = [tmp_path / f"{index}.tflite" for index in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        errors: Errors = node.call("openErrors", paths=list(map(str, paths)))
        for path in paths:
            path.unlink()
        return errors

    return try_all


def python_error(content: bytes, path: Path) -> str:
    path.write_bytes(content)
    try:
        read(path)
    except AlbertEdgeError as error:
        return str(error)
    return ""


def test_what_is_in_a_file(node, seeds):
    for path in (EMBEDDED, *seeds):
        bundle = read(path)
        found = node.call("describe", path=str(path))
        for name in ("task", "target", "layout", "quantize"):
            assert found[name] == getattr(bundle, name)
        config = bundle.config
        for name in ("vocab_size", "type_vocab_size", "pad_token_id", "hidden_size"):
            assert found[name] == getattr(config, name)
        assert found["labels"] == list(config.labels)
        assert found["seq_lens"] == list(bundle.seq_lens)
        assert found["max_tokens"] == bundle.seq_len or config.max_position_embeddings
        sizes = {name: len(content) for name, content in bundle.tokenizer_files.items()}
        assert found["tokenizer_files"] == sizes
        members = OpenFile(path).members
        assert list(found["members"]) == sorted(members)
        for name, content in found["members"].items():
            assert base64.b64decode(content) == members[name]
        assert found["config"] == json.loads(members["config.json"])
        assert found["manifest"] == json.loads(members[MANIFEST])
        rule = bundle.early_exit
        assert found["early_exit"] == (
            rule and {"patience": rule.patience, "threshold": rule.threshold, "max_layers": None}
        )
        assert found["model_bytes"] == OpenFile(path).front_bytes
        assert found["size_bytes"] == path.stat().st_size


def test_the_forms_in_which_a_page_has_a_file(node):
    found = node.call("openForms", path=str(EMBEDDED))
    size = EMBEDDED.stat().st_size
    expected = ["the model", "classification", size, OpenFile(EMBEDDED).front_bytes]
    assert found == [expected] * 5


def test_what_is_no_file(node):
    *odd, missing, broken = node.call("openOdd")
    for error in odd:
        assert error["kind"] == "input"
        assert error["message"].startswith("a model is given as an ArrayBuffer, a Uint8Array, a Bl")
    assert missing["message"] == "cannot read the model: the server answered 404 Not Found."
    assert broken == {"kind": "file", "message": "cannot read a file: it is gone."}


# Damaged files.


def test_a_file_cut_anywhere_is_refused(opened, seeds):
    content = seeds[0].read_bytes()
    edges = [info.header_offset for info in zipfile.ZipFile(io.BytesIO(content)).infolist()]
    places = {0, 1, 7, 8, 100, len(content) - 1, len(content) - 22, *edges}
    places |= {edge + step for edge in edges for step in (-1, 1, 29, 40)}
    places |= set(random.Random(0).sample(range(len(content)), 100))
    for error in opened([content[:place] for place in sorted(places)]):
        assert error is not None
        assert any(why in error["message"] for why in ("cut short", "not a .tflite file"))


def test_a_file_with_more_behind_it_is_refused(opened, seeds):
    content = seeds[0].read_bytes()
    assert all(opened([content + b"\0", content + content[-22:], content * 2]))


def test_every_byte_of_the_archive_counts(opened, seeds):
    content = seeds[0].read_bytes()
    infos = zipfile.ZipFile(io.BytesIO(content)).infolist()
    # A date, who wrote it and by which version, attributes: what no reader reads.
    ignored = set()
    at = infos[-1].header_offset + 30 + len(infos[-1].filename) + infos[-1].file_size
    for info in infos:
        ignored |= {info.header_offset + one for one in (4, 5, 10, 11, 12, 13)}
        ignored |= {at + one for one in (4, 5, 6, 7, 12, 13, 14, 15, *range(36, 42))}
        # The UTF-8 flag says nothing of an ASCII name.
        ignored |= {info.header_offset + 7, at + 9}
        at += 46 + len(info.filename)
    front = OpenFile(content).front_bytes
    places = [place for place in range(front, len(content)) if place not in ignored]
    changed = [
        content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]
        for place in places
    ]
    assert len(changed) > 3000
    for place, error in zip(places, opened(changed), strict=True):
        assert error is not None, place
        assert error["kind"] == "file"


def test_every_region_of_the_model_counts(opened, seeds):
    content = seeds[0].read_bytes()
    front = OpenFile(content).front_bytes
    places = sorted({*range(8, front, 97), front - 1})
    changed = [content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :] for at in places]
    for error in opened(changed):
        assert error is not None
        assert "it is not as it was written (its SHA-256 differs)" in error["message"]


@pytest.mark.parametrize("how", ["bits", "words", "bytes", "cut", "swap"])
def test_random_damage_is_refused(opened, seeds, how):
    drawn = random.Random(how)
    contents = [path.read_bytes() for path in seeds]
    originals = [*contents, *(drawn.choice(contents) for _ in range(300))]
    cases = [(original, fuzz.BYTES[how](original, drawn)) for original in originals]
    changed = [case for original, case in cases if case != original]
    assert len(changed) > 250
    refused = 0
    for case, error in zip(changed, opened(changed), strict=True):
        if error is None:  # what was changed is a date or the like
            assert model_bytes(case)
        refused += error is not None
    assert refused > 0.98 * len(changed)


def test_damaged_manifests_with_a_right_digest(opened, seeds, tmp_path):
    drawn = random.Random(1)
    contents = [path.read_bytes() for path in seeds]
    cases = [fuzz._with_manifest(drawn.choice(contents), drawn) for _ in range(600)]
    refused = 0
    for index, (case, error) in enumerate(zip(cases, opened(cases), strict=True)):
        if error is None:
            continue
        refused += 1
        # Nothing is refused that Python reads, but what has no digest.
        expected = python_error(case, tmp_path / f"{index}.tflite")
        assert expected or "without a digest" in error["message"], error
    assert refused > 200


# The same texts as Python's.


def test_errors_are_pythons(opened, tmp_path):
    content = EMBEDDED.read_bytes()
    made = {name: make(content) for name, make in SAME.items()}
    for index, (error, (name, case)) in enumerate(
        zip(opened(list(made.values())), made.items(), strict=True)
    ):
        assert error is not None, name
        assert error["message"] == python_error(case, tmp_path / f"{index}.tflite"), name


def test_a_file_of_a_newer_version(opened):
    newer = changed_manifest(format_version=4, written_by="9.1.0")(EMBEDDED.read_bytes())
    (error,) = opened([newer])
    assert error is not None
    assert error["message"].endswith(
        "was written by albert_edge 9.1.0, format 4; this version reads formats up to 3: upgrade "
        "the package albert-edge in this page."
    )


def test_files_without_a_digest_are_refused(opened):
    errors = opened([path.read_bytes() for path in sorted(KEPT.glob("*.tflite"))])
    assert len(errors) == 26
    for error in errors:
        assert error is not None
        assert "was written by albert_edge 0.1.0 without a digest" in error["message"]
        assert error["message"].endswith(COMMAND)


def test_a_digest_that_is_none(opened):
    content = EMBEDDED.read_bytes()
    manifest = OpenFile(content).members[MANIFEST]
    stored = json.loads(manifest)["model"]["sha256"]
    for other in (stored.upper(), stored[:-1], "", "g" * 64):
        changed = manifest.replace(stored.encode(), other.encode())
        (error,) = opened([remade(content, **{MANIFEST: changed})])
        assert error is not None
        assert "its SHA-256 differs" in error["message"]


@pytest.mark.parametrize(
    "manifest",
    [
        b'{"format_version": 1, "format_version": 1}',
        b"{'format_version': 1}",
        b"{format_version: 1}",
        b'{"format_version": 1} more',
        b'{"format_version": 1, // a comment\n"task": 1}',
        b'{"format_version": 1;"task": 1}',
        b'{"format_version": NaN}',
        b'{"format_version": "\\ud800"}',
        b'{"format_version": "\xff"}',
        b'\xef\xbb\xbf{"format_version": 1}',
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b"",
        b"{",
    ],
)
def test_json_is_read_as_strictly_as_in_python(opened, manifest):
    (error,) = opened([remade(EMBEDDED.read_bytes(), **{MANIFEST: manifest})])
    assert error is not None
    assert f"is damaged: {MANIFEST}" in error["message"], error


def test_an_archive_larger_than_what_is_read(opened):
    content = bytearray(EMBEDDED.read_bytes())
    end = len(content) - 22
    (directory,) = struct.unpack_from("<I", content, end + 16)
    struct.pack_into("<II", content, directory + 20, 2**31 - 1, 2**31 - 1)
    (error,) = opened([bytes(content)])
    assert error is not None
    assert "at most 67108864 are read" in error["message"]


# What a runtime returns.


def run_model(node: BenchProcess, outputs: dict[str, list[Any]], **given: Any) -> Any:
    return node.call("runModel", path=str(EMBEDDED), outputs=outputs, **given)


def test_outputs_that_contradict_the_task(node):
    right = {"logits": [1.0, 2.0], "layers_used": [3]}
    assert run_model(node, right, ids=[2, 3], types=None) == right
    assert run_model(node, right | {"more": [1]}, ids=[2, 3], types=[0, 1]) == right
    for changed, message in (
        ({"logits": [1.0]}, "its output logits is of 1 values, expected 2."),
        ({"layers_used": []}, "its output layers_used is of 0 values, expected 1."),
        ({"logits": ["NaN", 1.0]}, "the model returns NaN or infinity in logits: its weights are"),
        ({"logits": [0.0, "-Infinity"]}, "returns NaN or infinity in logits"),
    ):
        with pytest.raises(BenchError, match=message):
            run_model(node, right | changed, ids=[2], types=None)
    for missing, name in (({"layers_used": [3]}, "logits"), ({"logits": [1, 2]}, "layers_used")):
        with pytest.raises(BenchError, match=f"its output {name} is missing, expected"):
            run_model(node, missing, ids=[2], types=None)


def test_ids_out_of_range(node):
    right = {"logits": [1.0, 2.0], "layers_used": [3]}
    most = read("default").config.max_position_embeddings
    for ids, types, message in (
        ([], None, "input_ids must have at least one token."),
        ([-1], None, r"input_ids must be in \[0, \d+\); there is -1."),
        ([10**6], None, r"input_ids must be in \[0, \d+\); there is 1000000."),
        ([1.5], None, "there is 1.5"),
        ([2], [2], r"token_type_ids must be in \[0, 2\); there is 2."),
        ([2], [0, 1], "token_type_ids has 2 entries for 1 input_ids."),
        ([2] * (most + 1), None, f"{most + 1} tokens are too many; this model supports at most"),
    ):
        with pytest.raises(BenchError, match=message):
            run_model(node, right, ids=ids, types=types)


# Files for other targets.


def test_a_file_for_another_target_gets_the_command_that_converts_it(node, seeds):
    for path in (EMBEDDED, *seeds):
        bundle = read(path)
        error = node.call("compileError", path=str(path))
        if bundle.layout == "split":
            form = "its layout is split"
        elif not bundle.seq_lens:
            form = "it takes inputs of any length"
        else:  # its runtime is missing here
            assert error["kind"] == "device"
            assert error["message"].startswith(f"LiteRT.js cannot compile {path}: ")
            continue
        assert error["kind"] == "file"
        assert error["message"].startswith(f"{path} cannot run in a web page: {form}, and LiteRT")
        assert error["message"].endswith(COMMAND)


def test_webgpu_gets_only_graphs_that_it_computes_right(node, tiny_albert, tmp_path):
    path = tmp_path / "m.tflite"

    def error_of(**options: Any) -> dict[str, str]:
        convert(tiny_albert(), verified=False, **options).save(path, force=True)
        found: dict[str, str] = node.call("compileError", path=str(path), accelerator="webgpu")
        return found

    assert error_of(target="web")["kind"] == "device"  # its runtime is missing here
    assert error_of(target="gpu")["kind"] == "device"
    for options, what in (
        ({"layout": "unrolled", "seq_len": 8}, "layout unrolled, for the target cpu"),
        ({"target": "web", "layout": "loop"}, "layout loop, for the target web"),
    ):
        error = error_of(**options)
        start = f"{path} runs in web pages on WebAssembly only: it has {what}. "
        assert error["kind"] == "file"
        assert error["message"].startswith(start + COMMAND.removesuffix("."))
