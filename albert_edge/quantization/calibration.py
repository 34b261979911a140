"""Calibration: run float32 stage models over texts and collect statistics of their tensors.

Integer recipes take the ranges of activations from these statistics, `int4` the Hessians of its
weights' inputs.  Padded positions are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from albert_edge.config import AlbertConfig
from albert_edge.errors import InputError
from albert_edge.runtime.interpreter import open_interpreter
from albert_edge.tflite.graph import StageModel, Stages, builtin_code, pack, schema
from albert_edge.tokenizer import Encoding, Tokenizer, tokenizer_from_files

__all__ = [
    "BUILT_IN",
    "MOST_TEXTS",
    "TensorStats",
    "calibration_rows",
    "collect_stats",
    "describe_texts",
]

# Enough for ranges: 400 texts of another kind exceeded them by a tenth at most.
MOST_TEXTS = 128
_LEAST_TOKENS = 8  # of all texts together, beside special tokens
_MOST_UNKNOWN = 0.5  # with more, most activations are those of one row of the embedding
# The calibration texts when none are given: plain, odd, short and long ones.
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
# Operators that move values and do not change them.
SHAPE_OPS = (_Op.RESHAPE, _Op.TRANSPOSE, _Op.SPLIT, _Op.SLICE, _Op.STRIDED_SLICE)
_THREADS = 2  # more gain little at a few dozen tokens
_TOKENS = 2048  # added to a Hessian at once: adding C² numbers costs as much as many tokens
Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class TensorStats:
    """Statistics of a tensor over all texts.

    Attributes:
        low: float32 [P, C], the minimum in each of P passes, by channel (C = 1 for attention).
        high: float32 [P, C], the maximum.
        hessian: float64 [C, C], the sum of `x xᵀ` over all tokens and passes, for the input of a
            product; or None.
    """

    low: Float
    high: Float
    hessian: npt.NDArray[np.float64] | None


Stats = Mapping[str, Mapping[int, TensorStats]]  # stage → tensor index → statistics


def calibration_rows(
    texts: Iterable[str] | None,
    config: AlbertConfig,
    tokenizer_files: Mapping[str, bytes],
    *,
    seq_len: int | None = None,
) -> list[dict[str, Sequence[int]]]:
    """Tokenize calibration texts.

    Args:
        texts: The first 128 of them are used; for a model without a tokenizer, rows of ids
            separated by spaces.  None for a dozen built-in sentences, or random ids.
        config: The model's shape.
        tokenizer_files: The model's tokenizer, or nothing.
        seq_len: The fixed length of the file, or None.

    Returns:
        Rows of `input_ids`, in [0, V), and `token_type_ids`, at most `seq_len` long each.

    Raises:
        InputError: There are no texts, too few tokens in them, mostly unknown ones, or ids outside
            of the vocabulary.
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
        offset is not None and token != padding
        for encoding in encodings
        for token, offset in zip(encoding.input_ids, encoding.offsets, strict=True)
    )
    if real < _LEAST_TOKENS:
        raise InputError(
            f"the calibration texts hold {real} tokens; at least {_LEAST_TOKENS} are needed: give "
            "some dozens of texts like those that the model will read, one a line."
        )
    if (share := _unknown_share(encodings, tokenizer)) > _MOST_UNKNOWN:
        raise InputError(
            f"{share:.0%} of the calibration texts' tokens are unknown to the model's vocabulary: "
            "they are in another language or script, or of another kind. Give texts like those "
            "that the model will read."
        )
    return [
        {"input_ids": encoding.input_ids, "token_type_ids": encoding.token_type_ids}
        for encoding in encodings
    ]


def describe_texts(texts: Sequence[str], tokenizer_files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the number of calibration texts and the share of unknown tokens in them."""
    if not tokenizer_files:
        return {"texts": len(texts)}
    tokenizer = tokenizer_from_files(tokenizer_files)
    share = _unknown_share(map(tokenizer.encode, texts), tokenizer)
    return {"texts": len(texts), "unknown_share": round(share, 4)}


def _unknown_share(encodings: Iterable[Encoding], tokenizer: Tokenizer) -> float:
    """Return the share of unknown tokens among those that cover a part of a text."""
    counts = [tokenizer.count_unknown(each.input_ids, each.offsets) for each in encodings]
    return sum(unknown for unknown, _ in counts) / max(sum(total for _, total in counts), 1)


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
            f"the model has no tokenizer, so calibration expects ids, not text: {error}."
        ) from error
    wrong = [i for row in rows for i in row if not 0 <= i < config.vocab_size]
    if wrong:
        raise InputError(
            f"id {wrong[0]} in the calibration data is not in [0, {config.vocab_size})."
        )
    if sum(i != config.pad_token_id for row in rows for i in row) < _LEAST_TOKENS:
        raise InputError(
            f"the calibration data hold fewer than {_LEAST_TOKENS} ids that are not padding: give "
            "some dozens of rows like those that the model will read, one a line."
        )
    return [row for row in rows if row]


def collect_stats(
    stages: Stages,
    config: AlbertConfig,
    rows: Sequence[Row],
    *,
    seq_len: int | None = None,
    hessians: bool = False,
    advance: Callable[[], object] = lambda: None,
) -> dict[str, dict[int, TensorStats]]:
    """Run float32 stages over `rows` and collect statistics of every activation.

    Args:
        stages: The stages of one model.
        config: Its shape.
        rows: Texts as `input_ids` and `token_type_ids`, each no longer than `seq_len`.
        seq_len: The fixed length of the stages; padded positions are not counted.
        hessians: Whether to sum up the Hessians that GPTQ needs.
        advance: Called after every text.

    Returns:
        By stage (`embed`, `layer_0`, ..., `head`, `head_exits`) and tensor index.
    """
    exits = (stages.exits,) if stages.exits else ()
    collectors = {
        stage.name: _StatsCollector(stage, hessians)
        for stage in (stages.embed, *stages.layers, stages.head, *exits)
    }
    layers = [f"layer_{config.group_of_layer(index)}" for index in range(config.num_hidden_layers)]
    # Sorted, so that the runtime plans its memory once for each length.
    for row in sorted(rows, key=lambda row: len(row["input_ids"])):
        count = len(row["input_ids"])
        state = collectors["embed"].run(_model_inputs(row, seq_len), count)
        for index, layer in enumerate(layers):
            state |= collectors[layer].run(state, count, layers[:index].count(layer))
            if exits and index < len(layers) - 1:
                collectors["head_exits"].run(state, count, index)
        collectors["head"].run(state, count)
        advance()
    return {name: collector.stats() for name, collector in collectors.items()}


class StageInterpreter:
    """A stage in a TFLite interpreter, with floats as inputs and outputs whatever its types.

    Args:
        stage: Any stage model; its inputs and outputs are ids, floats or symmetric int16.
        preserve_all_tensors: Whether to run without delegates and keep every tensor's value.
    """

    def __init__(self, stage: StageModel, *, preserve_all_tensors: bool = False) -> None:
        self.blob = pack(stage.model)
        self._stage = stage
        self._interpreter = open_interpreter(
            self.blob, threads=_THREADS, preserve_all_tensors=preserve_all_tensors
        )
        self._shapes: list[tuple[int, ...]] = []

    def run(self, state: Arrays) -> dict[str, npt.NDArray[Any]]:
        """Run the stage on the arrays of `state` that it reads; return its outputs by name."""
        runtime, stage = self._interpreter, self._stage
        inputs = {
            tensor: _quantized(state[name], self._scale(tensor))
            for name, tensor in stage.inputs.items()
        }
        if (shapes := [values.shape for values in inputs.values()]) != self._shapes:
            for tensor, values in inputs.items():
                runtime.resize_tensor_input(tensor, values.shape)
            runtime.allocate_tensors()
            self._shapes = shapes
        for tensor, values in inputs.items():
            runtime.set_tensor(tensor, values)
        runtime.invoke()
        return {
            name: _dequantized(runtime.get_tensor(tensor), self._scale(tensor))
            for name, tensor in stage.outputs.items()
        }

    def tensor(self, index: int) -> npt.NDArray[Any]:
        """Return a tensor's value after `run`."""
        values: npt.NDArray[Any] = self._interpreter.get_tensor(index)
        return values

    def _scale(self, tensor: int) -> float:
        quantization = self._stage.graph.tensors[tensor].quantization
        scales = None if quantization is None else quantization.scale
        return 0.0 if scales is None or not len(scales) else float(scales[0])


def _quantized(values: npt.NDArray[Any], scale: float) -> npt.NDArray[Any]:
    if not scale:
        return values
    return np.clip(np.round(values / scale), -32767, 32767).astype(np.int16)


def _dequantized(codes: npt.NDArray[Any], scale: float) -> npt.NDArray[Any]:
    return codes * np.float32(scale) if scale else codes


class _StatsCollector:
    """A float32 stage in an interpreter, and the statistics of its tensors so far."""

    def __init__(self, stage: StageModel, hessians: bool) -> None:
        self._interpreter = StageInterpreter(stage, preserve_all_tensors=True)
        self._roles = _Roles(stage)
        outputs = (index for operator in stage.graph.operators for index in operator.outputs)
        self._tensors = {
            int(index)
            for index in (*outputs, *stage.inputs.values())
            if stage.graph.tensors[index].type == schema.TensorType.FLOAT32
        }
        self._with_hessian = self._roles.product_inputs if hessians else set()
        self._low: dict[int, list[Float]] = defaultdict(list)
        self._high: dict[int, list[Float]] = defaultdict(list)
        self._hessians: dict[int, Any] = {}
        self._tokens: dict[int, list[Float]] = defaultdict(list)  # not yet added to a Hessian

    def run(self, inputs: Arrays, count: int, index: int = 0) -> dict[str, npt.NDArray[Any]]:
        """Run pass `index` of the stage on a text of `count` tokens; return its outputs."""
        outputs = self._interpreter.run(inputs)
        for tensor in self._tensors:
            values = self._interpreter.tensor(tensor)
            self._update(tensor, self._roles.by_channel(tensor, values, count), index)
        return outputs

    def _update(self, tensor: int, values: Float, index: int) -> None:
        low, high = self._low[tensor], self._high[tensor]
        if index == len(low):
            low.append(values.min(axis=0))
            high.append(values.max(axis=0))
        else:
            low[index] = np.minimum(low[index], values.min(axis=0))
            high[index] = np.maximum(high[index], values.max(axis=0))
        if tensor in self._with_hessian:
            self._tokens[tensor].append(values)
            if sum(map(len, self._tokens[tensor])) >= _TOKENS:
                self._add_to_hessian(tensor)

    def _add_to_hessian(self, tensor: int) -> None:
        values = np.concatenate(self._tokens.pop(tensor))  # [tokens, C]
        added = (values.T @ values).astype(np.float64)  # [C, C]
        self._hessians[tensor] = self._hessians.get(tensor, 0) + added

    def stats(self) -> dict[int, TensorStats]:
        """Return the statistics by tensor index."""
        for tensor in list(self._tokens):
            self._add_to_hessian(tensor)
        return {
            tensor: TensorStats(
                np.stack(low), np.stack(self._high[tensor]), self._hessians.get(tensor)
            )
            for tensor, low in self._low.items()
        }


class _Roles:
    """The roles of a stage's tensors, which determine where their tokens and channels are.

    Attributes:
        product_inputs: Tensors [T, C] that a FULLY_CONNECTED multiplies with its weight.
    """

    def __init__(self, stage: StageModel) -> None:
        self.product_inputs: set[int] = set()
        self._scores: set[int] = set()  # attention scores [N, T, T]
        self._contexts: set[int] = set()  # attention outputs [N, T, D]
        self._computed = set(stage.inputs.values())  # [T, C]
        for operator in stage.graph.operators:
            code = builtin_code(stage.model, operator)
            outputs = {int(index) for index in operator.outputs}
            if code == _Op.BATCH_MATMUL and not operator.builtinOptions.adjY:
                self._contexts |= outputs
            elif code == _Op.BATCH_MATMUL or self._scores & set(map(int, operator.inputs)):
                self._scores |= outputs  # the product, the sum with the mask, and the softmax
            elif code not in SHAPE_OPS:
                self._computed |= outputs
            if code == _Op.FULLY_CONNECTED:
                self.product_inputs.add(int(operator.inputs[0]))

    def by_channel(self, tensor: int, values: Float, count: int) -> Float:
        """Return a tensor's values at the first `count` tokens, float32 [rows, C]."""
        if tensor in self._contexts:  # [N, T, D]
            values = values[:, :count].swapaxes(0, 1)  # [T, N, D]
            return values.reshape(count, values[0].size)
        if tensor in self._scores:  # [N, T, T]
            return values[:, :count, :count].reshape(-1, 1)
        channels = values.shape[-1] if tensor in self._computed | self.product_inputs else 1
        real: Float = values[:count].reshape(-1, channels)  # [T, C], or reshaped attention
        return real


def _model_inputs(row: Row, seq_len: int | None) -> dict[str, npt.NDArray[np.int32]]:
    """Return a row's ids as int32 [1, T]; padded and with a mask for a fixed length."""
    arrays = {name: np.asarray([values], np.int32) for name, values in row.items()}
    if seq_len is None:
        return arrays
    count = len(row["input_ids"])
    arrays["attention_mask"] = np.ones((1, count), np.int32)
    return {name: np.pad(values, ((0, 0), (0, seq_len - count))) for name, values in arrays.items()}
