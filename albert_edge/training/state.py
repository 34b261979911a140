"""The state of an unfinished training on disk, from which it resumes."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import time
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from albert_edge.checkpoints import Checkpoint
from albert_edge.errors import OutputError, TrainingError
from albert_edge.files import check_writable, dump_json, open_input, write_file

__all__ = [
    "Resumable",
    "StateWriter",
    "TrainingState",
    "check_output",
    "check_state",
    "fingerprint",
    "open_state",
    "write_state",
]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingState:
    """The state between two steps.

    Attributes:
        epoch: The number of finished epochs.
        index: The number of finished steps in the current epoch.
        steps: The number of steps of the whole training.
        random: The state of the generator of the batches at the beginning of the epoch.
        sums: The current epoch's sums: of pre-training as in `mean_metrics`, otherwise loss,
            accuracy and number of examples, the first two times the number of examples.
        arrays: The trainer's variables, as in `Resumable`.
        history: The metrics of the finished epochs.
    """

    epoch: int
    index: int
    steps: int
    random: Mapping[str, Any]
    sums: Sequence[float]
    arrays: Sequence[np.ndarray]
    history: Sequence[Mapping[str, Any]] = ()

    @property
    def seed(self) -> int:
        """A number that differs between any two states of one training."""
        return self.steps * self.epoch + self.index


class Resumable(ABC):
    """A trainer whose variables are saved, and restored to resume from there."""

    @abstractmethod
    def _variables(self) -> Sequence[Any]:
        """Return all variables that change in training, always in the same order."""

    @final
    def get_state(self) -> list[np.ndarray]:
        """Return the values of all variables."""
        return [variable.numpy() for variable in self._variables()]

    @final
    def set_state(self, arrays: Sequence[np.ndarray]) -> None:
        """Restore the values that `get_state` of a trainer of the same arguments returned."""
        for variable, value in zip(self._variables(), arrays, strict=True):
            variable.assign(value)


class StateWriter:
    """Writes the state of a training at intervals.

    Args:
        path: The file.
        owner: The training's fingerprint.
        every_s: The least time between two writes.
        history: The metrics of the finished epochs, ready for JSON; they are part of the state.
    """

    def __init__(
        self, path: Path, owner: str, *, every_s: float, history: Sequence[dict[str, Any]] = ()
    ) -> None:
        self._path, self._owner = path, owner
        self._every_s, self._history = every_s, history
        self._written = time.monotonic()

    def is_due(self) -> bool:
        """Return whether the interval is over."""
        return time.monotonic() - self._written >= self._every_s

    def write(self, state: TrainingState) -> None:
        """Write a state; the next one is due after the interval.

        Raises:
            OutputError: It cannot be written.
        """
        state = dataclasses.replace(state, history=list(self._history))
        write_state(self._path, state, owner=self._owner)
        self._written = time.monotonic()


def check_output(output: Path, *, force: bool) -> None:
    """Check before a training that its checkpoint can be written.

    Raises:
        OutputError: It cannot, or `output` holds a checkpoint and `force` is false.
    """
    if output.is_dir():
        check_writable(output / "config.json", force=force)
    elif output.exists():
        raise OutputError(f"{output} is a file; name a directory.")
    else:
        check_writable(output)


def check_state(path: Path, *, resume: bool, force: bool) -> None:
    """Check before a training that no unfinished one is lost, or that there is one to resume.

    Args:
        path: The file of the state.
        resume: Whether to resume from it.
        force: Whether it may be discarded.

    Raises:
        TrainingError: `resume` and `force` are both given, or there is no state to resume from.
        OutputError: There is a state, and neither is given.
    """
    if resume and force:
        raise TrainingError(
            "give --resume to continue a training or --force to restart it, not both."
        )
    if path.exists() and not (resume or force):
        raise OutputError(
            f"{path} is the state of an interrupted training; give --resume to continue it, or "
            "--force to discard it."
        )
    if resume and not path.exists():
        raise _missing(path)


def open_state(path: Path, *, owner: str, resume: bool) -> TrainingState | None:
    """Read the state of the training with the fingerprint `owner`, or remove what is not resumed.

    Raises:
        TrainingError: There is nothing to resume, it is damaged, or it is of another training.
        OutputError: The old state cannot be removed.
    """
    if resume:
        return _read_state(path, owner=owner)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}.") from error
    return None


def write_state(path: Path, state: TrainingState, *, owner: str) -> None:
    """Write the state of the training with the fingerprint `owner`, atomically.

    Raises:
        OutputError: It cannot be written.
    """
    values = {f.name: getattr(state, f.name) for f in dataclasses.fields(state)}
    arrays = values.pop("arrays")
    text = dump_json({**values, "sums": list(state.sums), "of": owner})
    blob = io.BytesIO()
    np.savez(blob, np.array(text), *arrays)
    write_file(path, blob.getvalue(), force=True)


def _read_state(path: Path, *, owner: str) -> TrainingState:
    try:
        # `np.load` of a path would leave a damaged file open.
        with open_input(path) as file, np.load(file, allow_pickle=False) as archive:
            first, *arrays = (archive[f"arr_{index}"] for index in range(len(archive.files)))
        values = json.loads(str(first))
        found = values.pop("of")
        state = TrainingState(**values, arrays=arrays)
    except FileNotFoundError as error:
        raise _missing(path) from error
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{path} is damaged; restart with --force: {error}.") from error
    if found != owner:
        raise TrainingError(
            f"{path} is of a training with other data, options or weights; resume with the same "
            "ones, or restart with --force."
        )
    return state


def _missing(path: Path) -> TrainingError:
    return TrainingError(f"{path} does not exist; there is no training to resume.")


def fingerprint(start: Checkpoint, *parts: object) -> str:
    """Return a digest of all that a training depends on.

    Args:
        start: The checkpoint to train.
        parts: Data and settings; an array is hashed by its values, anything else by its `repr`.
    """
    digest = hashlib.sha256(repr(start.config).encode())
    for part in parts:
        digest.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    for name in sorted(start.tensors):
        digest.update(name.encode() + start.tensors[name].tobytes())
    return digest.hexdigest()
