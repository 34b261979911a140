"""Distributed training: several processes train one model, each on its share of every batch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from albert_edge.errors import TrainingError
from albert_edge.training.pretraining.options import PretrainOptions

# The errors of a collective operation whose worker is lost.
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)


@dataclass(frozen=True, slots=True)
class DistributedContext:
    """The processes of a training.

    Attributes:
        count: Their number.
        index: The index of this process, from 0; the first one writes.
        strategy: TensorFlow's strategy that sums the gradients; None for one process.
    """

    count: int
    index: int
    strategy: Any

    @classmethod
    def alone(cls) -> DistributedContext:
        """Return the context of this process alone."""
        return cls(1, 0, None)

    @classmethod
    def from_environment(cls) -> DistributedContext:
        """Connect to the workers of TensorFlow's variable TF_CONFIG; without it, return `alone`.

        Must be called before any other use of TensorFlow.  Waits until all workers are connected.

        Raises:
            TrainingError: TF_CONFIG is invalid for `MultiWorkerMirroredStrategy`, or the workers
                cannot connect.
        """
        if not (text := os.environ.get("TF_CONFIG")):
            return cls.alone()
        try:
            count, index = _read(json.loads(text))
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                'TF_CONFIG must be like {"cluster": {"worker": ["host:port", ...]}, "task": '
                f'{{"type": "worker", "index": 0}}}}, not {text!r}: {error}.'
            ) from error
        return cls.alone() if count == 1 else cls(count, index, _connect(count))

    @property
    def first(self) -> bool:
        """Whether this process writes the results."""
        return self.index == 0

    def check(self, options: PretrainOptions) -> None:
        """Check that every batch can be divided among the workers.

        Raises:
            TrainingError: It cannot.
        """
        if options.batch_size % (self.count * options.accumulate):
            raise TrainingError(
                f"batch_size {options.batch_size} must be a multiple of {self.count} workers times "
                f"accumulate {options.accumulate}."
            )

    def part(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return this worker's rows of a batch."""
        rows = next(iter(batch.values())).shape[0] // self.count
        return {name: a[self.index * rows : (self.index + 1) * rows] for name, a in batch.items()}

    @contextmanager
    def together(self) -> Iterator[None]:
        """Run operations that need all workers.

        Raises:
            TrainingError: A worker was lost.
        """
        try:
            yield
        except _LOST as error:
            if self.count == 1:
                raise
            raise TrainingError(
                f"a worker other than number {self.index} was lost; start all {self.count} again "
                f"with --resume: {error.message.splitlines()[0]}"
            ) from error


def _read(values: Any) -> tuple[int, int]:
    """Return the number of workers, and the index of this one."""
    cluster, task = values["cluster"], values["task"]
    if set(cluster) != {"worker"} or task["type"] != "worker":
        raise ValueError("all tasks must be workers; the first one is the chief")
    hosts, index = cluster["worker"], int(task["index"])
    if not isinstance(hosts, list) or not 0 <= index < len(hosts):
        raise ValueError(f"there is no worker {index}")
    return len(hosts), index


def _connect(count: int) -> Any:
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise TrainingError(f"the {count} workers of TF_CONFIG cannot connect: {error}") from error
    if strategy.num_replicas_in_sync != count:
        raise TrainingError(
            f"every worker must train on one device, but {count} workers have "
            f"{strategy.num_replicas_in_sync}; set CUDA_VISIBLE_DEVICES to one for each."
        )
    return strategy
