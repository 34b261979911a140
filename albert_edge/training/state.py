"""The state of an unfinished training on disk, from which it resumes."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import re
import struct
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
from albert_edge.files import dump_json, open_input, write_file

__all__ = ["Resumable", "StateWriter", "TrainingState", "check_state", "fingerprint", "open_state"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingState:
    """The state between two steps.

    Attributes:
        epoch: The number of finished epochs.
        index: The number of finished steps in the current epoch.
        steps: The number of steps of the whole training.
        random: The state of the generator of the batches at the beginning of the epoch.
        sums: The current epoch's sums: on plain text as of `StepTrainer.step`, otherwise loss,
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
        """Restore the values that `get_state` of a trainer of the same arguments returned.

        Raises:
            TrainingError: They are of other types or shapes.
        """
        variables = self._variables()
        expected = [(tuple(v.shape), np.dtype(v.dtype.as_numpy_dtype)) for v in variables]
        if [(array.shape, array.dtype) for array in arrays] != expected:
            raise TrainingError(
                "the saved state is damaged: its arrays are not those of this model; restart with "
                "--force."
            )
        for variable, value in zip(variables, arrays, strict=True):
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
    # A task without accuracy has no sum of it: NaN, which JSON cannot express.
    sums = [None if math.isnan(one) else one for one in state.sums]
    text = dump_json({**values, "sums": sums, "of": owner})
    blob = io.BytesIO()
    np.savez(blob, np.array(text), *arrays)
    write_file(path, blob.getvalue(), force=True)


def _read_state(path: Path, *, owner: str) -> TrainingState:
    try:
        with open_input(path) as file, zipfile.ZipFile(file) as archive:
            size = path.stat().st_size
            entries = archive.infolist()
            first, *arrays = (
                _read_array(archive, entry, f"arr_{index}.npy", size)
                for index, entry in enumerate(entries)
            )
        values = json.loads(str(first))
        found = values.pop("of")
        values["sums"] = [math.nan if one is None else one for one in values["sums"]]
        state = TrainingState(**values, arrays=arrays)
        _check_values(state)
    except FileNotFoundError as error:
        raise _missing(path) from error
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    if found != owner:
        raise TrainingError(
            f"{path} is of a training with other data, options or weights; resume with the same "
            "ones, or restart with --force."
        )
    return state


# What zipfile, json and `TrainingState` raise for a damaged file.
_DAMAGE = (
    *(OSError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError, struct.error),
    *(ValueError, KeyError, TypeError, AttributeError, OverflowError),
)
# The start of an array as `np.savez` writes it: version 1.0, and the length, type and shape.
_ARRAY = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([<|][fiubU]\d{1,9})', 'fortran_order': False, "
    rb"'shape': \(((?:\d{1,15},? ?)*)\), \} *\n",
    re.DOTALL,
)


def _read_array(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str, size: int
) -> np.ndarray:
    """Read an array whose header promises no more than there is.

    Raises:
        ValueError: It is damaged.
    """
    if entry.filename != name or entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"expected {name}, stored, got {entry.filename!r}")
    if entry.file_size > size:
        raise ValueError(f"{name} has {entry.file_size} bytes in a file of {size}")
    blob = archive.read(entry)
    header = _ARRAY.match(blob)
    if header is None or header.end() != 10 + int.from_bytes(blob[8:10], "little"):
        raise ValueError(f"{name} is not an array as this program writes them")
    dtype, at = np.dtype(header[1].decode()), header.end()
    shape = tuple(int(number) for number in re.findall(rb"\d+", header[2]))
    if len(blob) - at != (expected := math.prod(shape) * dtype.itemsize):
        raise ValueError(f"{name} has {len(blob) - at} bytes of values, not {expected}")
    return np.frombuffer(blob, dtype, offset=at).reshape(shape)


# The types of the figures of a finished epoch.
_ENTRY: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("epoch", "truncated"), (int,)),
    **dict.fromkeys(("loss", "duration_s"), (float, int)),
    **dict.fromkeys(("accuracy", "dev_accuracy", "dev_score"), (float, int, type(None))),
    "dev": (dict,),
    "dev_interval": (list, type(None)),
}
_MOST = 2**53  # of the numbers of epochs and steps


def _check_values(state: TrainingState) -> None:
    """Check the types and ranges of what is not an array.

    Raises:
        ValueError: One is wrong.
    """
    counts = (state.epoch, state.index, state.steps)
    if not all(type(count) is int and 0 <= count < _MOST for count in counts):
        raise ValueError(f"epoch, index and steps must be whole numbers, got {counts}")
    sums = np.array(state.sums)
    if sums.ndim != 1 or sums.dtype.kind not in "if" or not isinstance(state.random, dict):
        raise ValueError("the sums or the generator's state are not those of a training")
    for entry in state.history:
        values = [*entry.get("dev", {}).values(), *(entry.get("dev_interval") or [])]
        if not (
            all(type(value) in _ENTRY[name] for name, value in entry.items())
            and all(type(value) in _ENTRY["accuracy"] for value in values)
        ):
            raise ValueError("the figures of its epochs are not those of a training")


def _damaged(path: Path, reason: object) -> TrainingError:
    return TrainingError(f"{path} is damaged; restart with --force: {reason}.")


def _missing(path: Path) -> TrainingError:
    return TrainingError(f"{path} does not exist; there is no training to resume.")


def fingerprint(start: Checkpoint, *parts: object) -> str:
    """Return a digest of all that a training depends on.

    Args:
        start: The checkpoint to train.
        parts: Data and settings; an array is hashed by its values, anything else by its `repr`.
    """
    # A field that came later counts only where it is set, so that older trainings can go on.
    config = repr(start.config).replace(", head_dim=None)", ")").replace(", family='albert')", ")")
    digest = hashlib.sha256(config.encode())
    for part in parts:
        digest.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    for name in sorted(start.tensors):
        digest.update(name.encode() + start.tensors[name].tobytes())
    return digest.hexdigest()
