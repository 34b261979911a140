"""The texts that show how large the values in a model become."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from albert_edge.config import AlbertConfig
from albert_edge.errors import InputError
from albert_edge.tflite.graph import StageModel, builtin_code, schema
from albert_edge.tokenizer import tokenizer_from_files

if TYPE_CHECKING:
    from albert_edge.tflite.export import Stages

__all__ = [
    "BUILT_IN",
    "MOST_TEXTS",
    "SHAPE_OPS",
    "TensorStats",
    "calibration_rows",
    "collect_stats",
]

# Enough for ranges: among 400 texts of another kind, none reached further by more than a tenth.
MOST_TEXTS = 128
_LEAST_TOKENS = 8  # of all texts together, beside special tokens
# For who has no texts at hand: plain, odd, short and long ones.
BUILT_IN = (
    "A quiet, moving film.",
    "No!",
    "The battery lasts two days, the screen does not: after a week it had 3 dead pixels.",
    "Naïve café owners in Zürich pay 9,50 francs for what costs 4.20 elsewhere 🙂.",
    "It isn't that the plot was bad; there was none, and nobody in the cast seemed to mind.",
    "When did the last train leave, and who was on it?",
    "Rain is expected in the north by Tuesday, with winds of up to 90 km/h along the coast.",
    "She laughed, closed the book, and asked whether anybody had fed the cat.",
    "The committee approved the budget (14 to 3) after a debate of nearly six hours.",
    "Worst purchase I have made in years; do not believe the five-star reviews.",
    "Water boils at 100 °C at sea level, but at about 93 °C in a town 2,000 m up.",
    "i loved every minute of it and so did my kids",
    (
        "Ada Lovelace wrote the first published program in 1843. It computed Bernoulli numbers on "
        "a machine that was never built, and she saw further than its inventor: a machine that "
        "shuffles symbols by rule, she wrote, might one day compose music as well as do sums."
    ),
)
Float = npt.NDArray[np.float32]
Row = Mapping[str, Sequence[int]]
_Op = schema.BuiltinOperator
# They move values and do not change them.
SHAPE_OPS = (_Op.RESHAPE, _Op.TRANSPOSE, _Op.SPLIT, _Op.SLICE, _Op.STRIDED_SLICE)


def calibration_rows(
    texts: Iterable[str] | None,
    config: AlbertConfig,
    tokenizer_files: Mapping[str, bytes],
    *,
    seq_len: int | None = None,
) -> list[dict[str, Sequence[int]]]:
    """Turn texts into what the model reads.

    Args:
        texts: The texts, of which the first 128 are taken; rows of ids separated by spaces for a
            model without a tokenizer.  None for a dozen built-in sentences, or random ids.
        config: The model's shape.
        tokenizer_files: The model's tokenizer, or nothing.
        seq_len: The fixed length of the file, or None.

    Returns:
        Rows of `input_ids` and `token_type_ids`, at most `seq_len` long each.

    Raises:
        InputError: There are no texts, too few tokens in them, or ids that the model has not.
    """
    longest = seq_len or config.max_position_embeddings
    if not tokenizer_files:
        return [{"input_ids": ids[:longest], "token_type_ids": [0] * len(ids[:longest])}
                for ids in _ids(texts, config)]  # fmt: skip
    tokenizer = tokenizer_from_files(tokenizer_files)
    given = list(_first(BUILT_IN if texts is None else texts))
    encodings = [tokenizer.encode(text, max_length=longest) for text in given]
    padding = config.pad_token_id
    real = sum(
        offset is not None and piece != padding
        for encoding in encodings
        for piece, offset in zip(encoding.input_ids, encoding.offsets, strict=True)
    )
    if real < _LEAST_TOKENS:
        raise InputError(
            f"the calibration texts hold {real} tokens, at least {_LEAST_TOKENS} are needed: give "
            "some dozens of texts like those that the model will read, one a line."
        )
    return [
        {"input_ids": encoding.input_ids, "token_type_ids": encoding.token_type_ids}
        for encoding in encodings
    ]


def _first(texts: Iterable[str]) -> Iterable[str]:
    for count, text in enumerate(texts):
        if count == MOST_TEXTS:
            return
        yield text


def _ids(texts: Iterable[str] | None, config: AlbertConfig) -> list[list[int]]:
    if texts is None:
        random = np.random.default_rng(0)
        return [random.integers(0, config.vocab_size, n).tolist() for n in (3, 16, 64)]
    try:
        rows = [[int(word) for word in text.split()] for text in _first(texts)]
    except ValueError as error:
        raise InputError(
            f"the model has no tokenizer, so calibration takes ids, not text: {error}."
        ) from error
    wrong = [i for row in rows for i in row if not 0 <= i < config.vocab_size]
    if wrong:
        raise InputError(
            f"id {wrong[0]} in the calibration data is not in [0, {config.vocab_size})."
        )
    if sum(i != config.pad_token_id for row in rows for i in row) < _LEAST_TOKENS:
        raise InputError(
            f"the calibration data hold less than {_LEAST_TOKENS} ids that are not padding: give "
            "some dozens of rows like those that the model will read, one a line."
        )
    return [row for row in rows if row]


# Watch the values between the operators of float32 pieces while they read calibration texts.


@dataclass(frozen=True, slots=True)
class TensorStats:
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


def collect_stats(
    pieces: Stages,
    config: AlbertConfig,
    rows: Sequence[Row],
    *,
    seq_len: int | None = None,
    grams: bool = False,
    advance: Callable[[], object] = lambda: None,
) -> dict[str, dict[int, TensorStats]]:
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
    stages = {name: _Stage(StageModel(blob, name), grams) for name, blob in named.items()}
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

    def __init__(self, piece: StageModel, grams: bool) -> None:
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

    def observed(self) -> dict[int, TensorStats]:
        for tensor in list(self._tokens):
            self._add_gram(tensor)
        return {
            tensor: TensorStats(
                np.stack(low), np.stack(self._high[tensor]), self._grams.get(tensor)
            )
            for tensor, low in self._low.items()
        }


_THREADS = 2  # more gain little at a few dozen tokens
_TOKENS = 2048  # whose products are added up at once: a sum of C² numbers costs as much as many


def _roles(piece: StageModel) -> tuple[set[int], set[int], set[int], set[int]]:
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
        elif code not in SHAPE_OPS:
            computed |= outputs
        if code == _Op.FULLY_CONNECTED:
            inputs.add(int(operator.inputs[0]))
    return scores - contexts, contexts, computed, inputs


def _floats(piece: StageModel, tensors: Iterable[int]) -> set[int]:
    kinds = piece.graph.tensors
    return {int(i) for i in tensors if kinds[int(i)].type == schema.TensorType.FLOAT32}


def _arrays(row: Row, seq_len: int | None) -> dict[str, npt.NDArray[np.int32]]:
    arrays = {name: np.asarray([values], np.int32) for name, values in row.items()}
    if seq_len is None:
        return arrays
    count = len(row["input_ids"])
    arrays["attention_mask"] = np.ones((1, count), np.int32)
    return {name: np.pad(values, ((0, 0), (0, seq_len - count))) for name, values in arrays.items()}
