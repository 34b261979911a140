"""Files in Kotlin: read as in Python, and refused for the same reasons.

No runtime is on the class path here: what is refused was refused before any could see it.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from albert_edge.bundle.archive import OpenFile, append_archive
from albert_edge.bundle.bundle import model_bytes, pack, read
from albert_edge.errors import AlbertEdgeError
from albert_edge.files import embedded_model
from bench_process import BenchError, BenchProcess
from bundle.damaged import SAME, changed_manifest
from bundle.files import remade
from fuzz import tflite as fuzz

from .jvm import open_jvm

EMBEDDED = embedded_model() / "model.tflite"
KEPT = Path(__file__).parents[1] / "data" / "written_by_0_1" / "files"
EXCEPTION = "org.albertedge.AlbertEdgeException"
MANIFEST = "albert_edge.json"


@pytest.fixture(scope="module")
def jvm() -> Iterator[BenchProcess]:
    with open_jvm("none") as opened:
        yield opened


@pytest.fixture(scope="module")
def seeds(tmp_path_factory) -> list[Path]:
    """Small files of every task, layout and recipe."""
    folder = tmp_path_factory.mktemp("seeds")
    fuzz.prepare(folder)
    return sorted(folder.glob("*.tflite"))


@pytest.fixture
def opened(jvm, tmp_path) -> Callable[[list[bytes]], list[dict[str, str] | None]]:
    """A function that tries to open files; returns the error of each, or None."""

    def try_all(contents: list[bytes]) -> list[dict[str, str] | None]:
        paths = [tmp_path / f"{index}.tflite" for index in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        errors = jvm.call("Models.openErrors", paths=list(map(str, paths)))
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


def test_what_is_in_a_file(jvm, seeds):
    for path in (EMBEDDED, *seeds):
        bundle = read(path)
        found = jvm.call("Models.describe", file=jvm.call("Models.openFile", path=str(path)))
        assert found["task"] == bundle.task
        assert found["labels"] == list(bundle.config.labels)
        assert (found["target"], found["layout"]) == (bundle.target, bundle.layout)
        assert found["quantize"] == bundle.quantize
        assert found["seqLens"] == list(bundle.seq_lens)
        most = bundle.seq_len or bundle.config.max_position_embeddings
        assert found["maxTokens"] == most
        assert found["vocabSize"] == bundle.config.vocab_size
        assert found["typeVocabSize"] == bundle.config.type_vocab_size
        assert found["padTokenId"] == bundle.config.pad_token_id
        sizes = {name: len(content) for name, content in bundle.tokenizer_files.items()}
        assert found["tokenizerFiles"] == sizes
        members = OpenFile(path).members
        assert found["members"] == sorted(members)
        assert found["config"] == json.loads(members["config.json"])
        assert found["manifest"] == json.loads(members[MANIFEST])
        rule = bundle.early_exit
        assert (found["earlyExit"] or {}).get("patience") == (rule and rule.patience)


def test_tflites_own_reader_finds_the_same(jvm, seeds):
    for path in (EMBEDDED, seeds[0], seeds[-1]):
        handle = jvm.call("Models.openFile", path=str(path))
        ours = jvm.call("Models.members", file=handle)
        members = OpenFile(path).members
        assert ours == {name: hashlib.sha256(one).hexdigest() for name, one in members.items()}
        assert jvm.call("Models.metadata", path=str(path)) == ours


@pytest.mark.parametrize("shift", [0, 4, 20, 4096])
def test_by_a_buffer_and_by_descriptors(jvm, shift):
    expected = jvm.call("Models.describe", file=jvm.call("Models.openFile", path=str(EMBEDDED)))
    for function, more in (
        ("openBuffer", {}),
        ("openDescriptor", {}),
        *([("openDescriptor", {"isParcel": True})] if shift == 0 else []),
    ):
        handle = jvm.call(f"Models.{function}", path=str(EMBEDDED), shift=shift, **more)
        assert jvm.call("Models.describe", file=handle) == expected


def test_a_buffer_on_the_heap_is_refused(jvm):
    with pytest.raises(BenchError, match=r"give a direct ByteBuffer, such as FileChannel.map"):
        jvm.call("Models.openBuffer", path=str(EMBEDDED), shift=0, onHeap=True)


def test_a_file_is_mapped_and_not_copied(jvm):
    found = jvm.call("Models.heapOf", path=str(EMBEDDED))
    assert found["direct"] < 100_000
    assert found["members"] < 700_000


def test_a_file_that_is_not_there(jvm, tmp_path):
    for path, reason in (
        (tmp_path / "none.tflite", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (Path("/dev/zero"), "it is not a regular file"),
    ):
        with pytest.raises(BenchError) as caught:
            jvm.call("Models.openFile", path=str(path))
        assert caught.value.kind == "FILE"
        assert str(caught.value) == f"cannot read {path}: {reason}."


def test_a_closed_file(jvm):
    handle = jvm.call("Models.openFile", path=str(EMBEDDED))
    jvm.call("Models.close", handle=handle)
    jvm.call("Models.close", handle=handle)
    assert jvm.call("Models.describe", file=handle)["task"] == "classification"


# Damaged files.


def test_a_file_cut_anywhere_is_refused(opened, seeds):
    content = seeds[0].read_bytes()
    edges = [info.header_offset for info in zipfile.ZipFile(io.BytesIO(content)).infolist()]
    places = {0, 1, 7, 8, 100, len(content) - 1, len(content) - 22, *edges}
    places |= {edge + step for edge in edges for step in (-1, 1, 29, 40)}
    places |= set(random.Random(0).sample(range(len(content)), 100))
    for error in opened([content[:place] for place in sorted(places)]):
        assert error is not None
        assert error["type"] == EXCEPTION
        assert any(why in error["message"] for why in ("cut short", "not a .tflite file"))


def test_a_file_with_more_behind_it_is_refused(opened, seeds):
    content = seeds[0].read_bytes()
    for error in opened([content + b"\0", content + content[-22:], content * 2]):
        assert error is not None
        assert error["type"] == EXCEPTION


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
        assert error["type"] == EXCEPTION


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
    cases = [(index, fuzz.BYTES[how](contents[index], drawn)) for index in range(len(seeds))] + [
        (index, fuzz.BYTES[how](contents[index], drawn))
        for index in (drawn.randrange(len(seeds)) for _ in range(300))
    ]
    changed = [case for index, case in cases if case != contents[index]]
    assert len(changed) > 250
    refused = 0
    for case, error in zip(changed, opened(changed), strict=True):
        if error is None:  # what was changed is a date or the like
            assert model_bytes(case)
        else:
            refused += 1
            assert error["type"] == EXCEPTION, error
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
        assert error["type"] == EXCEPTION, error
        path = tmp_path / f"{index}.tflite"
        path.write_bytes(case)
        try:  # nothing is refused that Python reads, but what has no digest
            read(path)
        except AlbertEdgeError:
            continue
        assert "without a digest" in error["message"], error
    assert refused > 200


# The same texts as Python's.


def test_errors_are_pythons(opened, tmp_path):
    content = EMBEDDED.read_bytes()
    made = {name: make(content) for name, make in SAME.items()}
    differing = {}
    for index, (error, (name, case)) in enumerate(
        zip(opened(list(made.values())), made.items(), strict=True)
    ):
        expected = python_error(case, tmp_path / f"{index}.tflite")
        if error is None or error["message"] != expected:
            differing[name] = (error, expected)
    text = "\n".join(f"{n}: {e and e['message']}\n   {p}" for n, (e, p) in differing.items())
    assert not differing, text


def test_a_file_of_a_newer_version(opened):
    newer = changed_manifest(format_version=4, written_by="9.1.0")(EMBEDDED.read_bytes())
    (error,) = opened([newer])
    assert error is not None
    assert error["message"].endswith(
        "was written by albert_edge 9.1.0, format 4; this version reads formats up to 3: upgrade "
        "the library org.albertedge:albert-edge in this app."
    )


def test_files_without_a_digest_are_refused(opened):
    errors = opened([path.read_bytes() for path in sorted(KEPT.glob("*.tflite"))])
    assert len(errors) == 26
    for error in errors:
        assert error is not None
        assert "was written by albert_edge 0.1.0 without a digest" in error["message"]
        assert "albert-edge convert CHECKPOINT --target android" in error["message"]


def test_a_digest_that_is_none(opened):
    content = EMBEDDED.read_bytes()
    stored = json.loads(OpenFile(content).members[MANIFEST])["model"]["sha256"]
    for other in (stored.upper(), stored[:-1], "", "g" * 64):
        (error,) = opened([remade(content, **{MANIFEST: _replaced(content, stored, other)})])
        assert error is not None
        assert "its SHA-256 differs" in error["message"]


def _replaced(content: bytes, old: str, new: str) -> bytes:
    return OpenFile(content).members[MANIFEST].replace(old.encode(), new.encode())


def test_json_is_read_as_strictly_as_in_python(opened):
    for manifest in (
        b'{"format_version": 1, "format_version": 1}',
        b"{'format_version': 1}",
        b"{format_version: 1}",
        b'{"format_version": 1} more',
        b'{"format_version": 1, // a comment\n"task": 1}',
        b'{"format_version": 1;"task": 1}',
        b'{"format_version": NaN}',
        b'{"format_version": "\\ud800"}',
        b'{"format_version": "\xff"}',
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b"",
        b"{",
    ):
        (error,) = opened([remade(EMBEDDED.read_bytes(), **{MANIFEST: manifest})])
        assert error is not None
        assert error["type"] == EXCEPTION, error
        assert f"is damaged: {MANIFEST}" in error["message"], error


def test_an_archive_larger_than_what_is_read(opened):
    content = bytearray(EMBEDDED.read_bytes())
    end = len(content) - 22
    (directory,) = struct.unpack_from("<I", content, end + 16)
    struct.pack_into("<II", content, directory + 20, 2**31 - 1, 2**31 - 1)
    (error,) = opened([bytes(content)])
    assert error is not None
    assert "at most 67108864 are read" in error["message"]


def test_the_writer_is_the_one_that_is_tested(seeds):
    assert len(seeds) == 26
    again = pack(model_bytes(seeds[0]), read(seeds[0]))
    assert again == seeds[0].read_bytes()
    assert append_archive(b"", {})[:4] == b"PK\x05\x06"
