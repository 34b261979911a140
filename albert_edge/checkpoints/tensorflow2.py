"""Read a TF-Hub encoder of version 2: a SavedModel of the model garden's `AlbertEncoder`.

The names of its variables are in a graph of objects.  The number of layers and the activation are
not stored; they are derived from the operators of the saved computation.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.checkpoints.match import CheckpointContents, TensorNaming
from albert_edge.checkpoints.tensor_file import LOSSLESS_DTYPES, LazyTensor, TensorFile, safe_path
from albert_edge.checkpoints.tensorflow1 import identity_projection, is_module, read_vocabulary
from albert_edge.checkpoints.tf_checkpoint import open_variables
from albert_edge.config import AlbertConfig
from albert_edge.errors import CheckpointError

_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
_MAX_BYTES = 2**28  # of a saved computation, which has no weights
_MAX_OPERATORS = 10**5  # that it runs; a layer takes about 100
_EPSILON = 1e-12  # of AlbertEncoder's layer norms
_ATTENTION = "transformer/self_attention"
# `Variable` states whether a WordPiece vocabulary is in lower case.
_IGNORABLE = re.compile(rf"{_OBJECTS}|(pooler_transform|cls/predictions)/.*|save_counter|Variable")
# The fields of the configuration → a variable, and its axis of this size.
_SIZES = {
    "vocab_size": ("word_embeddings/embeddings", 0),
    "embedding_size": ("word_embeddings/embeddings", 1),
    "max_position_embeddings": ("position_embedding/embeddings", 0),
    "type_vocab_size": ("type_embeddings/embeddings", 0),
    "hidden_size": (f"{_ATTENTION}/query/kernel", 0),
    "num_attention_heads": (f"{_ATTENTION}/query/kernel", 1),
    "intermediate_size": ("transformer/intermediate/bias", 0),
}


def is_tensorflow2(directory: Path) -> bool:
    """Return whether a directory is a SavedModel with a graph of objects."""
    # Its key is the first in the index, so that no part of it is omitted as a shared prefix.
    return is_module(directory) and _OBJECTS.encode() in (
        safe_path(directory / "variables", "variables.index").read_bytes()
    )


def find_tensorflow2(directory: Path) -> CheckpointContents:
    """Open a TF-Hub encoder of version 2.

    Raises:
        CheckpointError: The directory is incomplete or damaged, or the model is not an ALBERT.
        ConfigError: The sizes are not an ALBERT's.
        MissingExtraError: TensorFlow is not installed.
    """
    file = _rename_variables(open_variables(directory / "variables", "variables"))
    layers, act = _read_computation(safe_path(directory, "saved_model.pb"))
    sizes = _read_sizes(file)
    config = AlbertConfig(
        **sizes, num_hidden_layers=layers, hidden_act=act, layer_norm_eps=_EPSILON
    )
    has_projection = "embedding_projection/kernel" in file.tensors
    return CheckpointContents(
        directory=directory,
        file=_flatten(file, config),
        naming=TensorNaming("tensorflow2", lambda name: _IGNORABLE.fullmatch(name) is not None),
        config=config,
        has_label_count=False,
        tokenizer_files=read_vocabulary(directory / "assets"),
        implied={} if has_projection else identity_projection(config),
        notes=(f"the saved computation applies the layer {layers} times, with {act}",),
    )


def _rename_variables(file: TensorFile) -> TensorFile:
    """Give the variables the names that they had in the program."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    try:
        graph = TrackableObjectGraph.FromString(file.tensors[_OBJECTS].read())
    except (DecodeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file.path} has no graph of objects: {error}.") from error
    names = {
        attribute.checkpoint_key: attribute.full_name.removeprefix("bert/")
        for node in graph.nodes
        for attribute in node.attributes
    }
    tensors = {names.get(key) or key: tensor for key, tensor in file.tensors.items()}
    if len(tensors) < len(file.tensors):
        raise CheckpointError(
            f"{file.path} has two variables of the same name; it is not an ALBERT."
        )
    return TensorFile(file.path, file.files, tensors)


def _read_sizes(file: TensorFile) -> dict[str, Any]:
    # For other types, the size in bytes was not checked against the shape.
    shapes = {
        name: tensor.shape
        for name, tensor in file.tensors.items()
        if tensor.dtype in LOSSLESS_DTYPES
    }
    wrong = {
        name: shapes.get(name, "missing")
        for name, _ in _SIZES.values()
        if len(shapes.get(name, ())) != (3 if "kernel" in name else 1 if "bias" in name else 2)
    }
    if wrong:
        raise CheckpointError(
            f"{file.path} is not an AlbertEncoder: "
            + "; ".join(f"{name} is {shape}" for name, shape in wrong.items())
            + ". Of the TF-Hub encoders of version 2, only ALBERT is supported."
        )
    return {size: shapes[name][axis] for size, (name, axis) in _SIZES.items()}


def _flatten(file: TensorFile, config: AlbertConfig) -> TensorFile:
    """Merge the axes [N, D] of the attention's variables into one [H], as ALBERT stores them."""
    width, heads = config.hidden_size, config.num_attention_heads
    split = (heads, width // heads)
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
        f"{_ATTENTION}/attention_output/kernel": ((*split, width), (width, width))
    }
    for part in ("query", "key", "value"):
        shapes[f"{_ATTENTION}/{part}/kernel"] = ((width, *split), (width, width))
        shapes[f"{_ATTENTION}/{part}/bias"] = (split, (width,))
    tensors = dict(file.tensors)
    for name, (theirs, ours) in shapes.items():
        # `match` reports any other shape.
        if name in tensors and tensors[name].shape == theirs:
            read = partial(_reshape, tensors[name], ours)
            tensors[name] = LazyTensor(ours, tensors[name].dtype, read)
    return TensorFile(file.path, file.files, tensors)


def _reshape(tensor: LazyTensor, shape: tuple[int, ...]) -> np.ndarray:
    values = tensor.read()
    # `read_float32` reports a damaged file's shape.
    return values.reshape(shape) if values.size == math.prod(shape) else values


def _read_computation(path: Path) -> tuple[int, str]:
    """Return the number of layers that the default signature applies, and their activation."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"it has more than {_MAX_BYTES} bytes")
        (graph,) = SavedModel.FromString(path.read_bytes()).meta_graphs
        counts = _count_operators(graph)
    except (DecodeError, LookupError, ValueError) as error:
        raise CheckpointError(f"{path} is not the SavedModel of an encoder: {error}.") from error
    layers = counts["Softmax"]  # one per attention
    # One tanh is the pooler's.
    acts = {"gelu_new": counts["Tanh"] - 1, "gelu": counts["Erf"], "relu": counts["Relu"]}
    used = [act for act, count in acts.items() if count == layers]
    if not layers or len(used) != 1 or any(acts[act] for act in acts if act not in used):
        raise CheckpointError(
            f"{path} applies attention {layers} times and activations {acts}; an AlbertEncoder has "
            "one activation after each attention."
        )
    return layers, used[0]


def _count_operators(graph: Any) -> Mapping[str, int]:
    """Count the operators that the default signature runs, by type."""
    outputs = graph.signature_def["serving_default"].outputs.values()
    roots = {output.name.partition(":")[0] for output in outputs}
    functions = {one.signature.name: one for one in graph.graph_def.library.function}
    counts: Counter[str] = Counter()
    pending = [node for node in graph.graph_def.node if node.name in roots]
    while pending:
        node = pending.pop()
        counts[node.op] += 1
        if counts.total() > _MAX_OPERATORS:
            raise ValueError("its functions call each other endlessly")
        for attribute in node.attr.values():
            if attribute.func.name:
                pending += functions[attribute.func.name].node_def
    return counts
