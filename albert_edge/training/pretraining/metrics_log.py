"""The log of a training's metrics by step: `curve.jsonl`, and event files for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf

from albert_edge.errors import OutputError
from albert_edge.files import dump_json, read_input, write_file

__all__ = ["METRICS_FILE", "MetricsLog"]

METRICS_FILE, _LOGS = "curve.jsonl", "logs"
# The metadata of `tf.summary.scalar`, which itself needs the package tensorboard.
_SCALAR = tf.compat.v1.SummaryMetadata(
    plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
)


class MetricsLog:
    """The log of a training in a folder, which exists.

    Args:
        folder: The folder of `curve.jsonl` and `logs/`.
        after: The number of finished steps; entries of later ones, which are repeated, are removed.
        keep: Whether to write; one of several workers does.
    """

    def __init__(self, folder: Path, *, after: int, keep: bool = True) -> None:
        self._path, self._keep = folder / METRICS_FILE, keep
        self.points = _read(self._path, after) if after else []
        if keep:
            self._write()
            with _reraise_as_output_error(folder / _LOGS):
                self._writer = tf.summary.create_file_writer(str(folder / _LOGS))

    def add(self, step: int, **metrics: Mapping[str, float] | float | None) -> None:
        """Add metrics of a step: groups such as `train` and `held_out`, or single ones.

        Raises:
            OutputError: They cannot be written, as on a full disk.
        """
        known = {name: value for name, value in metrics.items() if value is not None}
        self.points.append({"step": step, **_rounded(known)})
        if self._keep:
            self._write()
            with _reraise_as_output_error(self._path.with_name(_LOGS)):
                self._log(step, known)

    def _log(self, step: int, known: Mapping[str, Mapping[str, float] | float]) -> None:
        with self._writer.as_default(step):
            for group, values in known.items():
                named = values.items() if isinstance(values, Mapping) else [("", values)]
                for name, value in named:
                    tag, scalar = f"{group}/{name}".rstrip("/"), tf.constant(value, tf.float32)
                    tf.summary.write(tag, scalar, metadata=_SCALAR)
            self._writer.flush()

    def _write(self) -> None:
        text = "".join(dump_json(point) + "\n" for point in self.points)
        write_file(self._path, text.encode(), force=True)


@contextmanager
def _reraise_as_output_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except tf.errors.OpError as error:
        # Its first line is such as "{{node}} /logs/events.out.tfevents.1.v2; No space left on ..."
        reason = str(error.message).partition("\n")[0].rpartition("; ")[2]
        raise OutputError(f"cannot write {folder}: {reason}.") from error


def _read(path: Path, after: int) -> list[dict[str, Any]]:
    try:
        points = [json.loads(line) for line in read_input(path).decode().splitlines()]
        return [point for point in points if point["step"] <= after]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"cannot resume {path}: {error}; restart with --force.") from error


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _rounded(value) if isinstance(value, Mapping) else float(f"{value:.6g}")
        for name, value in values.items()
    }
