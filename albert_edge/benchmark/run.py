"""Benchmark every file in every setting, in interleaved rounds of fresh processes.

`benchmark` measures all configurations, compares their outputs with a reference, ranks them, and
saves the report after every measurement, so that an interrupted run can be resumed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from typing import Any

from rich.progress import Progress

from albert_edge.benchmark.config import (
    BenchmarkConfig,
    Configuration,
    ModelFile,
    configurations,
    interleaved_schedule,
)
from albert_edge.benchmark.devices.device import Device, open_device
from albert_edge.benchmark.inputs import Inputs, make_inputs
from albert_edge.benchmark.measure import Count, Measurement, count, measure
from albert_edge.benchmark.outputs import (
    ENGINE,
    FLOAT_ENGINE,
    Reference,
    choose_reference,
    compare_with_cpu,
    run_reference,
    worst,
)
from albert_edge.benchmark.report_file import (
    check_same_run,
    find_fault,
    open_report,
    report_header,
    save_report,
)
from albert_edge.benchmark.statistics import (
    describe_row,
    find_warnings,
    rank,
    restore_count,
    restore_rounds,
    spread,
    summarize_count,
    summarize_round,
    summarize_rounds,
)
from albert_edge.errors import AlbertEdgeError, DeviceError, ReportError

__all__ = ["benchmark", "unexpected"]

INTERRUPTED = (
    "interrupted. Completed measurements are saved in the file of --json, if given, and --resume "
    "continues later."
)


def benchmark(
    paths: Sequence[str | os.PathLike[str]],
    *,
    settings: BenchmarkConfig | None = None,
    device: str = "local",
    runtime: Sequence[str | os.PathLike[str]] = (),
    json_path: str | os.PathLike[str] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress,
) -> dict[str, Any]:
    """Measure every file in every combination of the settings.

    A configuration that fails becomes a row with an `error`; the others are still measured.

    Args:
        paths: The `.tflite` files; "default", "questions" and "embeddings" are embedded.
        settings: How to measure them.
        device: The address of a device, for `open_device`.
        runtime: The archives of the TFLite libraries for a phone, for `open_device`.
        json_path: The report's file, rewritten as a whole after every measurement; None for none.
        resume: Whether to continue the report in `json_path`, if it exists.
        force: Whether an existing report may be overwritten.
        progress: Where to show the progress.

    Returns:
        The report that `schema.json` describes; see `statistics.raise_on_failures`.

    Raises:
        ConfigError: `paths` is empty or contains a file twice, or the address is malformed.
        DeviceError: The device cannot be reached, or the user interrupted the run.
        OutputError: The report exists and neither `resume` nor `force` is given, or cannot be
            written.
        ReportError: The report to resume is of another version, of another run, or damaged.
    """
    settings, files = settings_of(device, settings), ModelFile.read_all(paths)
    saved = open_report(json_path, [file.path for file in files], resume=resume, force=force)
    with closing(Run(files, settings, device, progress, runtime=runtime)) as run:
        try:
            run.prepare(saved, where=str(json_path))
            run.measure_all(lambda: save_report(json_path, run.to_report(complete=False)))
        except KeyboardInterrupt:
            raise DeviceError(INTERRUPTED) from None
    report = run.to_report(complete=True)
    save_report(json_path, report)
    return report


def settings_of(device: str, settings: BenchmarkConfig | None) -> BenchmarkConfig:
    """Return the settings of a device, before anything is made for it.

    Raises:
        ConfigError: The device cannot be measured with them.
    """
    settings = settings or BenchmarkConfig()
    return settings.for_counting() if device.startswith("qemu://") else settings


def unexpected(device: Device, fault: str) -> DeviceError:
    """Return the error of a device whose result has a fault."""
    return DeviceError(
        f"{device.name} returned a result in another form than this version of albert_edge expects "
        f"({fault}); install the same version there."
    )


def _engine_options(accelerator: str) -> dict[str, str]:
    """Return what an engine is told besides: the Edge TPU's is told which of them."""
    return {"accelerator": accelerator} if accelerator.startswith("edgetpu") else {}


class References:
    """The outputs of the references, each computed once, also for several devices."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Any, Reference] = {}

    def get(self, file: ModelFile, inputs: Inputs, engine: str, timeout_s: float) -> Reference:
        """Return the reference of a file on inputs; see `run_reference`."""
        key = file.name, inputs.ids, engine
        with self._lock:
            if key not in self._known:
                made = run_reference(file, inputs, timeout_s=timeout_s, engine=engine)
                self._known[key] = made
            return self._known[key]


class Run:
    """A run on one device: it is opened, prepared, then measured, one result per configuration."""

    def __init__(
        self,
        files: Sequence[ModelFile],
        settings: BenchmarkConfig,
        device: str,
        progress: Progress,
        *,
        runtime: Sequence[str | os.PathLike[str]] = (),
        references: References | None = None,
    ) -> None:
        """Open the device; arguments as of `benchmark`.

        Raises:
            ConfigError: The address is malformed.
            DeviceError: The device cannot be reached.
        """
        self._files, self._settings, self._progress = files, settings, progress
        self._references = references or References()
        # What was tried on the device, and the error if it failed.
        self._tried: dict[tuple[str, ...], AlbertEdgeError | None] = {}
        self._planned = configurations(files, settings)
        self.results = {one.key: Result(configuration=one) for one in self._planned}
        self._prepared: dict[Any, tuple[Inputs, Reference, Reference | None]] = {}
        self.is_prepared = False
        opening = progress.add_task(f"Opening {device}", total=None)
        try:
            self.device = open_device(device, runtime=runtime, progress=progress)
        finally:
            progress.remove_task(opening)
        self._report = {
            "device": device,
            "settings": settings.to_dict(),
            "files": [file.to_dict() for file in files],
        }

    def close(self) -> None:
        """Close the device; never raises."""
        self.device.close()

    def prepare(self, saved: dict[str, Any] | None, *, where: str) -> None:
        """Do all that must not be done between two measurements, and restore a saved report.

        Raises:
            DeviceError: The device does not describe itself as expected.
            ReportError: The report is of another run, or damaged; `where` says which one it is.
        """
        machine = self.device.run({"do": "describe"}, timeout_s=self._settings.timeout_s)
        if (fault := find_fault(machine, "machine")) is not None:
            raise unexpected(self.device, fault)
        self._report = report_header("benchmark", machine) | self._report
        if saved is not None:
            check_same_run(self._report, saved, where=where)
            self._report |= {"date": saved["date"], "machine": saved["machine"]}
            self._restore(saved, where=where)
        self._prepared = self._prepare()
        self.is_prepared = True

    def _restore(self, report: dict[str, Any], *, where: str) -> None:
        try:
            for row in report["rows"]:
                key = row["name"], row["accelerator"], row["threads"], row["seq_len"]
                self.results[key].restore(row, most=self._settings.rounds)
        except (KeyError, TypeError, ValueError) as error:
            raise ReportError(
                f"{where} is damaged: {error!r}; measure again with --force."
            ) from error

    def measure_all(
        self, on_done: Callable[[], None], *, turn: AbstractContextManager[Any] | None = None
    ) -> None:
        """Measure what has not been measured yet.

        Args:
            on_done: Called after every measurement.
            turn: What is held during each of them.
        """
        schedule = interleaved_schedule(self._planned, self._settings)
        todo = [one for number, one in schedule if self.results[one.key].rounds_done <= number]
        task = self._progress.add_task("Measuring", total=len(todo))
        turn = turn or nullcontext()
        for configuration in todo:
            result = self.results[configuration.key]
            description = f"Measuring {describe_row(result.to_row())}"
            self._progress.update(task, description=description)
            if result.error is None:
                try:
                    self._measure_once(result, *self._prepared[configuration.key], turn=turn)
                except AlbertEdgeError as error:
                    result.fail(error)
                on_done()
            self._progress.advance(task)

    def _prepare(self) -> dict[Any, tuple[Inputs, Reference, Reference | None]]:
        # Before the first measurement, so that neither a reference nor the copying of a file warms
        # the machine between two measurements.
        prepared = {}
        description = "Copying files and computing references"
        task = self._progress.add_task(description, total=len(self._planned))
        for configuration in self._planned:
            file, result = configuration.file, self.results[configuration.key]
            try:
                if file.error is not None:
                    raise file.error
                assert file.bundle is not None  # noqa: S101 (it has no error)
                inputs = make_inputs(file.bundle, configuration.seq_len)
                result.text_tokens = inputs.text_tokens
                self._check_accelerator(configuration)
                if result.rounds_done < self._settings.rounds:
                    self.device.send(file.path)
                    prepared[configuration.key] = (
                        inputs,
                        *self._references_of(configuration, inputs),
                    )
            except AlbertEdgeError as error:
                result.fail(error)
            self._progress.advance(task)
        return prepared

    def _check_accelerator(self, configuration: Configuration) -> None:
        """Try a GPU of the device, or its Edge TPU with the compiled files, once.

        Raises:
            DeviceError: There is none, or it does not run the files.
        """
        accelerator, path = configuration.accelerator, configuration.file.path
        if accelerator == "cpu":
            return
        self._engine(accelerator)
        job = {"do": "check_gpu"}
        if accelerator.startswith("edgetpu"):
            there = self.device.send(path)
            job = {"do": "check_edgetpu", "path": there, "accelerator": accelerator}
        key = tuple(job.values())
        if key not in self._tried:
            self._tried[key] = None
            try:
                self.device.run(job, timeout_s=self._settings.timeout_s)
            except AlbertEdgeError as error:
                self._tried[key] = error
        if (failed := self._tried[key]) is not None:
            raise failed

    def _engine(self, accelerator: str) -> str:
        """Return what opens a model on an accelerator of the device.

        Raises:
            DeviceError: Nothing does.
        """
        name = "edgetpu" if accelerator.startswith("edgetpu") else accelerator
        if name not in self.device.engines:
            raise DeviceError(
                f"{self.device.name} runs files on {', '.join(self.device.engines)}, not on "
                f"{accelerator}."
            )
        return self.device.engines[name]

    def _references_of(
        self, configuration: Configuration, inputs: Inputs
    ) -> tuple[Reference, Reference | None]:
        """Return the reference of a configuration, and the CPU's of one on an accelerator."""
        file = choose_reference(configuration.file, self._files, configuration.seq_len)
        timeout_s = self._settings.timeout_s
        reference = self._references.get(file, inputs, ENGINE, timeout_s)
        if configuration.accelerator == "cpu":
            return reference, None
        # A GPU multiplies int8 weights as floats; an Edge TPU rounds as the CPU does.
        engine = FLOAT_ENGINE if configuration.accelerator.startswith("gpu") else ENGINE
        return reference, self._references.get(configuration.file, inputs, engine, timeout_s)

    def _measure_once(
        self,
        result: Result,
        inputs: Inputs,
        reference: Reference,
        on_cpu: Reference | None,
        *,
        turn: AbstractContextManager[Any],
    ) -> None:
        configuration = result.configuration
        with turn:
            measurement = self._take(configuration, inputs)
        bundle = configuration.file.bundle
        assert bundle is not None  # noqa: S101 (it has been prepared)
        try:
            fidelity = reference.compare(measurement.outputs, quantize=bundle.quantize)
            if on_cpu is not None:
                fidelity["cpu"] = compare_with_cpu(
                    measurement.outputs, on_cpu, bundle.quantize, configuration.accelerator
                )
                fidelity["passed"] = fidelity["passed"] and fidelity["cpu"]["passed"]
            fault = find_fault(measurement.to_dict(), "measurement")
            if fault is None:
                alone = Result(configuration=configuration)
                alone.add(measurement, fidelity)
                fault = find_fault(alone.to_row(), "row")
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise unexpected(self.device, repr(error)) from error
        if fault is not None:
            raise unexpected(self.device, fault)
        result.add(measurement, fidelity)

    def _take(self, configuration: Configuration, inputs: Inputs) -> Measurement | Count:
        settings = self._settings
        path = configuration.file.path
        both: dict[str, Any] = {
            "engine": self._engine(configuration.accelerator),
            "device": self.device,
            "input_ids": inputs.ids[0],
            "probes": inputs.ids[1:],
            "sha256": configuration.file.sha256,
            "runs": settings.runs,
            "warmup": settings.warmup,
            "timeout_s": settings.timeout_s,
        }
        if self.device.counts_instructions:
            return count(path, **both)
        return measure(
            path,
            threads=configuration.threads,
            text=inputs.text,
            min_time_s=settings.min_time_s,
            options=_engine_options(configuration.accelerator),
            **both,
        )

    def to_report(self, *, complete: bool) -> dict[str, Any]:
        """Return the report as far as it is measured, once the run is prepared."""
        rows = [result.to_row() for result in self.results.values()]
        rank(rows)
        return {**self._report, "complete": complete, "rows": rows}


@dataclass(slots=True, kw_only=True)
class Result:
    """The result of one configuration, which grows with every round: one row of the report.

    Attributes:
        configuration: The configuration.
        rounds: The measurements of the completed rounds; empty for an emulated processor.
        count: The instructions that an emulated processor ran, or None.
        fidelity: How its outputs compare with the reference's in the worst round; None before the
            first round.
        error: The class name and message of the error that it failed with, or None.
        text_tokens: Number of tokens of the text that the pipeline is timed on, or None.
    """

    configuration: Configuration
    rounds: list[Measurement] = field(default_factory=list)
    count: Count | None = None
    fidelity: dict[str, Any] | None = None
    error: dict[str, str] | None = None
    text_tokens: int | None = None
    _row: dict[str, Any] | None = None  # cache of `to_row`, cleared by every change

    @property
    def rounds_done(self) -> int:
        """Number of completed rounds; a count is the only one."""
        return len(self.rounds) + (self.count is not None)

    def add(self, measurement: Measurement | Count, fidelity: dict[str, Any]) -> None:
        """Add a round and the comparison of its outputs."""
        self._row = None
        if isinstance(measurement, Count):
            self.count = measurement
        else:
            self.rounds.append(measurement)
        self.fidelity = fidelity if self.fidelity is None else worst(self.fidelity, fidelity)

    def fail(self, error: AlbertEdgeError) -> None:
        """Store the error of a round that failed; completed rounds are kept."""
        self._row = None
        self.error = {"type": type(error).__name__, "message": str(error)}

    def restore(self, row: Mapping[str, Any], *, most: int) -> None:
        """Restore the rounds of an earlier run, but not its error: a failed round is repeated.

        Raises:
            KeyError: A field is missing.
            ValueError: There are more than `most` rounds, or none has been compared.
        """
        self._row = None
        if "instructions_inference" in row:
            if row["fidelity"] is None:
                raise ValueError("instructions of outputs that were not compared")
            self.count, self.fidelity = restore_count(row), row["fidelity"]
        elif row.get("rounds"):
            if len(row["rounds"]) > most or row["fidelity"] is None:
                raise ValueError(f"{len(row['rounds'])} rounds of {most}")
            self.rounds = restore_rounds(row)
            self.fidelity = row["fidelity"]

    @property
    def status(self) -> str:
        """`error`, `pending` (no round yet), `wrong` (beyond its recipe's tolerance) or `ok`."""
        if self.error is not None:
            return "error"
        if self.fidelity is None:
            return "pending"
        return "ok" if self.fidelity["passed"] else "wrong"

    def to_row(self) -> dict[str, Any]:
        """Return the row of the report, ready for JSON; without metrics before the first round."""
        if self._row is None:
            self._row = {**self._identity(), **(self._metrics() if self.rounds_done else {})}
        return self._row

    def _identity(self) -> dict[str, Any]:
        configuration = self.configuration
        return {
            **configuration.file.to_dict(),
            "accelerator": configuration.accelerator,
            "threads": configuration.threads,
            "seq_len": configuration.seq_len,
            "status": self.status,
            "rank": None,
            "warnings": find_warnings(self.rounds),
            "error": self.error,
            "fidelity": self.fidelity,
        }

    def _metrics(self) -> dict[str, Any]:
        if self.count is not None:
            return summarize_count(self.count)
        metrics = summarize_rounds(self.rounds)
        if metrics["end_to_end"]:
            metrics["end_to_end"]["tokens"] = self.text_tokens
        rounds = [summarize_round(measurement) for measurement in self.rounds]
        return {**metrics, "spread": spread(self.rounds), "rounds": rounds}
