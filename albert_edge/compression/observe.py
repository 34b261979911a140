"""Watch the values between the operators of float32 pieces while they read calibration texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from albert_edge.config import AlbertConfig
from albert_edge.lite.builder import Piece
from albert_edge.lite.flatbuffer import builtin_code, schema

if TYPE_CHECKING:
    from albert_edge.lite.pieces import Pieces

__all__ = ["MOVES", "Observed", "observe"]

Float = npt.NDArray[np.float32]
Row = Mapping[str, Sequence[int]]
_Op = schema.BuiltinOperator
# They move values and do not change them.
MOVES = (_Op.RESHAPE, _Op.TRANSPOSE, _Op.SPLIT, _Op.SLICE, _Op.STRIDED_SLICE)


@dataclass(frozen=True, slots=True)
class Observed:
    """What a tensor held, over all texts.

    Attributes:
        low: float32 [P, C], the least value in each of P passes, by channel (C = 1 for attention).
        high: The greatest.
        gram: float64 [C, C], the sum of `x xᵀ` over all tokens and passes, for the input of a
            product; or None.
    """

    low: Float
    high: Float
    gram: npt.NDArray[np.float64] | None


def observe(
    pieces: Pieces,
    config: AlbertConfig,
    rows: Sequence[Row],
    *,
    seq_len: int | None = None,
    grams: bool = False,
    advance: Callable[[], object] = lambda: None,
) -> dict[str, dict[int, Observed]]:
    """Run float32 pieces over `rows` and watch every value that an operator computes.

    Args:
        pieces: One model's stages.
        config: Its shape.
        rows: Texts as `input_ids` and `token_type_ids`, each no longer than `seq_len`.
        seq_len: The fixed length of the pieces; what stands in padded places is not watched.
        grams: Whether to add up what error-compensating rounding needs.
        advance: Called after every text.

    Returns:
        By stage (`embed`, `layer_0`, ..., `head`, `head_exits`), what each tensor of its graph
        held.
    """
    named = {"embed": pieces.embed, "head": pieces.head}
    named |= {f"layer_{group}": layer for group, layer in enumerate(pieces.layers)}
    named |= {"head_exits": pieces.exits} if pieces.exits else {}
    stages = {name: _Stage(Piece(blob, name), grams) for name, blob in named.items()}
    layers = [f"layer_{config.group_of_layer(index)}" for index in range(config.num_hidden_layers)]
    # Sorted, so that a runtime plans its memory once for each length.
    for row in sorted(rows, key=lambda row: len(row["input_ids"])):
        count = len(row["input_ids"])
        state = stages["embed"].run(_arrays(row, seq_len), count, None)
        for index, layer in enumerate(layers):
            state |= stages[layer].run(state, count, layers[:index].count(layer))
            if "head_exits" in stages and index < len(layers) - 1:
                stages["head_exits"].run(state, count, index)
        stages["head"].run(state, count, None)
        advance()
    return {name: stage.observed() for name, stage in stages.items()}


class _Stage:
    """A piece in an interpreter that keeps every value, and what was seen so far."""

    def __init__(self, piece: Piece, grams: bool) -> None:
        self._piece = piece
        self._interpreter = Interpreter(
            model_content=piece.blob,
            num_threads=_THREADS,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
        self._watched = _floats(
            piece, (index for op in piece.graph.operators for index in op.outputs)
        )
        self._watched |= _floats(piece, piece.inputs.values())
        self._scores, self._contexts, self._computed, self._inputs = _roles(piece)
        self._products = self._inputs if grams else set()
        self._low: dict[int, list[Float]] = defaultdict(list)
        self._high: dict[int, list[Float]] = defaultdict(list)
        self._grams: dict[int, Any] = {}
        self._tokens: dict[int, list[Float]] = defaultdict(list)

    def run(
        self, inputs: Mapping[str, npt.NDArray[Any]], count: int, index: int | None
    ) -> dict[str, npt.NDArray[Any]]:
        runtime = self._interpreter
        for name, tensor in self._piece.inputs.items():
            runtime.resize_tensor_input(tensor, inputs[name].shape)
        runtime.allocate_tensors()
        for name, tensor in self._piece.inputs.items():
            runtime.set_tensor(tensor, inputs[name])
        runtime.invoke()
        for tensor in self._watched:
            self._see(tensor, self._real(tensor, runtime.get_tensor(tensor), count), index or 0)
        return {name: runtime.get_tensor(tensor) for name, tensor in self._piece.outputs.items()}

    def _real(self, tensor: int, values: Float, count: int) -> Float:
        """Cut off what stands in padded places, and gather channels: [rows, C]."""
        if tensor in self._scores:  # [N, T, T]
            return values[:, :count, :count].reshape(-1, 1)
        if tensor in self._contexts:  # [N, T, D]
            values = values[:, :count].swapaxes(0, 1)  # [T, N, D]
            return values.reshape(count, values[0].size)
        channels = values.shape[-1] if tensor in self._computed | self._inputs else 1
        real: Float = values[:count].reshape(-1, channels)  # [T, C], or moved about
        return real

    def _see(self, tensor: int, values: Float, index: int) -> None:
        low, high = self._low[tensor], self._high[tensor]
        if index == len(low):
            low.append(values.min(axis=0))
            high.append(values.max(axis=0))
        else:
            low[index] = np.minimum(low[index], values.min(axis=0))
            high[index] = np.maximum(high[index], values.max(axis=0))
        if tensor in self._products:
            self._tokens[tensor].append(values)
            if sum(map(len, self._tokens[tensor])) >= _TOKENS:
                self._add_gram(tensor)

    def _add_gram(self, tensor: int) -> None:
        values = np.concatenate(self._tokens.pop(tensor))  # [tokens, C]
        self._grams[tensor] = self._grams.get(tensor, 0) + (values.T @ values).astype(np.float64)

    def observed(self) -> dict[int, Observed]:
        for tensor in list(self._tokens):
            self._add_gram(tensor)
        return {
            tensor: Observed(np.stack(low), np.stack(self._high[tensor]), self._grams.get(tensor))
            for tensor, low in self._low.items()
        }


_THREADS = 2  # more gain little at a few dozen tokens
_TOKENS = 2048  # whose products are added up at once: a sum of C² numbers costs as much as many


def _roles(piece: Piece) -> tuple[set[int], set[int], set[int], set[int]]:
    """Return attention scores, contexts, values [T, C] that are computed, and products' inputs."""
    scores: set[int] = set()
    contexts: set[int] = set()
    computed = set(piece.inputs.values())
    inputs: set[int] = set()
    for operator in piece.graph.operators:
        code = builtin_code(piece.model, operator)
        outputs = {int(index) for index in operator.outputs}
        if code == _Op.BATCH_MATMUL and not operator.builtinOptions.adjY:
            contexts |= outputs
        elif code == _Op.BATCH_MATMUL or scores & set(map(int, operator.inputs)):
            scores |= outputs  # the product, the mask's sum and the softmax
        elif code not in MOVES:
            computed |= outputs
        if code == _Op.FULLY_CONNECTED:
            inputs.add(int(operator.inputs[0]))
    return scores - contexts, contexts, computed, inputs


def _floats(piece: Piece, tensors: Iterable[int]) -> set[int]:
    kinds = piece.graph.tensors
    return {int(i) for i in tensors if kinds[int(i)].type == schema.TensorType.FLOAT32}


def _arrays(row: Row, seq_len: int | None) -> dict[str, npt.NDArray[np.int32]]:
    arrays = {name: np.asarray([values], np.int32) for name, values in row.items()}
    if seq_len is None:
        return arrays
    count = len(row["input_ids"])
    arrays["attention_mask"] = np.ones((1, count), np.int32)
    return {name: np.pad(values, ((0, 0), (0, seq_len - count))) for name, values in arrays.items()}
