"""Measure one model file in a fresh process: time, memory and what it answers."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from albert_edge import errors
from albert_edge.errors import AlbertEdgeError, ConfigError, DeviceError

__all__ = ["ENGINE", "Measurement", "interleave", "measure", "pool"]

ENGINE = "albert_edge.benchmark.engine:open_model"
_STDERR_LINES = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measurement:
    """What one configuration did in a fresh process.

    The empty process, which memory is counted over, is CPython after importing the engine (for
    ours: `albert_edge.runtime`, with NumPy and LiteRT) and before opening the model.  A memory
    field is None where the kernel does not tell.

    Attributes:
        path: The model file.
        size_bytes: Its size.
        task: What its head answers; None, as the next two, for another engine's file.
        quantize: Its recipe.
        layout: Its layout.
        engine: What opened it, `module:function`.
        threads: CPU threads.
        input_ids: The ids that it was given, T of them.
        import_ms: Importing the engine.
        load_ms: Opening the file.
        first_ms: The first inference, in which the runtime allocates and packs.
        samples_ns: Every warm inference in turn, its outputs read back.
        cpu_samples_ns: The processor time that each of them took, over all threads.  On one thread
            it equals the latency, unless something else was using the processor.
        empty_rss_bytes: Resident memory of the empty process.
        model_rss_bytes: Resident memory after the first inference, over the empty process.
        model_anonymous_bytes: The part of it that only swap could free.
        model_file_bytes: The part of it that is mapped from files.
        peak_rss_bytes: The most that was resident from opening the file on, empty process included.
        outputs: The model's outputs by name.
    """

    path: str
    size_bytes: int
    task: str | None
    quantize: str | None
    layout: str | None
    engine: str
    threads: int
    input_ids: tuple[int, ...]
    import_ms: float
    load_ms: float
    first_ms: float
    samples_ns: tuple[int, ...]
    cpu_samples_ns: tuple[int, ...]
    empty_rss_bytes: int | None
    model_rss_bytes: int | None
    model_anonymous_bytes: int | None
    model_file_bytes: int | None
    peak_rss_bytes: int | None
    outputs: dict[str, npt.NDArray[Any]]

    @property
    def latency_ms(self) -> float:
        """The median of the warm inferences."""
        return float(np.median(self.samples_ns)) / 1e6

    @property
    def cpu_ms(self) -> float:
        """The median of the processor time of the warm inferences."""
        return float(np.median(self.cpu_samples_ns)) / 1e6

    @property
    def min_ms(self) -> float:
        """The fastest warm inference."""
        return min(self.samples_ns) / 1e6

    def percentile_ms(self, percent: float) -> float:
        """The smallest sample that `percent` of the warm inferences do not exceed."""
        return float(np.percentile(self.samples_ns, percent, method="inverted_cdf")) / 1e6


def measure(
    path: str | os.PathLike[str],
    *,
    engine: str = ENGINE,
    threads: int = 1,
    seq_len: int = 128,
    input_ids: Sequence[int] | None = None,
    runs: int = 20,
    warmup: int = 3,
    min_time_s: float = 0.5,
    timeout_s: float = 300.0,
) -> Measurement:
    """Measure one model file in a fresh process.

    Args:
        path: The `.tflite` file.
        engine: `module:function`; the function takes the path and `threads` and returns an object
            whose `run(input_ids)` maps int32 [1, T] to the outputs' arrays by name.
        threads: CPU threads.
        seq_len: T, the length of the random ids, the same ones every time.
        input_ids: T ids to give instead.
        runs: Warm inferences to time at least.
        warmup: Inferences between the first one and the timed ones.
        min_time_s: How long to go on timing at least.
        timeout_s: When to give up on the process.

    Raises:
        ConfigError: An option is out of its range.
        DeviceError: The process died, or did not end in time.
        AlbertEdgeError: What the engine raised, such as `BundleError` for a damaged file.
    """
    _check(threads=threads, seq_len=seq_len, runs=runs, warmup=warmup, min_time_s=min_time_s)
    job = {
        "path": str(path),
        "engine": engine,
        "threads": threads,
        "seq_len": seq_len,
        "input_ids": None if input_ids is None else [int(token) for token in input_ids],
        "runs": runs,
        "warmup": warmup,
        "min_time_s": min_time_s,
    }
    answer = _run_worker(job, timeout_s=timeout_s)
    times = {f"{name}_ms": answer.pop(f"{name}_ns") / 1e6 for name in ("import", "load", "first")}
    return Measurement(
        path=str(path),
        size_bytes=Path(path).stat().st_size,
        engine=engine,
        threads=threads,
        input_ids=tuple(answer.pop("input_ids")),
        samples_ns=tuple(answer.pop("samples_ns")),
        cpu_samples_ns=tuple(answer.pop("cpu_samples_ns")),
        outputs=_decode(answer.pop("outputs")),
        **times,
        **answer,
    )


def interleave(
    measures: Sequence[Callable[[], Measurement]],
    *,
    rounds: int = 3,
    on_done: Callable[[], object] = lambda: None,
) -> list[Measurement]:
    """Take every measurement in turn, `rounds` times over, and pool each one's rounds.

    A machine that is busy for a while then slows all of them, not one.

    Args:
        measures: What takes each measurement, such as `functools.partial(measure, path)`.
        rounds: How often.
        on_done: Called after each single measurement.
    """
    taken: list[list[Measurement]] = [[] for _ in measures]
    for _ in range(rounds):
        for kept, take in zip(taken, measures, strict=True):
            kept.append(take())
            on_done()
    return [pool(kept) for kept in taken]


def pool(rounds: Sequence[Measurement]) -> Measurement:
    """Make one of several measurements of the same thing: all samples, and medians of the rest."""
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(Measurement):
        values = [getattr(one, field.name) for one in rounds]
        if field.name.endswith("samples_ns"):
            fields[field.name] = tuple(sample for samples in values for sample in samples)
        elif field.name.endswith("_ms"):
            fields[field.name] = float(np.median(values))
        elif field.name.endswith("_bytes") and None not in values:
            fields[field.name] = int(np.median(values))
    return dataclasses.replace(rounds[0], **fields)


def _check(**options: float) -> None:
    least = {"warmup": 0, "min_time_s": 0}
    for name, value in options.items():
        if value < least.get(name, 1):
            raise ConfigError(f"{name} must be at least {least.get(name, 1)}, not {value}.")


def _run_worker(job: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "albert_edge.benchmark.worker"]
    where = f"measuring {job['path']} in a process of its own"
    try:
        done = subprocess.run(  # noqa: S603 (our own interpreter and module, and no shell)
            command,
            input=json.dumps(job),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise DeviceError(
            f"{where} took over {timeout_s:g} s; give it more time, or measure fewer runs."
        ) from error
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise DeviceError(f"{where}: {_ending(done)}") from None
    if "error" in answer:
        kind: type[AlbertEdgeError] = getattr(errors, answer["error"], DeviceError)
        raise kind.__new__(kind, answer["message"])  # not every error's __init__ takes its message
    return answer


def _ending(done: subprocess.CompletedProcess[str]) -> str:
    code = done.returncode
    ended = f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
    last = "\n  ".join(done.stderr.strip().splitlines()[-_STDERR_LINES:])
    return f"{ended}; it wrote last:\n  {last}" if last else f"{ended}; it wrote nothing."


def _decode(text: str) -> dict[str, npt.NDArray[Any]]:
    with np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False) as arrays:
        return dict(arrays)
