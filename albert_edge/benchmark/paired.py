"""Compare two files that are called in turns in the same processes.

The speed of a shared machine changes by half within seconds, so that two reports show differences
of some percent only after hundreds of rounds.  Within a process the ratio of two files varies by a
percent or two.
"""

from __future__ import annotations

import os
from contextlib import closing
from datetime import datetime, timezone
from statistics import median
from typing import Any

from rich.progress import Progress

from albert_edge.benchmark.compare import SCHEMA, ratio_of_pairs
from albert_edge.benchmark.config import (
    BenchmarkConfig,
    Configuration,
    ModelFile,
    configurations,
    interleaved_schedule,
)
from albert_edge.benchmark.devices.device import ENGINE, open_device
from albert_edge.benchmark.run import unexpected
from albert_edge.errors import ConfigError, DeviceError

__all__ = ["compare_files"]


def compare_files(
    old: str | os.PathLike[str],
    new: str | os.PathLike[str],
    *,
    settings: BenchmarkConfig | None = None,
    device: str = "local",
    progress: Progress,
) -> dict[str, Any]:
    """Compare the latency of two files on a CPU.

    Each round is a process that has both open and calls them in turns: old, new, new, old.

    Args:
        old: A `.tflite` file, or the name of an embedded model.
        new: Another one.
        settings: How to measure them; their lengths are those of `new`.
        device: The address of this machine or of one over SSH, for `open_device`.
        progress: Where to show the progress.

    Returns:
        What `compare_reports` returns, with `paired` true.  Each row has the change of
        `latency_ms` alone; its interval is that of `ratio_of_pairs`.

    Raises:
        BundleError: A file cannot be read.
        ConfigError: It is the same file twice, or the device is no machine that runs Python.
        DeviceError: The device cannot be reached, a runtime failed or ended its process, or the
            user interrupted the run.
    """
    settings = settings or BenchmarkConfig()
    if device.partition("://")[0] not in ("local", "ssh"):
        raise ConfigError(f"two files are compared here or over SSH, not on {device}.")
    before, after = files = ModelFile.read_all([old, new])
    for file in files:
        if file.error is not None:
            raise file.error
    planned = configurations([after], settings)
    rounds: dict[Any, list[tuple[float, float]]] = {one.key: [] for one in planned}
    schedule = interleaved_schedule(planned, settings)
    task = progress.add_task("Measuring", total=len(schedule))
    try:
        with closing(open_device(device)) as opened:
            job = {
                "do": "pair",
                "engine": ENGINE,
                "old": opened.send(before.path),
                "path": opened.send(after.path),
                "sha256": after.sha256,
                "runs": settings.runs,
                "warmup": settings.warmup,
                "min_time_s": settings.min_time_s,
            }
            for number, one in schedule:
                job |= {"threads": one.threads, "seq_len": one.seq_len, "new_first": number % 2}
                done = opened.run(job, timeout_s=settings.timeout_s)
                try:
                    old_ms, new_ms = (median(taken) / 1e6 for taken in done["samples_ns"])
                except (KeyError, TypeError, ValueError) as error:
                    raise unexpected(opened, repr(error)) from error
                rounds[one.key].append((old_ms, new_ms))
                progress.advance(task)
    except KeyboardInterrupt:
        raise DeviceError("interrupted; nothing of the comparison is kept.") from None
    now = {"date": datetime.now(timezone.utc).date().isoformat(), "complete": True}
    return {
        "schema": SCHEMA,
        "paired": True,
        "old": now,
        "new": now,
        "same_machine": True,
        "differs": [],
        "rows": [_to_row(one, before, rounds[one.key]) for one in planned],
        "only_old": [],
        "only_new": [],
    }


def _to_row(
    one: Configuration, old: ModelFile, rounds: list[tuple[float, float]]
) -> dict[str, Any]:
    before, after = zip(*rounds, strict=True)
    latency = ratio_of_pairs(before, after).to_change(median(before), median(after))
    return {
        "name": f"{old.name}, {one.file.name}",
        "accelerator": one.accelerator,
        "threads": one.threads,
        "seq_len": one.seq_len,
        "old_status": "ok",
        "new_status": "ok",
        "same_file": old.sha256 == one.file.sha256,
        "doubts": [],
        "verdict": latency["verdict"],
        "changes": {"latency_ms": latency},
    }
