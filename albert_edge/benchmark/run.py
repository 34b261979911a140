"""Measure files in every combination of settings, so that one can stake a release on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
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
from albert_edge.benchmark.measure import Measurement, measure
from albert_edge.benchmark.outputs import Reference, answer_reference, choose_reference, worst
from albert_edge.benchmark.report_file import (
    begin_document,
    check_same_run,
    open_report,
    save_report,
)
from albert_edge.benchmark.statistics import (
    find_warnings,
    rank,
    restore_rounds,
    round_figures,
    spread,
    summarize_rounds,
)
from albert_edge.errors import AlbertEdgeError, DeviceError, ReportError

__all__ = ["Result", "benchmark"]


def benchmark(
    paths: Sequence[str | os.PathLike[str]],
    *,
    settings: BenchmarkConfig | None = None,
    device: str = "local",
    json_path: str | os.PathLike[str] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress,
) -> dict[str, Any]:
    """Measure every file in every combination of the settings.

    A configuration that fails becomes a row with an `error`; the others are measured all the same.

    Args:
        paths: The `.tflite` files; "default" is the embedded one.
        settings: How to measure them.
        device: Where, an address for `open_device`.
        json_path: Where to keep the report; it is written anew, whole, after every measurement.
        resume: Whether to go on with the report in `json_path`, if there is one.
        force: Whether an existing report may be replaced.
        progress: Where to show how far it is.

    Returns:
        The document that `schema.json` describes; see `verdict.raise_on_failures`.

    Raises:
        ConfigError: A file is named twice, none is named, or the device is of no known kind.
        DeviceError: The device does not answer, or the user interrupted.
        OutputError: The report exists and neither `resume` nor `force` is given, or cannot be
            written.
        ReportError: The report to resume is of another version, of another run, or damaged.
    """
    settings = settings or BenchmarkConfig()
    subjects = ModelFile.read_all(paths)
    files = [subject.path for subject in subjects]
    kept = open_report(json_path, files, resume=resume, force=force)
    opening = progress.add_task("Opening the device", total=None)
    with closing(open_device(device)) as place:
        machine = place.run({"do": "describe"}, timeout_s=settings.timeout_s)
        progress.remove_task(opening)
        document = {
            **begin_document("benchmark", machine),
            "device": device,
            "settings": settings.to_dict(),
            "files": [subject.to_dict() for subject in subjects],
        }
        run = _Run(subjects, settings, place, progress)
        if kept is not None:
            check_same_run(document, kept, where=str(json_path))
            document |= {"date": kept["date"], "machine": kept["machine"]}
            run.restore(kept, where=str(json_path))
        try:
            run.measure_all(lambda: save_report(json_path, _finish(document, run, complete=False)))
        except KeyboardInterrupt:
            raise DeviceError(
                "interrupted. What was measured is kept in the file of --json, if one was given, "
                "and --resume goes on."
            ) from None
    document = _finish(document, run, complete=True)
    save_report(json_path, document)
    return document


class _Run:
    """The state of a run: one result a configuration, and what they are compared with."""

    def __init__(
        self,
        subjects: Sequence[ModelFile],
        settings: BenchmarkConfig,
        device: Device,
        progress: Progress,
    ) -> None:
        self._subjects, self._settings = subjects, settings
        self._device, self._progress = device, progress
        self._references: dict[Any, Reference] = {}
        self._planned = configurations(subjects, settings)
        self.results = {one.key: Result(configuration=one) for one in self._planned}

    def restore(self, kept: dict[str, Any], *, where: str) -> None:
        try:
            for row in kept["rows"]:
                key = row["name"], row["accelerator"], row["threads"], row["seq_len"]
                self.results[key].restore(row)
        except (KeyError, TypeError, ValueError) as error:
            raise ReportError(
                f"{where} is damaged: {error!r}; measure again with --force."
            ) from error

    def measure_all(self, on_done: Callable[[], None]) -> None:
        prepared = self._prepare()
        order = interleaved_schedule(self._planned, self._settings)
        todo = [(n, one) for n, one in order if len(self.results[one.key].rounds) <= n]
        task = self._progress.add_task("Measuring", total=len(todo))
        for _, one in todo:
            self._progress.update(task, description=f"Measuring {_label(one)}")
            result = self.results[one.key]
            if result.error is None:
                try:
                    self._take(result, *prepared[one.key])
                except AlbertEdgeError as error:
                    result.fail(error)
                on_done()
            self._progress.advance(task)

    def _prepare(self) -> dict[Any, tuple[Inputs, Reference]]:
        # Before the first measurement, so that no reference warms the machine between two, nor
        # a file that is copied there.
        prepared = {}
        task = self._progress.add_task(
            "Copying, and answering for comparison", total=len(self._planned)
        )
        for one in self._planned:
            result = self.results[one.key]
            try:
                if one.subject.error is not None:
                    raise one.subject.error
                assert one.subject.bundle is not None  # noqa: S101 (it has no error)
                inputs = make_inputs(one.subject.bundle, one.seq_len)
                result.text_tokens = inputs.text_tokens
                if len(result.rounds) < self._settings.rounds:
                    self._device.send(one.subject.path)
                    prepared[one.key] = inputs, self._reference(one, inputs)
            except AlbertEdgeError as error:
                result.fail(error)
            self._progress.advance(task)
        return prepared

    def _reference(self, one: Configuration, inputs: Inputs) -> Reference:
        chosen = choose_reference(one.subject, self._subjects, one.seq_len)
        key = chosen.name, inputs.ids
        if key not in self._references:
            timeout_s = self._settings.timeout_s
            self._references[key] = answer_reference(chosen, inputs, timeout_s=timeout_s)
        return self._references[key]

    def _take(self, result: Result, inputs: Inputs, reference: Reference) -> None:
        one, settings = result.configuration, self._settings
        measured = measure(
            one.subject.path,
            device=self._device,
            threads=one.threads,
            input_ids=inputs.ids[0],
            probes=inputs.ids[1:],
            text=inputs.text,
            runs=settings.runs,
            warmup=settings.warmup,
            min_time_s=settings.min_time_s,
            timeout_s=settings.timeout_s,
        )
        assert measured.quantize is not None  # noqa: S101 (our own engine tells it)
        result.add(measured, reference.compare(measured.outputs, quantize=measured.quantize))


def _label(one: Configuration) -> str:
    threads = "1 thread" if one.threads == 1 else f"{one.threads} threads"
    return f"{one.subject.name}, {one.seq_len} tokens, {threads}"


def _finish(document: dict[str, Any], run: _Run, *, complete: bool) -> dict[str, Any]:
    rows = [result.to_row() for result in run.results.values()]
    rank(rows)
    return {**document, "complete": complete, "rows": rows}


# What became of one configuration: its rounds, whether it answers rightly, or why it failed.


@dataclass(slots=True, kw_only=True)
class Result:
    """One line of a report, which grows from round to round.

    Attributes:
        configuration: What is measured.
        rounds: What was measured, the rounds in turn.
        fidelity: How its outputs compare with the reference's, the worst round; None before one.
        error: Why it failed, its class's name and its message; None if it did not.
        text_tokens: How many tokens the text has that is answered from end to end.
    """

    configuration: Configuration
    rounds: list[Measurement] = field(default_factory=list)
    fidelity: dict[str, Any] | None = None
    error: dict[str, str] | None = None
    text_tokens: int | None = None
    _row: dict[str, Any] | None = None  # what `to_row` returned, until something changes

    def add(self, measured: Measurement, fidelity: dict[str, Any]) -> None:
        """Add a round and how its outputs compare."""
        self._row = None
        self.rounds.append(measured)
        self.fidelity = fidelity if self.fidelity is None else worst(self.fidelity, fidelity)

    def fail(self, error: AlbertEdgeError) -> None:
        """Note why it cannot be measured; what was measured before is kept."""
        self._row = None
        self.error = {"type": type(error).__name__, "message": str(error)}

    def restore(self, row: Mapping[str, Any]) -> None:
        """Take the rounds of an earlier run; what failed then gets another chance.

        Raises:
            KeyError: A field is missing.
        """
        self._row = None
        if row.get("rounds"):
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
        """Describe it, ready for JSON; the figures are left out before the first round."""
        if self._row is None:
            self._row = {**self._identity(), **(self._measured() if self.rounds else {})}
        return self._row

    def _identity(self) -> dict[str, Any]:
        one = self.configuration
        return {
            **one.subject.to_dict(),
            "accelerator": one.accelerator,
            "threads": one.threads,
            "seq_len": one.seq_len,
            "status": self.status,
            "rank": None,
            "warnings": find_warnings(self.rounds),
            "error": self.error,
            "fidelity": self.fidelity,
        }

    def _measured(self) -> dict[str, Any]:
        summed = summarize_rounds(self.rounds)
        if summed["end_to_end"]:
            summed["end_to_end"]["tokens"] = self.text_tokens
        rounds = [round_figures(each) for each in self.rounds]
        return {**summed, "spread": spread(self.rounds), "rounds": rounds}
