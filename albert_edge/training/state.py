"""A training that was interrupted, on disk: it goes on where it was."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.checkpoints import Checkpoint
from albert_edge.errors import OutputError, TrainingError
from albert_edge.files import write_file

__all__ = ["SaveConfig", "TrainingState", "fingerprint", "read_state", "state_file", "write_state"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingState:
    """A moment between two steps.

    Attributes:
        epoch: Whole epochs done.
        index: Steps done in the epoch after these.
        steps: How many there will be in all.
        random: The state of the generator that draws batches, as it was when the epoch began.
        sums: The epoch's loss, accuracy and number of examples so far, the first two weighted.
        arrays: The values of `Trainer.snapshot`.
        history: What was noted of the epochs that are done.
    """

    epoch: int
    index: int
    steps: int
    random: Mapping[str, Any]
    sums: Sequence[float]
    arrays: Sequence[np.ndarray]
    history: Sequence[Mapping[str, Any]] = ()

    @property
    def done(self) -> int:
        """A number that no two moments of one training share."""
        return self.steps * self.epoch + self.index


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveConfig:
    """Where and when a training is saved.

    Attributes:
        path: The file.
        of: The training's fingerprint.
        every_s: The least time between two savings.
        history: What is noted of the epochs, ready for JSON; it is saved along.
    """

    path: Path
    of: str
    every_s: float
    history: list[dict[str, Any]] = field(default_factory=list)


def fingerprint(start: Checkpoint, *parts: object) -> str:
    """Return a digest of all that a training depends on.

    Args:
        start: What is trained.
        parts: Data and settings; arrays count by their values, other things by their `repr`.
    """
    digest = hashlib.sha256(repr(start.config).encode())
    for part in parts:
        digest.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    for name in sorted(start.tensors):
        digest.update(name.encode() + start.tensors[name].tobytes())
    return digest.hexdigest()


def write_state(path: Path, snapshot: TrainingState, *, of: str) -> None:
    """Write a snapshot of the training with the fingerprint `of`, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    values = {f.name: getattr(snapshot, f.name) for f in dataclasses.fields(snapshot)}
    arrays = values.pop("arrays")
    text = json.dumps({**values, "sums": list(snapshot.sums), "of": of})
    blob = io.BytesIO()
    np.savez(blob, np.array(text), *arrays)
    write_file(path, blob.getvalue(), force=True)


def read_state(path: Path, *, of: str) -> TrainingState:
    """Read a snapshot of the training with the fingerprint `of`.

    Raises:
        TrainingError: There is none, it is damaged, or it is of another training.
    """
    try:
        # Opened here: of a damaged file, `np.load` would leave it open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            first, *arrays = (archive[f"arr_{index}"] for index in range(len(archive.files)))
        values = json.loads(str(first))
        owner = values.pop("of")
        snapshot = TrainingState(**values, arrays=arrays)
    except FileNotFoundError as error:
        raise TrainingError(f"{path} does not exist; there is no training to resume.") from error
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{path} is damaged; begin anew with --force: {error}.") from error
    if owner != of:
        raise TrainingError(
            f"{path} is of a training with other data, options or weights; resume with the same "
            "ones, or begin anew with --force."
        )
    return snapshot


def state_file(state: Path, *, resume: bool, force: bool) -> Path:
    """Return where a training is saved, once it is clear that it may be begun, or resumed.

    Raises:
        TrainingError: It is to be both resumed and begun anew.
        OutputError: It was interrupted, and neither is asked for.
    """
    if resume and force:
        raise TrainingError("a training is either resumed or, with --force, begun anew.")
    if state.exists() and not (resume or force):
        raise OutputError(
            f"{state} is a training that was interrupted; --resume goes on with it, --force "
            "forgets it."
        )
    return state
