"""Remove attention heads and FFN channels of the shared layers, the least important first.

Michel et al. 2019, arXiv:1905.10650, sec. 4: the importance of a head is the change of the loss, to
the first order, if its output became zero: the absolute sum of activation times gradient over the
tokens of a text.  Here it is summed over the passes of the layer, since a head is removed from all
of them at once, and channels of the FFN are ranked in the same way.

Wang et al. 2024, arXiv:2407.13331: what was removed is replaced by the linear function of what
stays that is nearest to it, by least squares over the tokens; here those of all passes.  It becomes
a part of the weights.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from albert_edge.bundle.bundle import model_bytes
from albert_edge.checkpoints import Checkpoint, count_parameters
from albert_edge.config import AlbertConfig
from albert_edge.conversion import convert
from albert_edge.datasets import EvaluateOptions, Examples
from albert_edge.early_exit import NEVER
from albert_edge.evaluation.evaluate import score_predictions
from albert_edge.evaluation.predict import predict_all
from albert_edge.modeling import Albert, from_checkpoint
from albert_edge.tokenizer import tokenizer_from_files
from albert_edge.training.batching import make_batches, pad_rows
from albert_edge.training.compression.methods import Narrow
from albert_edge.training.objective import IGNORE_INDEX, TaskObjective
from albert_edge.training.options import FinetuneOptions
from albert_edge.training.tasks import OBJECTIVES

_EXAMPLES = 256  # on which importance is measured
_TOKENS = 128  # of the text whose multiply-adds are counted
_RIDGE = 1e-3  # of the mean variance, against chance in few tokens
_LEAST_VARIANCE = 1e-9  # so that inputs without any can be solved for
_TILE = 16  # outputs of a product that LiteRT's int8 kernels for phones compute at a time


def narrow(
    start: Checkpoint, data: Examples, *, method: Narrow, options: FinetuneOptions
) -> Checkpoint:
    """Remove the heads and channels of every layer that are the least important for a task.

    Args:
        start: A checkpoint with the head of the task, without dropout.
        data: The training examples; evenly spaced ones of them are measured on.
        method: How many heads and channels stay.
        options: How the examples are encoded, and put into batches.

    Raises:
        TrainingError: The model does not have that many.
    """
    counts = method.sizes(start.config)
    few = data.take(range(0, len(data), math.ceil(len(data) / _EXAMPLES)))
    found = measure(start, OBJECTIVES[data.kind](few), options)
    kept = {
        path: (_best(heads.importance, counts[0]), _best(channels.importance, counts[1]))
        for path, (heads, channels) in found.items()
    }
    return remove(start, kept, found)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ProductInputs:
    """What was measured of the C inputs of a product, which are n heads or channels.

    Attributes:
        importance: float64 [n], summed over all passes, the mean over examples.
        mean: float64 [C], over the tokens of all passes.
        covariance: float64 [C, C], over the same.
    """

    importance: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray


def measure(
    start: Checkpoint, objective: TaskObjective, options: FinetuneOptions
) -> dict[str, tuple[ProductInputs, ProductInputs]]:
    """Measure every head and FFN channel in all passes.

    Args:
        start: A checkpoint with the head of the objective's task, without dropout.
        objective: The examples to measure on, and the loss.
        options: How the examples are encoded, and put into batches.

    Returns:
        By the path of a layer, its heads and its FFN channels.
    """
    tokenizer = tokenizer_from_files(start.tokenizer_files)
    encoded = objective.encode_epoch(tokenizer, options, np.random.default_rng(options.seed))
    batches = make_batches(
        encoded.input_ids,
        tokens=options.batch_tokens,
        pad_id=tokenizer.pad_id,
        types=encoded.token_type_ids,
    )
    measure_batch = _measure(from_checkpoint(start), objective, options)
    sums: dict[str, list[list[Any]]] = {}
    for batch in batches:
        rows = [encoded.targets[row] for row in batch.rows]
        length = batch.input_ids.shape[1] if encoded.per_token else len(rows[0])
        targets = pad_rows(rows, length, IGNORE_INDEX)
        ids, types, mask = batch.input_ids, batch.token_type_ids, batch.attention_mask
        for path, products in measure_batch(ids, types, mask, targets).items():
            before = sums.setdefault(path, [[0.0] * 4, [0.0] * 4])
            sums[path] = [
                [total + np.float64(one) for total, one in zip(totals, found, strict=True)]
                for totals, found in zip(before, products, strict=True)
            ]

    def finish(effect: Any, tokens: Any, total: Any, squares: Any) -> ProductInputs:
        importance, mean = effect / len(encoded.input_ids), total / tokens
        return ProductInputs(importance, mean, squares / tokens - np.outer(mean, mean))

    return {path: (finish(*heads), finish(*channels)) for path, (heads, channels) in sums.items()}


def _measure(
    model: Albert, objective: TaskObjective, options: FinetuneOptions
) -> Callable[..., dict[str, tuple[Any, Any]]]:
    """Return a function of a batch and its targets: the sums over its examples and all passes."""
    watched: dict[str, tuple[_Inputs, _Inputs]] = {}
    for group, layers in enumerate(model.groups):
        for index, layer in enumerate(layers):
            heads = _Inputs(layer.attention_output, model.config.head_size)
            channels = _Inputs(layer.ffn_output, 1)
            layer.attention_output, layer.ffn_output = heads, channels
            watched[f"encoder/group_{group}/layer_{index}"] = heads, channels

    def measure(ids: Any, types: Any, mask: Any, targets: Any) -> dict[str, tuple[Any, Any]]:
        inputs = {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}
        with tf.GradientTape() as tape:
            # As in training, where an early exit has a loss too.
            mean = objective.loss(model(inputs, training=True), targets, mask, options)
            loss = mean * tf.cast(tf.shape(ids)[0], tf.float32)
        sources = [(one.values, other.values) for one, other in watched.values()]
        taken = tape.gradient(loss, sources)
        return {
            path: (heads.sums(of_heads, mask), channels.sums(of_channels, mask))
            for (path, (heads, channels)), (of_heads, of_channels) in zip(
                watched.items(), taken, strict=True
            )
        }

    ids = tf.TensorSpec([None, None], tf.int32)
    signature = [ids, ids, ids, tf.TensorSpec([None, None], tf.float32)]
    function: Any = tf.function(measure, input_signature=signature, autograph=False)
    return function  # type: ignore[no-any-return]


class _Inputs:
    """The inputs of a product in all passes; `size` channels in a row are of one head."""

    def __init__(self, product: Any, size: int) -> None:
        self._product, self._size = product, size
        self.values: list[Any] = []

    def __call__(self, values: Any) -> Any:
        self.values.append(values)
        return self._product(values)

    def sums(self, gradients: Sequence[Any], mask: Any) -> tuple[Any, Any, Any, Any]:
        """Return sums over all passes, float32.

        Over the examples what a removal changes the loss by [n]; over the tokens their number, the
        inputs [C], and the products of two of them [C, C].
        """
        importance, total, squares = 0.0, 0.0, 0.0
        for values, gradient in zip(self.values, gradients, strict=True):
            shape = [tf.shape(values)[0], -1, values.shape[-1] // self._size, self._size]
            effect = tf.reduce_sum(tf.reshape(values * gradient, shape), axis=[1, 3])  # [B, n]
            importance += tf.reduce_sum(tf.abs(effect), axis=0)
            real = tf.boolean_mask(values, tf.cast(mask, tf.bool))  # [tokens, C]
            total += tf.reduce_sum(real, axis=0)
            squares += tf.matmul(real, real, transpose_a=True)
        tokens = tf.cast(tf.reduce_sum(mask), tf.float32) * len(self.values)
        return importance, tokens, total, squares


def _best(scores: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of the largest scores, ascending; of equal ones the first."""
    return np.sort(np.argsort(-scores, kind="stable")[:count])


def remove(
    start: Checkpoint,
    kept: Mapping[str, tuple[np.ndarray, np.ndarray]],
    measured: Mapping[str, tuple[ProductInputs, ProductInputs]],
) -> Checkpoint:
    """Return a checkpoint with some of the heads and FFN channels of `start`.

    Args:
        start: The checkpoint.
        kept: By the path of every layer, the indices of the heads and channels that stay, int [n]
            and [m], ascending.
        measured: The result of `measure`.

    Returns:
        The narrower checkpoint.  Learned activation ranges are left out, as they no longer hold.
    """
    config, tensors = start.config, dict(start.tensors)
    size = config.head_size
    for path, (heads, channels) in kept.items():
        columns = (heads[:, None] * size + np.arange(size)).reshape(-1)
        for name in ("query", "key", "value"):
            _take(tensors, f"{path}/attention/{name}", columns)
        _take(tensors, f"{path}/ffn/intermediate", channels)
        products = ("attention/output", columns), ("ffn/output", channels)
        for (name, rows), inputs in zip(products, measured[path], strict=True):
            _replace_removed(tensors, f"{path}/{name}", rows, inputs)
    heads, channels = next(iter(kept.values()))
    return dataclasses.replace(
        start,
        config=dataclasses.replace(
            config,
            num_attention_heads=len(heads),
            head_dim=config.head_dim if len(heads) == config.num_attention_heads else size,
            intermediate_size=len(channels),
        ),
        tensors=tensors,
        ranges={},
        sha256="",
    )


def _replace_removed(
    tensors: dict[str, np.ndarray], path: str, kept: np.ndarray, inputs: ProductInputs
) -> None:
    """Keep some inputs of a product, which replace what the others gave it."""
    kernel, bias = tensors[f"{path}/kernel"], tensors[f"{path}/bias"]
    gone = np.setdiff1d(np.arange(len(kernel)), kept)
    own = inputs.covariance[np.ix_(kept, kept)]
    ridge = _RIDGE * np.diag(own).mean() + _LEAST_VARIANCE
    change = np.linalg.solve(
        own + ridge * np.eye(len(kept)), inputs.covariance[np.ix_(kept, gone)] @ kernel[gone]
    )
    offset = inputs.mean[gone] @ kernel[gone] - inputs.mean[kept] @ change
    tensors[f"{path}/kernel"] = (kernel[kept] + change).astype(kernel.dtype)
    tensors[f"{path}/bias"] = (bias + offset).astype(bias.dtype)


def _take(tensors: dict[str, np.ndarray], path: str, columns: np.ndarray) -> None:
    for part in ("kernel", "bias"):
        tensors[f"{path}/{part}"] = tensors[f"{path}/{part}"][..., columns]


# Report on a narrowed model.  The files run all passes: early exit saves something else.


def narrow_report(
    stages: Mapping[str, Checkpoint], dev: Examples | None, *, quantize: str
) -> dict[str, Any]:
    """Compare the model at several stages, and the files that it is converted to.

    Args:
        stages: The model by the name of the stage, the first before anything was removed.
        dev: The examples to measure on.
        quantize: The recipe of the files.

    Returns:
        `quantize`, and by its name, for each stage: `num_attention_heads` and `intermediate_size`,
        `parameters`, `multiply_adds` of the encoder for a text of 128 tokens, `size_bytes` of the
        file without its tokenizer, and `metrics`, as in `evaluate`; `changes`, the differences of
        the metrics of each later stage from the first, as in `evaluate`; `notes` on sizes that no
        kernel likes.  Without `dev` the metrics are None.
    """
    options = EvaluateOptions()
    first, *later = stages
    models: dict[str, dict[str, Any]] = {}
    predictions = {}
    for name, one in stages.items():
        rule = NEVER if one.config.early_exit else None
        blob = convert(from_checkpoint(one), quantize=quantize, early_exit=rule).blob
        models[name] = {
            "num_attention_heads": one.config.num_attention_heads,
            "intermediate_size": one.config.intermediate_size,
            "parameters": count_parameters(one.config, one.task),
            "multiply_adds": multiply_adds(one.config),
            "size_bytes": len(model_bytes(blob)),
            "metrics": None,
        }
        if dev is not None:
            predictions[name] = predict_all(blob, dev, workers=options.cores).predictions
    changes: dict[str, Any] = dict.fromkeys(later)
    if dev is not None:
        for pair in ((first, name) for name in later):
            both, entries = [predictions[one] for one in pair], [models[one] for one in pair]
            found = score_predictions(dev, both, entries, options)
            models |= zip(pair, found["models"], strict=True)
            changes[pair[1]] = found["differences"]
    channels = models[later[-1]]["intermediate_size"]
    notes = [_hint(channels)] if channels % _TILE else []
    return {"quantize": quantize, quantize: models, "changes": changes, "notes": notes}


def multiply_adds(config: AlbertConfig) -> int:
    """Count the multiply-adds of the encoder for a text of 128 tokens.

    Example:
        >>> multiply_adds(AlbertConfig())
        11186208768
    """
    width, heads, inner = config.hidden_size, config.attention_size, config.intermediate_size
    layer = 4 * width * heads + 2 * width * inner + 2 * _TOKENS * heads  # of a token
    projection = config.embedding_size * width if config.has_projection else 0
    layers = config.num_hidden_layers * config.inner_group_num
    return _TOKENS * (layers * layer + projection)


def _hint(channels: int) -> str:
    lower, upper = channels // _TILE * _TILE, math.ceil(channels / _TILE) * _TILE
    return (
        f"{channels} FFN channels are no multiple of {_TILE}, which is how many LiteRT's int8 "
        f"kernels compute at a time: {upper} take no longer, and {lower} less."
    )
