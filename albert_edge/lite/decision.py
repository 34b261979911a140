"""Whether to make another pass: what stands behind the layer in a loop that can be left.

Such a loop carries, beside the hidden states, what the last pass said, how often in a row passes
have said the same, and how many passes may be made at all: that number becomes 0 when it is time to
leave.  So the condition stays the comparison of two numbers; one pass is made whatever the caller
asks for, and nothing that a caller can ask for is an error.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from albert_edge.config import AlbertConfig

__all__ = ["decide", "decided"]


def decided(config: AlbertConfig) -> dict[str, Any]:
    """Return what `decide` takes, by name, with types and shapes."""
    early = (config.num_hidden_layers - 1) * config.num_labels
    scalar, one = tf.TensorSpec([], tf.int32), tf.TensorSpec([1], tf.int32)
    return {
        "exits": tf.TensorSpec([1, early], tf.float32),
        "made": scalar,
        "limit": scalar,
        "answer": one,
        "same": one,
        "patience": one,
        "threshold": tf.TensorSpec([1], tf.float32),
        "max_layers": one,
    }


def decide(
    config: AlbertConfig,
    exits: Any,
    made: Any,
    limit: Any,
    answer: Any,
    same: Any,
    patience: Any,
    threshold: Any,
    max_layers: Any,
) -> dict[str, Any]:
    """Decide, as `exits.EarlyExit` says, whether to make another pass.

    Args:
        config: The shape.
        exits: float32 [1, (L-1)*C], what the classifiers of all passes but the last say.
        made: int32 [], how many passes have been made, this one included.
        limit: int32 [], how many may be made.
        answer: int32 [1], the label that the pass before said, or -1.
        same: int32 [1], how often in a row that was the label of the pass before.
        patience: int32 [1], as the caller gives it.
        threshold: float32 [1], as the caller gives it.
        max_layers: int32 [1], as the caller gives it.

    Returns:
        The new `limit`, `answer` and `same`; `layers_used`, int32 [1]; and this pass's `logits`,
        float32 [1, C], which mean nothing after the last pass: it has an ordinary head.
    """
    rows = tf.reshape(exits, [-1, config.num_labels])  # [L-1, C]
    used = tf.reshape(made, [1])
    logits = tf.gather(rows, tf.minimum(used, config.num_hidden_layers - 1) - 1)  # [1, C]
    said = tf.argmax(logits, axis=-1, output_type=tf.int32)  # [1]
    same = (same + 1) * tf.cast(tf.equal(said, answer), tf.int32)
    chance = tf.reduce_max(tf.nn.softmax(logits), axis=-1)  # [1]
    go_on = (same < patience) & (chance < threshold) & (used < max_layers)
    return {
        "limit": limit * tf.reshape(tf.cast(go_on, tf.int32), []),
        "answer": said,
        "same": same,
        "layers_used": used,
        "logits": logits,
    }
