"""Measure one model file in a fresh process: time, memory, energy and outputs.

`measure` takes one measurement, or `count` counts instructions where time means nothing;
`interleave` repeats several measurements in turn and aggregates their rounds.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from albert_edge.benchmark.devices.device import ENGINE, Device, Local
from albert_edge.benchmark.outputs import decode_outputs
from albert_edge.benchmark.worker import check_same_file
from albert_edge.errors import ConfigError, DeviceError

__all__ = ["count", "interleave", "measure"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """What one configuration gave in a fresh process, whatever was measured of it.

    Attributes:
        path: The model file.
        size_bytes: Its size.
        sha256: The SHA-256 of its content.
        task: Its task; None, as the next two, for a file of another engine.
        quantize: Its recipe.
        layout: Its layout.
        engine: The engine that opened it, `module:function`.
        threads: CPU threads.
        input_ids: The T token ids of the measured input.
        runtime: The runtime and its version, such as `ai-edge-litert 2.3.0`.
        delegate: The delegate that ran operators, such as "XNNPACK", or None.
        operators: Number of operators of the graph; None where the runtime does not report it.
        operators_delegated: How many of them the delegate ran.
        outputs: The model's outputs by name on `input_ids`, then on each probe, with all layers
            run; see `encode_outputs` for large ones.
        outputs_sha256: The SHA-256 of every whole output on `input_ids`, as measured.
        layers_used: Number of passes that an early-exit file made; None for other files.
    """

    path: str
    size_bytes: int
    sha256: str
    task: str | None
    quantize: str | None
    layout: str | None
    engine: str
    threads: int
    input_ids: tuple[int, ...]
    runtime: str | None
    delegate: str | None = None
    operators: int | None = None
    operators_delegated: int | None = None
    outputs: tuple[Mapping[str, npt.NDArray[Any]], ...]
    outputs_sha256: Mapping[str, str]
    layers_used: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return every field that is known by its name, ready for JSON, without the outputs."""
        fields = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in fields.items()
            if name != "outputs" and not (name in _OPTIONAL and value is None)
        }


_OPTIONAL = ("layers_used", "acceleration", "products")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measurement(Result):
    """The measurement of one configuration in a fresh process.

    The empty process, the baseline of the model's memory, is CPython after importing the engine
    (for ours: `albert_edge.runtime`, with NumPy and LiteRT) and before opening the model.  A memory
    field is None where the kernel does not report it.

    Attributes:
        import_ms: Importing the engine.
        load_ms: Opening the file.
        first_ms: The first inference, in which the runtime allocates and packs.
        samples_ns: Wall time of every warm inference, outputs read back, in order.
        cpu_samples_ns: CPU time of each of them, over all threads.  On one thread it equals the
            latency, unless another process was using the processor.
        text_samples_ns: Wall time of every warm run of the pipeline, tokenizer included, in order;
            empty if no text was given.
        other_cores_busy: Average number of cores that other processes used from the start to the
            last warm inference; None where the kernel does not report it, or if the time was too
            short.
        memory: `rss_bytes`, `anonymous_bytes` (which only swap could free), `file_bytes` (mapped
            from files) and `pss_bytes` of the process when it was `empty`, when the model was
            `loaded`, when it was `running`, after the first inference, and when it was `warm`,
            after the untimed ones.
        peak_rss_bytes: Peak resident memory from opening the file to the last warm inference,
            empty process included.
        energy: The result of `measure_energy`.
        conditions: The results of `read_conditions` `before` and `after`.
        arena_bytes: Memory that the runtime reserved for activations; None where it does not
            report it.
        acceleration: What a GPU or an Edge TPU ran of the file,
            `runtime.compiled_model.Acceleration` ready for JSON; None on the CPU.
        products: Of a folder of the target `edgetpu` the `calls` of products in a warm inference,
            and the `ms` that they took of it, on average; None for a file.
    """

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
    arena_bytes: int | None = None
    acceleration: Mapping[str, Any] | None = None
    products: Mapping[str, float] | None = None

    @property
    def empty_rss_bytes(self) -> int | None:
        """Resident memory of the empty process."""
        empty = self.memory["empty"]
        return None if empty is None else empty["rss_bytes"]

    def model_bytes(self, kind: str = "rss", stage: str = "warm") -> int | None:
        """Return memory of a kind (rss, anonymous, file, pss) at a stage, over the empty one."""
        empty, current = self.memory["empty"], self.memory[stage]
        if empty is None or current is None:
            return None
        return current[f"{kind}_bytes"] - empty[f"{kind}_bytes"]

    @property
    def latency_ms(self) -> float:
        """The median of the warm inferences."""
        return float(np.median(self.samples_ns)) / 1e6

    @property
    def cpu_ms(self) -> float:
        """The median CPU time of the warm inferences."""
        return float(np.median(self.cpu_samples_ns)) / 1e6

    @property
    def min_ms(self) -> float:
        """The fastest warm inference."""
        return min(self.samples_ns) / 1e6

    def percentile_ms(self, percent: float) -> float:
        """Return the smallest sample that `percent` of the warm inferences do not exceed."""
        return float(np.percentile(self.samples_ns, percent, method="inverted_cdf")) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Count(Result):
    """The instructions of one configuration on an emulated processor, the same ones every time.

    Attributes:
        instructions_load: Instructions of opening the file.
        instructions_first: Of the first inference, in which the runtime allocates and packs.
        instructions_inference: Of a warm inference, outputs read back: the average of a fixed
            number of them.
    """

    instructions_load: int
    instructions_first: int
    instructions_inference: int


def measure(
    path: str | os.PathLike[str],
    *,
    device: Device | None = None,
    engine: str = ENGINE,
    options: Mapping[str, str] = MappingProxyType({}),
    threads: int = 1,
    seq_len: int = 128,
    input_ids: Sequence[int] | None = None,
    probes: Sequence[Sequence[int]] = (),
    text: Mapping[str, str] | None = None,
    sha256: str | None = None,
    runs: int = 20,
    warmup: int = 3,
    min_time_s: float = 0.5,
    timeout_s: float = 300.0,
) -> Measurement:
    """Measure one model file in a fresh process.

    Args:
        path: The `.tflite` file.
        device: Where to measure; None for this machine.
        engine: `module:function`; the function takes the path and `threads` and returns an object
            whose `run(input_ids)` maps int32 [1, T] to the outputs' arrays by name.
        options: Further arguments of the function.
        threads: CPU threads.
        seq_len: T, the length of the random ids, the same ones every time.
        input_ids: T token ids to use instead.
        probes: Further inputs to run once, untimed.
        text: Arguments of the task's pipeline, to time it from text to result.
        sha256: The SHA-256 that the file must have; None for any.
        runs: Minimum number of timed warm inferences.
        warmup: Untimed inferences between the first one and the timed ones.
        min_time_s: Minimum time to spend on warm inferences.
        timeout_s: When to stop a process that has not finished.

    Raises:
        ConfigError: An option is out of range.
        DeviceError: The process died, timed out, or runs another version of this package.
        BundleError: The file was replaced while it was measured.
        AlbertEdgeError: The engine's own error, such as `BundleError` for a damaged file.
    """
    _check_options(
        threads=threads, seq_len=seq_len, runs=runs, warmup=warmup, min_time_s=min_time_s
    )
    device = device or Local()
    job = {
        "do": "measure",
        "engine": engine,
        "options": dict(options),
        "threads": threads,
        "seq_len": seq_len,
        "text": None if text is None else dict(text),
        "sha256": sha256,
        "runs": runs,
        "warmup": warmup,
        "min_time_s": min_time_s,
    }
    with _run(device, path, job, input_ids, probes, timeout_s=timeout_s) as result:
        times = {f"{one}_ms": result.pop(f"{one}_ns") / 1e6 for one in ("import", "load", "first")}
        for name in ("samples_ns", "cpu_samples_ns", "text_samples_ns"):
            result[name] = tuple(result[name])
        return Measurement(path=str(path), engine=engine, threads=threads, **times, **result)


def count(
    path: str | os.PathLike[str],
    *,
    device: Device,
    engine: str = ENGINE,
    seq_len: int = 128,
    input_ids: Sequence[int] | None = None,
    probes: Sequence[Sequence[int]] = (),
    sha256: str | None = None,
    runs: int = 2,
    warmup: int = 1,
    timeout_s: float = 600.0,
) -> Count:
    """Count the instructions of one model file, on one thread of an emulated processor.

    Args:
        path: The `.tflite` file.
        device: One whose `counts_instructions` is true.
        engine: `module:function`; see `measure`.
        seq_len: T, the length of the random ids, the same ones every time.
        input_ids: T token ids to use instead.
        probes: Further inputs to run once, uncounted.
        sha256: The SHA-256 that the file must have; None for any.
        runs: Number of counted warm inferences.
        warmup: Inferences between the first one and the counted ones.
        timeout_s: When to stop a process that has not finished.

    Raises:
        ConfigError: An option is out of range.
        DeviceError: The process died or timed out.
        BundleError: The file was replaced while it was measured.
        AlbertEdgeError: The engine's own error, such as `BundleError` for a damaged file.
    """
    _check_options(seq_len=seq_len, runs=runs, warmup=warmup)
    job = {
        "do": "count",
        "engine": engine,
        "threads": 1,
        "seq_len": seq_len,
        "sha256": sha256,
        "runs": runs,
        "warmup": warmup,
    }
    with _run(device, path, job, input_ids, probes, timeout_s=timeout_s) as result:
        return Count(path=str(path), engine=engine, threads=1, **result)


@contextmanager
def _run(
    device: Device,
    path: str | os.PathLike[str],
    job: Mapping[str, Any],
    input_ids: Sequence[int] | None,
    probes: Sequence[Sequence[int]],
    *,
    timeout_s: float,
) -> Iterator[dict[str, Any]]:
    """Run a job on a device and give its result, to be read inside the context."""
    result = device.run(
        {
            **job,
            "path": device.send(Path(path)),
            "input_ids": None if input_ids is None else [int(token) for token in input_ids],
            "probes": [list(map(int, ids)) for ids in probes],
        },
        timeout_s=timeout_s,
    )
    try:
        result["input_ids"] = tuple(result["input_ids"])
        result["outputs"] = tuple(decode_outputs(text) for text in result["outputs"])
        yield result
    except (KeyError, TypeError, ValueError) as error:
        raise DeviceError(
            f"{device.name} returned a result in another form than this version of albert_edge "
            f"expects ({error!r}); install the same version there."
        ) from error


def interleave(
    measures: Sequence[Callable[[], Measurement]],
    *,
    rounds: int = 3,
    on_done: Callable[[], object] = lambda: None,
) -> list[Measurement]:
    """Take every measurement in turn, `rounds` times over, and aggregate the rounds of each.

    A machine that is busy for a while then slows down all of them, not one.

    Args:
        measures: Functions that take one measurement each, such as `functools.partial(measure,
            path)`.
        rounds: Number of rounds.
        on_done: Called after each single measurement.
    """
    taken: list[list[Measurement]] = [[] for _ in measures]
    for _ in range(rounds):
        for measurements, take in zip(taken, measures, strict=True):
            measurements.append(take())
            on_done()
    return [aggregate_rounds(measurements) for measurements in taken]


def aggregate_rounds(rounds: Sequence[Measurement]) -> Measurement:
    """Aggregate measurements of one configuration: all samples, and medians of other metrics.

    The conditions are those before the first and after the last round; the outputs are those of the
    first one.

    Raises:
        BundleError: The file was replaced between two rounds.
    """
    for one in rounds:
        check_same_file(rounds[0].sha256, one.sha256)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(Measurement):
        values = [getattr(one, field.name) for one in rounds]
        if field.name.endswith("samples_ns"):
            fields[field.name] = tuple(sample for samples in values for sample in samples)
        elif field.name.endswith("_ms"):
            fields[field.name] = float(np.median(values))
        elif field.name.endswith("_bytes") and None not in values:
            fields[field.name] = int(np.median(values))
    if products := [one.products for one in rounds if one.products is not None]:
        names = products[0]
        fields["products"] = {
            name: float(np.mean([one[name] for one in products])) for name in names
        }
    joules = [one.energy["joules"] for one in rounds]
    busy = [one.other_cores_busy for one in rounds if one.other_cores_busy is not None]
    return dataclasses.replace(
        rounds[0],
        memory=_aggregate_memory(rounds),
        energy={**rounds[0].energy, "joules": None if None in joules else float(np.median(joules))},
        other_cores_busy=max(busy, default=None),
        conditions={
            "before": rounds[0].conditions["before"],
            "after": rounds[-1].conditions["after"],
        },
        **fields,
    )


def _aggregate_memory(rounds: Sequence[Measurement]) -> dict[str, dict[str, int] | None]:
    aggregated: dict[str, dict[str, int] | None] = {}
    for stage in rounds[0].memory:
        known = [memory for one in rounds if (memory := one.memory[stage]) is not None]
        names = known[0] if len(known) == len(rounds) else {}
        medians = {name: int(np.median([memory[name] for memory in known])) for name in names}
        aggregated[stage] = medians or None
    return aggregated


def _check_options(**options: float) -> None:
    for name, value in options.items():
        minimum = 0 if name in ("warmup", "min_time_s") else 1
        if value < minimum:
            raise ConfigError(f"{name} must be at least {minimum}, not {value}.")
