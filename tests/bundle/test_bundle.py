"""The bundle: contents survive a round trip, and every kind of damage gives a clear error."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.bundle.archive import append_archive
from albert_edge.bundle.bundle import FORMAT_VERSION, Bundle, model_bytes, pack, read
from albert_edge.errors import BundleError

TOKENIZER = {"spiece.model": b"not read here", "tokenizer_config.json": b"{}"}
PARTS = ("albert_edge.json", "config.json", "labels.txt", "spiece.model", "tokenizer_config.json")


@pytest.fixture(scope="module")
def model(tiny_tflite: Callable[..., bytes]) -> bytes:
    return model_bytes(tiny_tflite("classification"))


@pytest.fixture(scope="module")
def bundle(tiny_tflite: Callable[..., bytes]) -> Bundle:
    return dataclasses.replace(read(tiny_tflite("classification")), tokenizer_files=TOKENIZER)


@pytest.fixture(scope="module")
def blob(model: bytes, bundle: Bundle) -> bytes:
    return pack(model, bundle)


def remade(blob: bytes, **changes: bytes | None) -> bytes:
    """Write the archive anew with members changed, or left out where the change is None."""
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
        front = blob[: min(info.header_offset for info in archive.infolist())]
    members |= {name: value for name, value in changes.items() if value is not None}
    for name in [name for name, value in changes.items() if value is None]:
        del members[name]
    return append_archive(front, members)


def with_manifest(blob: bytes, **changes: Any) -> bytes:
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        manifest = json.loads(archive.read("albert_edge.json"))
    return remade(blob, **{"albert_edge.json": json.dumps(manifest | changes).encode()})


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


def test_weights_keep_their_bytes_and_their_alignment(blob: bytes, model: bytes) -> None:
    def buffers(content: bytes) -> list[tuple[bytes, int]]:
        root, base = schema.Model.GetRootAs(content), np.frombuffer(content, np.uint8).ctypes.data
        arrays = [root.Buffers(index).DataAsNumpy() for index in range(root.BuffersLength())]
        return [
            (a.tobytes(), (a.ctypes.data - base) % 64) for a in arrays if not isinstance(a, int)
        ]

    packed = buffers(blob)
    assert packed[:-1] == buffers(model)
    assert packed[-1][0][4:8] == b"M001"
    assert packed[-1][1] == 0


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


def test_archive_is_plain_and_counts_from_the_files_beginning(blob: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        infos = archive.infolist()
        assert sorted(info.filename for info in infos) == sorted(PARTS)
        assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
        assert archive.read("labels.txt") == b"negative\nneutral\npositive\n"
    directory = int.from_bytes(blob[-6:-2], "little")  # as the end record states it, uncorrected
    assert blob[directory : directory + 4] == b"PK\x01\x02"


class Table:
    """A reader of flatbuffer tables by slot, independent of the writer."""

    def __init__(self, content: bytes, at: int) -> None:
        self.table = flatbuffers.table.Table(content, at)

    def text(self, slot: int) -> str:
        return self.table.String(self.table.Pos + self.table.Offset(4 + 2 * slot)).decode()

    def byte(self, slot: int) -> int:
        at = self.table.Offset(4 + 2 * slot)
        return self.table.Bytes[self.table.Pos + at] if at else 0

    def child(self, slot: int) -> Table:
        at = self.table.Offset(4 + 2 * slot)
        return Table(self.table.Bytes, self.table.Indirect(self.table.Pos + at))

    def children(self, slot: int) -> list[Table]:
        if not (at := self.table.Offset(4 + 2 * slot)):
            return []
        first, count = self.table.Vector(at), self.table.VectorLen(at)
        return [Table(self.table.Bytes, self.table.Indirect(first + 4 * i)) for i in range(count)]


def metadata_of(content: bytes) -> Table:
    root = schema.Model.GetRootAs(content)
    entries = [root.Metadata(index) for index in range(root.MetadataLength())]
    (entry,) = [entry for entry in entries if entry.Name() == b"TFLITE_METADATA"]
    raw = root.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
    return Table(raw, int.from_bytes(raw[:4], "little"))


@pytest.mark.parametrize("layout", ["loop", "unrolled", "split"])
def test_metadata_follows_the_standard(
    layout: str, bundle: Bundle, tiny_tflite: Callable[..., bytes]
) -> None:
    # The slots are those of metadata_schema.fbs, 1.1.0.
    content = tiny_tflite("classification", layout=layout, seq_len=16)
    changed = dataclasses.replace(bundle, layout=layout, seq_len=16)
    root = metadata_of(pack(content, changed))
    (graph,) = root.children(3)
    assert {tensor.text(0) for tensor in graph.children(2)} == {"ids", "mask", "segment_ids"}
    if layout != "split":  # whose first graph ends in hidden states
        (output,) = graph.children(3)
        assert output.text(0) == "probability"
        (labels,) = output.children(6)
        assert (labels.text(0), labels.byte(2)) == ("labels.txt", 2)  # TENSOR_AXIS_LABELS
    (unit,) = graph.children(5)
    assert unit.byte(0) == 5  # SentencePieceTokenizerOptions
    assert [file.text(0) for file in unit.child(1).children(0)] == ["spiece.model"]
    assert {file.text(0) for file in root.children(6)} | {"labels.txt"} >= set(PARTS[:4])
    assert root.text(7) == "1.1.0"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not a .tflite file"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(500), "is not a .tflite file"),
        (b"PK\x03\x04" + bytes(500), "is not a .tflite file"),
    ],
)
def test_foreign_files(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.tflite"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=rf"photo\.tflite {says}"):
        read(path)
    with pytest.raises(BundleError, match=says):
        model_bytes(path)


def test_no_file_and_a_directory(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.tflite", tmp_path):
        with pytest.raises(BundleError, match=rf"cannot read .*{path.name}"):
            read(path)
        with pytest.raises(BundleError, match=rf"cannot read .*{path.name}"):
            model_bytes(path)


def test_model_without_metadata(model: bytes) -> None:
    with pytest.raises(BundleError, match=r"no TFLite Metadata archive.*Convert the checkpoint"):
        read(model)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_cut_in_half(blob: bytes, share: float) -> None:
    with pytest.raises(BundleError, match="cut short"):
        read(blob[: int(len(blob) * share)])


def test_cut_inside_of_the_archive(blob: bytes) -> None:
    for end in range(len(blob) - 1200, len(blob), 37):
        with pytest.raises(BundleError, match=r"cut short|damaged"):
            read(blob[:end])


def test_bytes_lost_in_the_middle(blob: bytes) -> None:
    with pytest.raises(BundleError, match="damaged"):
        read(blob[:8192] + blob[8192 + 64 :])


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_missing(blob: bytes, part: str) -> None:
    with pytest.raises(BundleError, match=f"is incomplete: there is no {part}"):
        read(remade(blob, **{part: None}))


def test_written_by_a_newer_version(blob: bytes) -> None:
    newer = with_manifest(blob, format_version=FORMAT_VERSION + 1, written_by="9.8.7", task="song")
    with pytest.raises(BundleError, match=r"albert_edge 9\.8\.7, format 3.*up to 2: upgrade"):
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


def test_compressed_duplicate_and_oversized_members(blob: bytes, bundle: Bundle) -> None:
    bomb = io.BytesIO(blob)
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(10_000_000))
    with pytest.raises(BundleError, match="bomb is compressed"):
        read(bomb.getvalue())
    twice = io.BytesIO(blob)
    with zipfile.ZipFile(twice, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", b"{}")
    with pytest.raises(BundleError, match=r"holds config\.json twice"):
        read(twice.getvalue())
    with pytest.raises(BundleError, match="at most 67108864 are read"):
        read(remade(blob, huge=bytes(2**26)))


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


def test_pack_wants_a_model_with_a_signature(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"is not a \.tflite file"):
        pack(b"hello, world", bundle)
    b = flatbuffers.Builder()
    b.Finish(schema.ModelT(subgraphs=[schema.SubGraphT()]).Pack(b), b"TFL3")
    with pytest.raises(BundleError, match="no signature"):
        pack(bytes(b.Output()), bundle)


def test_labels_of_tokens_are_in_the_file(tiny_tflite: Callable[..., bytes]) -> None:
    blob = tiny_tflite("token-classification", labels=("O", "B-PER", "I-PER"))
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        assert archive.read("labels.txt").decode().split() == ["O", "B-PER", "I-PER"]
    assert read(blob).config.labels == ("O", "B-PER", "I-PER")
