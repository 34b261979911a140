"""Several processes that train one model, each on its share of every batch."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from albert_edge.errors import TrainingError
from albert_edge.training.pretraining.options import PretrainOptions

__all__ = ["Workers"]


@dataclass(frozen=True, slots=True)
class Workers:
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
    def alone(cls) -> Workers:
        """Return this process, which shares with nobody."""
        return cls(1, 0, None)

    @classmethod
    def from_environment(cls) -> Workers:
        """Read TensorFlow's variable TF_CONFIG, and meet the others; without it, be alone.

        Has to be called before TensorFlow does anything else.

        Raises:
            TrainingError: TF_CONFIG is not what `MultiWorkerMirroredStrategy` takes.
        """
        if not (text := os.environ.get("TF_CONFIG")):
            return cls.alone()
        try:
            values = json.loads(text)
            hosts, index = values["cluster"]["worker"], int(values["task"]["index"])
            if not 0 <= index < len(hosts):
                raise ValueError(f"there is no worker {index}")
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                'TF_CONFIG must be like {"cluster": {"worker": ["host:port", ...]}, "task": '
                f'{{"type": "worker", "index": 0}}}}, not {text!r}: {error}.'
            ) from error
        if len(hosts) == 1:
            return cls.alone()
        return cls(len(hosts), index, tf.distribute.MultiWorkerMirroredStrategy())

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

    def folder(self, output: Path) -> Path:
        """Return where this worker notes its figures; only the first one's last."""
        return output if self.first else Path(tempfile.mkdtemp())
