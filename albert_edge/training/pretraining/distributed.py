"""Several processes that train one model, each on its share of every batch."""

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

__all__ = ["DistributedContext"]

# What a sum over all workers ends in when one of them is gone.
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)


@dataclass(frozen=True, slots=True)
class DistributedContext:
    """Who trains.

    Attributes:
        count: How many there are.
        index: Which of them this process is, from 0; the first one writes.
        strategy: How they add up their gradients; None for one alone.
    """

    count: int
    index: int
    strategy: Any

    @classmethod
    def alone(cls) -> DistributedContext:
        """Return this process, which shares with nobody."""
        return cls(1, 0, None)

    @classmethod
    def from_environment(cls) -> DistributedContext:
        """Read TensorFlow's variable TF_CONFIG, and meet the others; without it, be alone.

        Has to be called before TensorFlow does anything else.  Waits until all are there.

        Raises:
            TrainingError: TF_CONFIG is not what `MultiWorkerMirroredStrategy` takes, or the workers
                do not meet.
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
        return cls.alone() if count == 1 else cls(count, index, _meet(count))

    @property
    def first(self) -> bool:
        """Whether this process writes what all of them made."""
        return self.index == 0

    def check(self, options: PretrainOptions) -> None:
        """Check that every batch can be shared out.

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
        rows = batch["order"].shape[0] // self.count
        return {name: a[self.index * rows : (self.index + 1) * rows] for name, a in batch.items()}

    @contextmanager
    def together(self) -> Iterator[None]:
        """Do what takes all of them.

        Raises:
            TrainingError: One of them was lost.
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
    """Return how many workers there are, and which of them this one is."""
    cluster, task = values["cluster"], values["task"]
    if set(cluster) != {"worker"} or task["type"] != "worker":
        raise ValueError("there are workers only; the first one is the chief")
    hosts, index = cluster["worker"], int(task["index"])
    if not isinstance(hosts, list) or not 0 <= index < len(hosts):
        raise ValueError(f"there is no worker {index}")
    return len(hosts), index


def _meet(count: int) -> Any:
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise TrainingError(f"the {count} workers of TF_CONFIG do not meet: {error}") from error
    if strategy.num_replicas_in_sync != count:
        raise TrainingError(
            f"every worker must train on one device, but {count} workers have "
            f"{strategy.num_replicas_in_sync}; set CUDA_VISIBLE_DEVICES to one for each."
        )
    return strategy
