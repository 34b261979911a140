"""Attach TFLite Metadata to a model: descriptions of its inputs, outputs and associated files.

The metadata is a flatbuffer of its own (root `ModelMetadata`, identifier `M001`, schema 1.1.0) in a
buffer that the model's metadata list names `TFLITE_METADATA`.  Inputs have the names that the
TensorFlow Lite Task Library expects of a BERT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from albert_edge.bundle.archive import ALIGNMENT
from albert_edge.errors import BundleError

_NAME = b"TFLITE_METADATA"
_PARSER_VERSION = "1.1.0"  # the oldest with tokenizer options
_INPUTS = {
    "input_ids": ("ids", "Tokenized ids of the input text."),
    "attention_mask": ("mask", "1 for real tokens, 0 for padding tokens."),
    "token_type_ids": ("segment_ids", "0 for the first text, 1 for the second if there is one."),
    "patience": ("patience", "Leave when so many layers in a row confirm the answer."),
    "threshold": ("threshold", "Leave when all that is predicted has at least this probability."),
    "max_layers": ("max_layers", "Leave after so many layers."),
}
_OUTPUTS = {"layers_used": "How many layers were run."}
# The Task Library crashes on a classifier whose output has another name.
_SCORES = {
    "logits": ("probability", "The logit of each label."),
    "probabilities": ("probability", "The probability of each label."),
}
_FEATURE_PROPERTIES = 1  # ContentProperties
_TENSOR_AXIS_LABELS, _VOCABULARY = 2, 5  # AssociatedFileType
_BERT_TOKENIZER, _SENTENCE_PIECE = 4, 5  # ProcessUnitOptions


def build_metadata(
    model: bytes, *, name: str, description: str, files: Mapping[str, str], labels: str | None
) -> bytes:
    """Build the metadata of `model`'s first subgraph.

    Args:
        model: A TFLite flatbuffer with signatures.
        name: The model's name.
        description: One sentence about it.
        files: The files that will be appended, each with its description.
        labels: The entry of `files` that names the labels on the last axis of `logits` or
            `probabilities`.

    Returns:
        A flatbuffer with the identifier `M001`.

    Raises:
        BundleError: The model has no signature for its first subgraph.
    """
    inputs, outputs = _signature_names(model)
    b = flatbuffers.Builder(4096)
    entries = [_tensor(b, *_INPUTS.get(key, (key, f"The input {key}."))) for key in inputs]
    exits = []
    for key in outputs:
        if labels and key in _SCORES:
            axis = _file(b, labels, files[labels], _TENSOR_AXIS_LABELS)
            exits.append(_tensor(b, *_SCORES[key], [axis]))
        else:
            exits.append(_tensor(b, key, _OUTPUTS.get(key, f"The output {key}.")))
    ins, outs, units = _vector(b, entries), _vector(b, exits), _tokenizer_units(b, files)
    graph = _table(b, {2: ins, 3: outs, 5: units})
    others = [_file(b, key, text) for key, text in files.items() if key != labels]
    fields = {
        0: b.CreateString(name),
        1: b.CreateString(description),
        3: _vector(b, [graph]),
        6: _vector(b, others),
        7: b.CreateString(_PARSER_VERSION),
    }
    b.Finish(_table(b, fields), b"M001")
    return bytes(b.Output())


def attach_metadata(model: bytes, metadata: bytes) -> tuple[bytes, int]:
    """Attach `metadata` in front of `model`, whose own bytes stay as they are.

    Flatbuffer offsets point forward, so a new root with longer lists of buffers and metadata can
    stand before the old bytes and refer into them.  Nothing is parsed, copied piecewise, stored
    twice or moved out of its alignment, however large or however shared the weights are.

    Args:
        model: A TFLite flatbuffer.
        metadata: The result of `build_metadata`.

    Returns:
        The new flatbuffer, and where in it `model` begins, a multiple of `ALIGNMENT`.

    Raises:
        BundleError: The model keeps weights outside its flatbuffer.
    """
    old = schema.Model.GetRootAs(model)
    if any(old.Buffers(index).Offset() > 1 for index in range(old.BuffersLength())):
        raise BundleError(
            "the model keeps weights outside its flatbuffer; such files are not supported."
        )
    tail = model + bytes(-len(model) % ALIGNMENT)
    end = len(tail)  # the builder counts offsets from the end
    b = flatbuffers.Builder(end + len(metadata) + 4096)
    b.CreateByteVector(tail)  # a home for the old bytes; nothing refers to it as a vector
    buffers = [end - old.Buffers(index)._tab.Pos for index in range(old.BuffersLength())]
    entries = [old.Metadata(index) for index in range(old.MetadataLength())]
    kept = [end - entry._tab.Pos for entry in entries if entry.Name() != _NAME]
    entry = _metadata_entry(b, buffer=len(buffers))
    fields = {slot: end - at for slot, at in _root_offsets(old).items()}
    fields[4] = _vector(b, [*buffers, _buffer(b, metadata)])
    fields[6] = _vector(b, [*kept, entry])
    b.StartObject(10)
    b.PrependUint32Slot(0, old.Version(), 0)
    for slot, offset in fields.items():
        b.PrependUOffsetTRelativeSlot(slot, offset, 0)
    b.Finish(b.EndObject(), b"TFL3")
    packed = bytes(b.Output())
    return packed, len(packed) - end


def _buffer(b: flatbuffers.Builder, content: bytes) -> int:
    b.StartVector(1, len(content), ALIGNMENT)
    for byte in reversed(content):
        b.PrependByte(byte)
    return _table(b, {0: b.EndVector()})


def _metadata_entry(b: flatbuffers.Builder, *, buffer: int) -> int:
    name = b.CreateString(_NAME)
    b.StartObject(2)
    b.PrependUOffsetTRelativeSlot(0, name, 0)
    b.PrependUint32Slot(1, buffer, 0)
    return int(b.EndObject())


def _root_offsets(model: schema.Model) -> dict[int, int]:
    # Every field of `Model` after `version` is an offset: {slot: position of what it points at}.
    table = model._tab
    found = {slot: table.Offset(4 + 2 * slot) for slot in range(1, 10)}
    return {slot: table.Indirect(table.Pos + at) for slot, at in found.items() if at}


def _signature_names(model: bytes) -> tuple[list[str], list[str]]:
    # The first subgraph's inputs and outputs, in its own order, by their names in the signature.
    root = schema.Model.GetRootAs(model)
    for index in range(root.SignatureDefsLength()):
        signature = root.SignatureDefs(index)
        if signature.SubgraphIndex() == 0:
            break
    else:
        raise BundleError("the model has no signature for its first subgraph; convert it with one.")
    inputs = [signature.Inputs(j) for j in range(signature.InputsLength())]
    outputs = [signature.Outputs(j) for j in range(signature.OutputsLength())]
    names = {t.TensorIndex(): t.Name().decode() for t in (*inputs, *outputs)}
    graph = root.Subgraphs(0)
    read = [graph.Inputs(j) for j in range(graph.InputsLength())]
    written = [graph.Outputs(j) for j in range(graph.OutputsLength())]
    return [names.get(i, "unnamed") for i in read], [names.get(i, "unnamed") for i in written]


def _tokenizer_units(b: flatbuffers.Builder, files: Mapping[str, str]) -> int:
    for name, text in files.items():
        if name.endswith(".model"):
            options = _table(b, {0: _vector(b, [_file(b, name, text)])})
            return _vector(b, [_table(b, {1: options}, {0: _SENTENCE_PIECE})])
        if name == "vocab.txt":
            options = _table(b, {0: _vector(b, [_file(b, name, text, _VOCABULARY)])})
            return _vector(b, [_table(b, {1: options}, {0: _BERT_TOKENIZER})])
    return 0


def _tensor(b: flatbuffers.Builder, name: str, text: str, files: Sequence[int] = ()) -> int:
    content = _table(b, {1: _table(b, {})}, {0: _FEATURE_PROPERTIES})
    attached = _vector(b, files) if files else 0
    return _table(b, {0: b.CreateString(name), 1: b.CreateString(text), 3: content, 6: attached})


def _file(b: flatbuffers.Builder, name: str, text: str, kind: int = 0) -> int:
    return _table(b, {0: b.CreateString(name), 1: b.CreateString(text)}, {2: kind})


def _vector(b: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return int(b.EndVector())


def _table(
    b: flatbuffers.Builder,
    offsets: Mapping[int, int],
    kinds: Mapping[int, int] | None = None,
) -> int:
    # `offsets` and one-byte `kinds` by their slots in the schema; 0 leaves a field out.
    b.StartObject(8)  # as many as the largest has; the empty ones at the end take no space
    for slot, offset in offsets.items():
        b.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, kind in (kinds or {}).items():
        b.PrependUint8Slot(slot, kind, 0)
    return int(b.EndObject())
