"""A TF-Hub encoder of version 2: a SavedModel of the TensorFlow model garden's `AlbertEncoder`.

Its variables lie in a graph of objects, which tells what their program called them; how often the
layer is applied, and with what activation, only the saved computation tells.
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

__all__ = ["find_tensorflow2", "is_tensorflow2"]

_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
_MOST_BYTES = 2**28  # of a saved computation, which holds no weights
_MOST_OPERATORS = 10**5  # that it runs; a layer takes about 100
_EPSILON = 1e-12  # of AlbertEncoder's layer norms
_ATTENTION = "transformer/self_attention"
# The last is whether a WordPiece vocabulary is lower-cased.
_UNUSED = re.compile(rf"{_OBJECTS}|(pooler_transform|cls/predictions)/.*|save_counter|Variable")
# The sizes: which dimension of which variable.
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
    """Tell whether a directory is a SavedModel whose variables lie in a graph of objects."""
    # Its name sorts before those of variables, so that the index spells it out.
    return is_module(directory) and _OBJECTS.encode() in (
        safe_path(directory / "variables", "variables.index").read_bytes()
    )


def find_tensorflow2(directory: Path) -> CheckpointContents:
    """Find what a TF-Hub encoder of version 2 holds.

    Raises:
        CheckpointError: It is incomplete or damaged, or is no ALBERT.
        ConfigError: Its sizes are not an ALBERT's.
        MissingExtraError: TensorFlow is not installed.
    """
    stored = _name(open_variables(directory / "variables", "variables"))
    layers, act = _read_computation(safe_path(directory, "saved_model.pb"))
    sizes = _read_sizes(stored)
    config = AlbertConfig(
        **sizes, num_hidden_layers=layers, hidden_act=act, layer_norm_eps=_EPSILON
    )
    lacks = "embedding_projection/kernel" not in stored.tensors
    given = identity_projection(config) if lacks else {}
    return CheckpointContents(
        directory=directory,
        store=_flatten(stored, config),
        dialect=TensorNaming("tensorflow2", lambda name: _UNUSED.fullmatch(name) is not None),
        config=config,
        labelled=False,
        tokenizer_files=read_vocabulary(directory / "assets"),
        given=given,
        notes=(f"the saved computation applies the layer {layers} times, with {act}",),
    )


def _name(store: TensorFile) -> TensorFile:
    """Call the variables what their program called them."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    try:
        graph = TrackableObjectGraph.FromString(store.tensors[_OBJECTS].read())
    except (DecodeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{store.path} has no graph of objects: {error}.") from error
    names = {
        attribute.checkpoint_key: attribute.full_name.removeprefix("bert/")
        for node in graph.nodes
        for attribute in node.attributes
    }
    tensors = {names.get(key) or key: tensor for key, tensor in store.tensors.items()}
    if len(tensors) < len(store.tensors):
        raise CheckpointError(f"{store.path} calls two variables by one name; it is no ALBERT.")
    return TensorFile(store.path, store.files, tensors)


def _read_sizes(store: TensorFile) -> dict[str, Any]:
    # Only of these types has a variable as many bytes as its shape says.
    shapes = {name: one.shape for name, one in store.tensors.items() if one.kind in LOSSLESS_DTYPES}
    wrong = {
        name: shapes.get(name, "missing")
        for name, _ in _SIZES.values()
        if len(shapes.get(name, ())) != (3 if "kernel" in name else 1 if "bias" in name else 2)
    }
    if wrong:
        raise CheckpointError(
            f"{store.path} is not of an AlbertEncoder: "
            + "; ".join(f"{name} is {shape}" for name, shape in wrong.items())
            + ". Of the TF-Hub encoders of version 2, those of ALBERT are read."
        )
    return {size: shapes[name][axis] for size, (name, axis) in _SIZES.items()}


def _flatten(store: TensorFile, config: AlbertConfig) -> TensorFile:
    """Lay the heads of the attention side by side, where AlbertEncoder gives them a dimension."""
    width, heads = config.hidden_size, config.num_attention_heads
    split = (heads, width // heads)
    stored: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
        f"{_ATTENTION}/attention_output/kernel": ((*split, width), (width, width))
    }
    for part in ("query", "key", "value"):
        stored[f"{_ATTENTION}/{part}/kernel"] = ((width, *split), (width, width))
        stored[f"{_ATTENTION}/{part}/bias"] = (split, (width,))
    tensors = dict(store.tensors)
    for name, (theirs, ours) in stored.items():
        # Any other shape stays, and is reported with all that do not fit.
        if name in tensors and tensors[name].shape == theirs:
            read = partial(_reshape, tensors[name], ours)
            tensors[name] = LazyTensor(ours, tensors[name].kind, read)
    return TensorFile(store.path, store.files, tensors)


def _reshape(stored: LazyTensor, shape: tuple[int, ...]) -> np.ndarray:
    values = stored.read()
    # A damaged file's shape is reported by who reads it.
    return values.reshape(shape) if values.size == math.prod(shape) else values


def _read_computation(path: Path) -> tuple[int, str]:
    """Return how often the default signature applies the layer, and its activation."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("it is too large")
        (graph,) = SavedModel.FromString(path.read_bytes()).meta_graphs
        counts = _count(graph)
    except (DecodeError, LookupError, ValueError) as error:
        raise CheckpointError(f"{path} is not the SavedModel of an encoder: {error}.") from error
    layers = counts["Softmax"]  # one for each attention
    # One hyperbolic tangent is the pooler's.
    acts = {"gelu_new": counts["Tanh"] - 1, "gelu": counts["Erf"], "relu": counts["Relu"]}
    used = [act for act, count in acts.items() if count == layers]
    if not layers or len(used) != 1 or any(acts[act] for act in acts if act not in used):
        raise CheckpointError(
            f"{path} applies attention {layers} times and activations {acts}; in an AlbertEncoder "
            "one activation follows each attention."
        )
    return layers, used[0]


def _count(graph: Any) -> Mapping[str, int]:
    """Count the operators that the default signature runs, by kind."""
    outputs = graph.signature_def["serving_default"].outputs.values()
    roots = {output.name.partition(":")[0] for output in outputs}
    functions = {one.signature.name: one for one in graph.graph_def.library.function}
    counts: Counter[str] = Counter()
    left = [node for node in graph.graph_def.node if node.name in roots]
    while left:
        node = left.pop()
        counts[node.op] += 1
        if counts.total() > _MOST_OPERATORS:
            raise ValueError("its functions call each other without an end")
        for attribute in node.attr.values():
            if attribute.func.name:
                left += functions[attribute.func.name].node_def
    return counts
