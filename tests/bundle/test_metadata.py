"""TFLite Metadata: it follows the standard, and the weights stay where they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from albert_edge.bundle.bundle import Bundle, pack
from albert_edge.errors import BundleError
from bundle.files import PARTS


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


def test_pack_wants_a_model_with_a_signature(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"is not a \.tflite file"):
        pack(b"hello, world", bundle)
    b = flatbuffers.Builder()
    b.Finish(schema.ModelT(subgraphs=[schema.SubGraphT()]).Pack(b), b"TFL3")
    with pytest.raises(BundleError, match="no signature"):
        pack(bytes(b.Output()), bundle)
