"""Distillation steps: every pass of a student against the teacher's layer at the same depth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from itertools import chain
from typing import Any, final

import numpy as np
import tensorflow as tf

from albert_edge.checkpoints import Checkpoint
from albert_edge.modeling import from_checkpoint
from albert_edge.training.pretraining.options import PretrainOptions
from albert_edge.training.pretraining.trainer import StepTrainer, embed_batch

# The metrics of a step and of an evaluation; all but the last are of the batch's mean.
METRICS = ("loss", "layers", "last_layer", "similarities", "pooled", "tokens")
# The weights of the similarities and of the pooled vectors in the loss, by which its parts are of
# about the same size at the end of a training.
_SIMILARITIES, _POOLED = 20.0, 2.0
_TINY = 1e-12  # of the length of a vector


def pair_layers(passes: int, layers: int) -> list[tuple[int, int]]:
    """Pair a student's passes with the teacher's layers at the same depth, by their indices.

    Of the two models, the one of fewer passes has all its passes in a pair.

    Example:
        >>> pair_layers(8, 6)
        [(0, 0), (2, 1), (3, 2), (4, 3), (6, 4), (7, 5)]
        >>> pair_layers(3, 12)
        [(0, 3), (1, 7), (2, 11)]
    """
    if passes < layers:
        return [(one, other) for other, one in pair_layers(layers, passes)]
    return [
        ((2 * passes * (layer + 1) + layers) // (2 * layers) - 1, layer) for layer in range(layers)
    ]


@final
class DistillTrainer(StepTrainer):
    """A student in training on a teacher's hidden states.

    Each pass that stands at the depth of a teacher's layer is projected to the teacher's width, and
    compared with that layer: the mean square of the difference over the variance of the layer
    (TinyBERT, Jiao et al. 2020, arXiv:1909.10351, eq. 8, but relative, and with all passes by one
    layer).  The vectors of texts are the means over their tokens of the last states: their cosines
    with each other are compared with those of the teacher's vectors, and the projected ones with
    the teacher's.  The student sees `[MASK]` for some words, the teacher sees all.

    The loss is the mean of the layers' distances, and those of the last layer, of the cosines and
    of the vectors.  Each worker, and each part of an accumulated batch, compares its own texts; the
    loss is the mean of theirs.

    There is no dropout, so that a resumed training ends exactly as an uninterrupted one.

    Args:
        start: The student, an encoder without a pooler.
        teacher: The teacher, of the same vocabulary.
        options: The options of the training.
        strategy: As in `StepTrainer`.
    """

    sums_size = 1 + len(METRICS)  # the number of parts comes first

    def __init__(
        self,
        start: Checkpoint,
        teacher: Checkpoint,
        options: PretrainOptions,
        *,
        strategy: Any = None,
    ) -> None:
        self._checkpoints, self._seed = (start, teacher), options.seed
        self._pairs = pair_layers(start.config.num_hidden_layers, teacher.config.num_hidden_layers)
        ids = tf.TensorSpec([None, None], tf.int32)
        names = ("input_ids", "hidden_ids", "attention_mask")
        super().__init__(options, strategy=strategy, signature=dict.fromkeys(names, ids))

    def _build(self) -> tuple[Any, Sequence[Any]]:
        student, self._teacher = map(from_checkpoint, self._checkpoints)
        for layer in chain.from_iterable([*student.groups, *self._teacher.groups]):
            if layer.config.hidden_act != "relu":
                layer.activation = compiled_gelu(exact=layer.config.hidden_act == "gelu")
        random = np.random.default_rng(self._seed)
        shape = student.config.hidden_size, self._teacher.config.hidden_size
        kernels = random.normal(0.0, student.config.initializer_range, (len(self._pairs), *shape))
        self._projections = [
            (
                tf.Variable(kernel.astype(np.float32), name=f"projection_{index}/kernel"),
                tf.Variable(tf.zeros(shape[1]), name=f"projection_{index}/bias"),
            )
            for index, kernel in enumerate(kernels)
        ]
        return student, [one for pair in self._projections for one in pair]

    def _counts(self, batch: Mapping[str, Any]) -> list[Any]:
        return [tf.constant(float(self._parts))]

    def _loss(self, sums: Any, counts: Sequence[Any]) -> Any:
        return sums[1] / counts[0]

    def _sums(self, batch: Mapping[str, Any]) -> Any:
        """Return 1 and the `METRICS` of a batch, float32 [S]."""
        mask = tf.cast(batch["attention_mask"], tf.float32)[..., None]  # [B, T, 1]
        taught = _states(self._teacher, batch["input_ids"], batch["attention_mask"])
        states = _states(self._model, batch["hidden_ids"], batch["attention_mask"])
        found = [
            tf.cast(states[own] @ tf.cast(kernel, states[own].dtype), tf.float32) + bias
            for (kernel, bias), (own, _) in zip(self._projections, self._pairs, strict=True)
        ]
        wanted = [tf.stop_gradient(tf.cast(taught[layer], tf.float32)) for _, layer in self._pairs]
        distances = [relative_distance(a, b, mask) for a, b in zip(found, wanted, strict=True)]
        layers, last = tf.add_n(distances) / len(distances), distances[-1]
        own = pool(tf.cast(states[-1], tf.float32), mask)
        theirs = pool(wanted[-1], mask)  # [B, H]
        cosines = tf.matmul(own, own, transpose_b=True) - tf.matmul(
            theirs, theirs, transpose_b=True
        )
        similarities = tf.reduce_mean(cosines**2)
        pooled = 1.0 - tf.reduce_mean(tf.reduce_sum(pool(found[-1], mask) * theirs, axis=-1))
        loss = layers + last + _SIMILARITIES * similarities + _POOLED * pooled
        tokens = tf.reduce_sum(mask)
        return tf.stack([1.0, loss, layers, last, similarities, pooled, tokens])

    def metrics(self, sums: np.ndarray) -> dict[str, float]:
        """Return the means over parts by the names of `METRICS`, and the tokens of a step."""
        count, *values = sums.tolist()
        return dict(zip(METRICS, (value / count for value in values), strict=True))


def _states(model: Any, input_ids: Any, mask: Any) -> list[Any]:
    """Return the hidden states [B, T, H] after every pass."""
    hidden, bias = embed_batch(model, input_ids, tf.zeros_like(input_ids), mask)
    states = []
    for index in range(model.config.num_hidden_layers):
        hidden = model.layer(index, hidden, bias)
        states.append(hidden)
    return states


@cache
def compiled_gelu(*, exact: bool) -> Callable[[Any], Any]:
    """Return GELU as one loop over the numbers, and its gradient as another.

    TensorFlow's own needs a pass through memory for each of its ten operations: with them it takes
    longer than the matrix products, six times as long in bfloat16 on a CPU with AMX.

    Args:
        exact: Whether it is the form with the error function, or that with tanh.

    Returns:
        A function of values in any floating-point type; it computes in float32.
    """

    def parts(values: Any) -> tuple[Any, Any, Any]:
        # The values, their share that passes, and the slope of the share, float32.
        x = tf.cast(values, tf.float32)
        if exact:
            density = tf.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
            return x, 0.5 * (1.0 + tf.math.erf(x / math.sqrt(2))), density
        scale, cubic = math.sqrt(2 / math.pi), 0.044715
        tanh = tf.tanh(scale * (x + cubic * x * x * x))
        inner = scale * (1.0 + 3.0 * cubic * x * x)
        return x, 0.5 * (1.0 + tanh), 0.5 * (1.0 - tanh * tanh) * inner

    def forward(values: Any) -> Any:
        x, share, _ = parts(values)
        return tf.cast(x * share, values.dtype)

    def backward(values: Any, gradient: Any) -> Any:
        x, share, slope = parts(values)
        return tf.cast(tf.cast(gradient, tf.float32) * (share + x * slope), values.dtype)

    compiled = partial(tf.function, jit_compile=True, autograph=False)
    value_of, gradient_of = compiled(forward), compiled(backward)

    def gelu(values: Any) -> tuple[Any, Callable[[Any], Any]]:
        return value_of(values), lambda gradient: gradient_of(values, gradient)

    differentiable: Callable[[Any], Any] = tf.custom_gradient(gelu)
    return differentiable


def relative_distance(states: Any, wanted: Any, mask: Any) -> Any:
    """Return the mean square of a difference over the variance of what is wanted, float32 [].

    Args:
        states, wanted: float32 [B, T, H].
        mask: float32 [B, T, 1], 1 for tokens, 0 for padding.
    """
    count = tf.reduce_sum(mask) * tf.cast(tf.shape(wanted)[-1], tf.float32)
    mean = tf.reduce_sum(wanted * mask) / count
    variance = tf.reduce_sum((wanted - mean) ** 2 * mask) / count
    return tf.reduce_sum((states - wanted) ** 2 * mask) / count / variance


def pool(states: Any, mask: Any) -> Any:
    """Return the mean of [B, T, H] over the tokens of each text, of length 1: float32 [B, H]."""
    mean = tf.reduce_sum(states * mask, axis=1) / tf.reduce_sum(mask, axis=1)
    return tf.math.l2_normalize(mean, axis=-1, epsilon=_TINY)
