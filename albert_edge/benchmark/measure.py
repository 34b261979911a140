"""Measure one model file in a fresh process: time, memory and what it answers."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from albert_edge.benchmark.devices.device import Device, Local
from albert_edge.benchmark.outputs import decode_outputs
from albert_edge.errors import ConfigError, DeviceError

__all__ = ["ENGINE", "Measurement", "aggregate_rounds", "interleave", "measure"]

ENGINE = "albert_edge.benchmark.engine:open_model"


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
        text_samples_ns: Every warm answer from text in turn, tokenizer included; none if no text
            was given.
        other_cores_busy: How many processor cores worked for others meanwhile, on average, from
            the start to the last warm inference; None where the kernel does not tell, or the time
            was too short to tell.
        memory: `rss_bytes`, `anonymous_bytes` (which only swap could free), `file_bytes` (which is
            mapped from files) and `pss_bytes` of the process when it was `empty`, when the model
            was `loaded`, when it was `running`, after the first inference, and when it was `warm`,
            after the untimed ones.
        peak_rss_bytes: The most that was resident from opening the file to the last warm inference,
            empty process included.
        energy: What `measure_energy` tells.
        conditions: What `read_conditions` told `before` and `after`.
        runtime: What runs the model, such as `ai-edge-litert 2.3.0`.
        delegate: What took operators from it, such as "XNNPACK", or None.
        operators: How many operators the graph has, where the runtime tells.
        operators_delegated: How many of them the delegate took.
        arena_bytes: What the runtime set aside for values between operators, where it tells.
        outputs: The model's outputs by name, then those of each further input, with all layers run;
            see `encode_outputs` for large ones.
        outputs_sha256: The SHA-256 of every whole output on `input_ids`, as it was timed.
        layers_used: How many passes a file made that can leave early; None of others.
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
    text_samples_ns: tuple[int, ...]
    other_cores_busy: float | None
    memory: Mapping[str, Mapping[str, int] | None]
    peak_rss_bytes: int | None
    energy: Mapping[str, Any]
    conditions: Mapping[str, Mapping[str, Any]]
    runtime: str | None
    delegate: str | None = None
    operators: int | None = None
    operators_delegated: int | None = None
    arena_bytes: int | None = None
    outputs: tuple[Mapping[str, npt.NDArray[Any]], ...]
    outputs_sha256: Mapping[str, str]
    layers_used: int | None = None

    @property
    def empty_rss_bytes(self) -> int | None:
        """Resident memory of the empty process."""
        empty = self.memory["empty"]
        return None if empty is None else empty["rss_bytes"]

    def model_bytes(self, kind: str = "rss", stage: str = "warm") -> int | None:
        """Memory of a kind (rss, anonymous, file, pss) at a stage, over the empty process."""
        empty, then = self.memory["empty"], self.memory[stage]
        if empty is None or then is None:
            return None
        return then[f"{kind}_bytes"] - empty[f"{kind}_bytes"]

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
    device: Device | None = None,
    engine: str = ENGINE,
    threads: int = 1,
    seq_len: int = 128,
    input_ids: Sequence[int] | None = None,
    probes: Sequence[Sequence[int]] = (),
    text: Mapping[str, str] | None = None,
    runs: int = 20,
    warmup: int = 3,
    min_time_s: float = 0.5,
    timeout_s: float = 300.0,
) -> Measurement:
    """Measure one model file in a fresh process.

    Args:
        path: The `.tflite` file.
        device: Where; this machine if left out.
        engine: `module:function`; the function takes the path and `threads` and returns an object
            whose `run(input_ids)` maps int32 [1, T] to the outputs' arrays by name.
        threads: CPU threads.
        seq_len: T, the length of the random ids, the same ones every time.
        input_ids: T ids to give instead.
        probes: Further inputs to answer, untimed.
        text: What to give the task's pipeline, to time it from text to answer.
        runs: Warm inferences to time at least.
        warmup: Inferences between the first one and the timed ones.
        min_time_s: How long to go on timing at least.
        timeout_s: When to give up on the process.

    Raises:
        ConfigError: An option is out of its range.
        DeviceError: The process died, did not end in time, or is of another version.
        AlbertEdgeError: What the engine raised, such as `BundleError` for a damaged file.
    """
    _check(threads=threads, seq_len=seq_len, runs=runs, warmup=warmup, min_time_s=min_time_s)
    device = device or Local()
    job = {
        "do": "measure",
        "path": device.send(Path(path)),
        "engine": engine,
        "threads": threads,
        "seq_len": seq_len,
        "input_ids": None if input_ids is None else [int(token) for token in input_ids],
        "probes": [list(map(int, ids)) for ids in probes],
        "text": None if text is None else dict(text),
        "runs": runs,
        "warmup": warmup,
        "min_time_s": min_time_s,
    }
    answer = device.run(job, timeout_s=timeout_s)
    shared = {"path": str(path), "size_bytes": Path(path).stat().st_size}
    try:
        return _read(answer, engine=engine, threads=threads, **shared)
    except (KeyError, TypeError, ValueError) as error:
        raise DeviceError(
            f"{device.name} answered in another form than this version of albert_edge expects "
            f"({error!r}); install the same version there."
        ) from error


def _read(answer: dict[str, Any], **shared: Any) -> Measurement:
    times = {f"{name}_ms": answer.pop(f"{name}_ns") / 1e6 for name in ("import", "load", "first")}
    for name in ("input_ids", "samples_ns", "cpu_samples_ns", "text_samples_ns"):
        answer[name] = tuple(answer[name])
    answer["outputs"] = tuple(decode_outputs(text) for text in answer["outputs"])
    return Measurement(**shared, **times, **answer)


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
    return [aggregate_rounds(kept) for kept in taken]


def aggregate_rounds(rounds: Sequence[Measurement]) -> Measurement:
    """Make one of several measurements of the same thing: all samples, and medians of the rest.

    The conditions are those before the first and after the last; the outputs are the first one's.
    """
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(Measurement):
        values = [getattr(one, field.name) for one in rounds]
        if field.name.endswith("samples_ns"):
            fields[field.name] = tuple(sample for samples in values for sample in samples)
        elif field.name.endswith("_ms"):
            fields[field.name] = float(np.median(values))
        elif field.name.endswith("_bytes") and None not in values:
            fields[field.name] = int(np.median(values))
    joules = [one.energy["joules"] for one in rounds]
    others = [one.other_cores_busy for one in rounds if one.other_cores_busy is not None]
    return dataclasses.replace(
        rounds[0],
        memory=_pool_memory(rounds),
        energy={**rounds[0].energy, "joules": None if None in joules else float(np.median(joules))},
        other_cores_busy=max(others, default=None),
        conditions={
            "before": rounds[0].conditions["before"],
            "after": rounds[-1].conditions["after"],
        },
        **fields,
    )


def _pool_memory(rounds: Sequence[Measurement]) -> dict[str, dict[str, int] | None]:
    pooled: dict[str, dict[str, int] | None] = {}
    for stage in rounds[0].memory:
        known = [memory for one in rounds if (memory := one.memory[stage]) is not None]
        names = known[0] if len(known) == len(rounds) else {}
        pooled[stage] = {n: int(np.median([one[n] for one in known])) for n in names} or None
    return pooled


def _check(**options: float) -> None:
    least = {"warmup": 0, "min_time_s": 0}
    for name, value in options.items():
        if value < least.get(name, 1):
            raise ConfigError(f"{name} must be at least {least.get(name, 1)}, not {value}.")
