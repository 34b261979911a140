"""The bundle: contents survive a round trip, and every kind of damage gives a clear error."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.bundle import bundle as bundle_module
from albert_edge.bundle.archive import OpenFile, read_json
from albert_edge.bundle.bundle import FORMAT_VERSION, Bundle, model_bytes, pack, read, read_checked
from albert_edge.bundle.graph_check import check_graph
from albert_edge.errors import BundleError
from albert_edge.files import EMBEDDED_MODELS, embedded_model
from bundle.files import PARTS, TOKENIZER, remade, with_manifest


def test_what_goes_in_comes_out(blob: bytes, bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(blob)
    assert read(blob) == read(path) == read(str(path)) == bundle


def test_verification_and_length_come_out(model: bytes, bundle: Bundle) -> None:
    changed = dataclasses.replace(bundle, verification={"passed": True}, seq_len=7, layout="split")
    assert read(pack(model, changed)) == changed


def test_same_content_same_bytes(blob: bytes, model: bytes, bundle: Bundle) -> None:
    backwards = dict(reversed(list(TOKENIZER.items())))
    assert pack(model, dataclasses.replace(bundle, tokenizer_files=backwards)) == blob
    assert pack(blob, bundle) == blob  # a packed model is unpacked first


def test_model_comes_out_as_it_went_in(blob: bytes, model: bytes) -> None:
    assert model_bytes(blob) == model
    assert model_bytes(model) == model


def test_runtime_reads_the_front(blob: bytes, model: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(blob)
    ids = {
        "input_ids": np.array([[2, 9, 3]], np.int32),
        "token_type_ids": np.zeros((1, 3), np.int32),
    }
    kept = [
        Interpreter(model_content=model),
        Interpreter(model_content=blob),
        Interpreter(str(path)),
    ]
    plain, packed, mapped = (run.get_signature_runner("serving_default")(**ids) for run in kept)
    np.testing.assert_array_equal(packed["logits"], plain["logits"])
    np.testing.assert_array_equal(mapped["logits"], plain["logits"])


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_missing(blob: bytes, part: str) -> None:
    with pytest.raises(BundleError, match=f"is incomplete: there is no {part}"):
        read(remade(blob, **{part: None}))


def test_written_by_a_newer_version(blob: bytes) -> None:
    newer = with_manifest(blob, format_version=FORMAT_VERSION + 1, written_by="9.8.7", task="song")
    with pytest.raises(BundleError, match=r"albert_edge 9\.8\.7, format 4.*up to 3: upgrade"):
        read(newer)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format_version": "one"}, "format version"),
        ({"task": "singing"}, "unknown task 'singing'"),
        ({"task": []}, "unknown task"),
        ({"layout": "spiral"}, "unknown layout 'spiral'"),
        ({"quantize": None}, "quantize must be"),
        ({"seq_len": 41}, r"seq_len must be None or in \[1, 40\]"),
        ({"seq_len": True}, "seq_len must be"),
        ({"tokenizer_files": ["../../x"]}, "there is no ../../x"),
        ({"tokenizer_files": ["config.json"]}, "cannot be called 'config.json'"),
        ({"tokenizer_files": 3}, "does not list the tokenizer's files"),
        ({"provenance": 3}, "must map names to values"),
        ({"verification": 3}, "must map names to values"),
        ({"model": {"offset": 0, "size_bytes": 9}}, "state offset and size of the model"),
        ({"model": {"offset": 64, "size_bytes": 9}}, "does not have the size"),
    ],
)
def test_manifest_contradicts_itself(blob: bytes, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BundleError, match=says):
        read(with_manifest(blob, **changes))


def test_manifest_lacks_a_key(blob: bytes) -> None:
    with pytest.raises(BundleError, match="format version is None"):
        read(remade(blob, **{"albert_edge.json": b"{}"}))
    with pytest.raises(BundleError, match="expected a JSON object, got"):
        read(remade(blob, **{"albert_edge.json": b"[]"}))
    with pytest.raises(BundleError, match="is not JSON"):
        read(remade(blob, **{"albert_edge.json": b"{" * 100_000}))


def test_config_of_bert(blob: bytes) -> None:
    with pytest.raises(BundleError, match="model_type is 'bert'"):
        read(remade(blob, **{"config.json": b'{"model_type": "bert"}'}))


def test_labels_contradict(blob: bytes) -> None:
    with pytest.raises(BundleError, match=r"labels\.txt says .*good"):
        read(remade(blob, **{"labels.txt": b"good\nbad\n"}))


@given(data=st.data())
def test_damage_gives_a_bundle_or_a_clear_error(blob: bytes, data: st.DataObject) -> None:
    # Wherever bytes change, `read` never raises anything but our own error.
    damaged = bytearray(blob)
    start = len(blob) - 2500  # the archive without its longest part, where structure is densest
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.one_of(st.integers(0, 64), st.integers(start, len(blob) - 1)))
        damaged[at] = data.draw(st.integers(0, 255))
    with suppress(BundleError):
        assert isinstance(read(bytes(damaged)), Bundle)


@pytest.mark.parametrize("name", ["", "config.json", "a/b", "..\\b", "/etc/x"])
def test_tokenizer_names_are_plain(bundle: Bundle, name: str) -> None:
    with pytest.raises(BundleError, match="cannot be called"):
        dataclasses.replace(bundle, tokenizer_files={name: b""})


def test_labels_are_lines(bundle: Bundle) -> None:
    config = dataclasses.replace(bundle.config, labels=("one\ntwo", "three"))
    with pytest.raises(BundleError, match="must be one line"):
        dataclasses.replace(bundle, config=config)


def test_labels_of_tokens_are_in_the_file(tiny_tflite: Callable[..., bytes]) -> None:
    blob = tiny_tflite("token-classification", labels=("O", "B-PER", "I-PER"))
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        assert archive.read("labels.txt").decode().split() == ["O", "B-PER", "I-PER"]
    assert read(blob).config.labels == ("O", "B-PER", "I-PER")


def test_the_digest_is_checked_on_one_core_too(
    monkeypatch: pytest.MonkeyPatch, tiny_tflite: Callable[..., bytes]
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    blob = bytearray(tiny_tflite())
    read_checked(OpenFile(bytes(blob)))
    blob[len(blob) // 2] ^= 1
    with pytest.raises(BundleError, match=r"damaged"):
        read_checked(OpenFile(bytes(blob)))


def test_the_embedded_files_are_checked_here_instead_of_at_each_load() -> None:
    paths = [path for name in EMBEDDED_MODELS for path in embedded_model(name).glob("*.tflite")]
    digests = set()
    for path in paths:
        file = OpenFile(path)
        check_graph(file.view(), read(file), where=file.where)
        digests.add(read_json(file.where, file.members, "albert_edge.json")["model"]["sha256"])
    assert digests == bundle_module._EMBEDDED


@pytest.mark.parametrize("digest", ["kept", "made anew"])
def test_an_embedded_file_that_was_changed_is_refused(digest: str) -> None:
    blob = bytearray((embedded_model() / "model.tflite").read_bytes())
    front = OpenFile(bytes(blob)).front_bytes
    root = int.from_bytes(blob[:4], "little")
    blob[root : root + 4] = b"\xff" * 4  # where the graph begins
    changed = bytes(blob)
    if digest == "made anew":
        file = OpenFile(changed)
        manifest = read_json(file.where, file.members, "albert_edge.json")
        changed = bundle_module._seal(changed[:front], file.members, manifest)
    with pytest.raises(BundleError, match="damaged" if digest == "kept" else "damaged model"):
        read_checked(OpenFile(changed))
