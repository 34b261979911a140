"""Time the training steps of several models, interleaved, with gradient and update apart.

python -m benchmarks.train_step albert.json bert.json --steps 3 --batch 8 --seq-len 128

A shape is a Hugging Face config.json.  The step is Keras': float32, classification, AdamW, all
cores.  The result, one JSON object, goes to standard output.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import tensorflow as tf
import tf_keras

from albert_edge.config import AlbertConfig
from albert_edge.modeling import Albert


def prepare(config: AlbertConfig) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the two halves of a step: the gradient computation and the update."""
    model = Albert(config, task="classification")
    variables = model.trainable_variables
    # No clipping, so that only the update follows the gradients.
    optimizer = tf_keras.optimizers.AdamW(1e-4, jit_compile=False)
    optimizer.build(variables)

    def compute(input_ids: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = model({"input_ids": input_ids}, training=True)["logits"]  # [B, C]
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
            loss = tf.reduce_mean(losses)
        # Dense gradients for embeddings too: Keras updates sparse ones row by row.
        return [tf.convert_to_tensor(one) for one in tape.gradient(loss, variables)]

    def update(gradients: Any) -> Any:
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return optimizer.iterations.read_value()

    return tf.function(compute), tf.function(update)


def step(
    compute: Callable[..., Any], update: Callable[..., Any], ids: Any, targets: Any
) -> tuple[int, int]:
    """Make one step; return the nanoseconds of its gradients and of its update."""
    start = time.perf_counter_ns()
    gradients = compute(ids, targets)
    float(gradients[-1][0])  # reading it waits for the end of the step
    between = time.perf_counter_ns()
    int(update(gradients))
    return between - start, time.perf_counter_ns() - between


@click.command(help=__doc__)
@click.argument("shapes", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--steps", default=3, show_default=True, type=click.IntRange(1))
@click.option("--batch", default=8, show_default=True, type=click.IntRange(1))
@click.option("--seq-len", default=128, show_default=True, type=click.IntRange(1))
def main(shapes: tuple[Path, ...], steps: int, batch: int, seq_len: int) -> None:
    """Print the samples by file name, without the first step, which traces the graph."""
    configs = {path.stem: AlbertConfig.read(path) for path in shapes}
    parts = {name: prepare(config) for name, config in configs.items()}
    taken: dict[str, list[tuple[int, int]]] = {name: [] for name in parts}
    random = np.random.default_rng(0)
    for _ in range(steps + 1):
        ids = random.integers(5, min(one.vocab_size for one in configs.values()), (batch, seq_len))
        targets = random.integers(0, 2, batch)
        for name, (compute, update) in parts.items():
            given = tf.constant(ids, tf.int32), tf.constant(targets, tf.int32)
            taken[name].append(step(compute, update, *given))
    result = {
        name: {"gradient_ns": [one[0] for one in some[1:]], "update_ns": [o[1] for o in some[1:]]}
        for name, some in taken.items()
    }
    click.echo(json.dumps(result))


if __name__ == "__main__":
    main()
