"""Measure files in every combination of settings, so that one can stake a release on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.progress import Progress

from albert_edge.benchmark.devices import Device, open_device
from albert_edge.benchmark.document import begin_document, read_document, to_text
from albert_edge.benchmark.inputs import Inputs, make_inputs
from albert_edge.benchmark.measure import measure
from albert_edge.benchmark.plan import Configuration, Settings, Subject, configurations, turns
from albert_edge.benchmark.reference import Reference, answer_reference, choose_reference
from albert_edge.benchmark.results import Result, rank
from albert_edge.errors import AlbertEdgeError, DeviceError, FidelityError, OutputError, ReportError
from albert_edge.files import check_writable, write_file

__all__ = ["benchmark", "check_all_right"]


def benchmark(
    paths: Sequence[str | os.PathLike[str]],
    *,
    settings: Settings | None = None,
    device: str = "local",
    json_path: str | os.PathLike[str] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress,
) -> dict[str, Any]:
    """Measure every file in every combination of the settings.

    A configuration that fails becomes a row with an `error`; the others are measured all the same.

    Args:
        paths: The `.tflite` files.
        settings: How to measure them.
        device: Where, an address for `open_device`.
        json_path: Where to keep the report; it is written anew, whole, after every measurement.
        resume: Whether to go on with the report in `json_path`, if there is one.
        force: Whether an existing report may be replaced.
        progress: Where to show how far it is.

    Returns:
        The document that `schema.json` describes; see `check_all_right`.

    Raises:
        ConfigError: A file is named twice, none is named, or the device is of no known kind.
        DeviceError: The device does not answer, or the user interrupted.
        OutputError: The report exists and neither `resume` nor `force` is given, or cannot be
            written.
        ReportError: The report to resume is of another version, of another run, or damaged.
    """
    settings = settings or Settings()
    subjects = Subject.read_all(paths)
    kept = _open_report(json_path, subjects, resume=resume, force=force)
    with closing(open_device(device)) as place:
        machine = place.run({"do": "describe"}, timeout_s=settings.timeout_s)
        document = {
            **begin_document("benchmark", machine),
            "device": device,
            "settings": settings.to_dict(),
            "files": [subject.to_dict() for subject in subjects],
        }
        run = _Run(subjects, settings, place, progress)
        if kept is not None:
            _check_same(document, kept, where=str(json_path))
            document["date"] = kept["date"]
            run.restore(kept, where=str(json_path))
        run.measure_all(lambda: _save(json_path, _finish(document, run, complete=False)))
    document = _finish(document, run, complete=True)
    _save(json_path, document)
    return document


def check_all_right(document: dict[str, Any]) -> None:
    """Refuse a report in which something failed or answers wrongly.

    Raises:
        DeviceError: A configuration failed.
        FidelityError: None did, but an output is off by more than its recipe's limit.
    """
    rows = document["rows"]
    failed = [f"{_what(row)}: {row['error']['message']}" for row in rows if row["error"]]
    wrong = [f"{_what(row)}: {_wrong(row['fidelity'])}" for row in rows if row["status"] == "wrong"]
    if failed or wrong:
        kind = DeviceError if failed else FidelityError
        lines = "".join(f"\n  {line}" for line in failed + wrong)
        raise kind(f"{len(failed)} of {len(rows)} failed, {len(wrong)} answer wrongly:{lines}")


def _what(row: dict[str, Any]) -> str:
    return f"{row['name']} ({row['accelerator']}, {row['threads']} threads, T={row['seq_len']})"


def _wrong(fidelity: dict[str, Any]) -> str:
    errors = {name: one["error"] for name, one in fidelity["outputs"].items()}
    broken = [name for name, error in errors.items() if error is None]
    if broken:
        return f"{broken[0]} is not finite, or of another shape than the reference's."
    name = max(errors, key=lambda name: errors[name])
    return (
        f"{name} is off by {errors[name]:.3g} of the size of {fidelity['reference']['name']}'s; "
        f"at most {fidelity['limit']:g} is allowed."
    )


class _Run:
    """The state of a run: one result a configuration, and what they are compared with."""

    def __init__(
        self, subjects: Sequence[Subject], settings: Settings, device: Device, progress: Progress
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
        order = turns(self._planned, self._settings)
        todo = [(n, one) for n, one in order if len(self.results[one.key].rounds) <= n]
        task = self._progress.add_task("Measuring", total=len(todo))
        for done, (_, one) in enumerate(todo):
            self._progress.update(task, description=f"Measuring {_label(one)}", completed=done)
            result = self.results[one.key]
            if result.error is None:
                try:
                    self._take(result, *prepared[one.key])
                except AlbertEdgeError as error:
                    result.fail(error)
                except KeyboardInterrupt:
                    raise DeviceError(
                        f"interrupted; {done} of {len(todo)} measurements were taken. "
                        "With --json F they are kept in F, and --resume goes on."
                    ) from None
                on_done()
        self._progress.update(task, completed=len(todo))

    def _prepare(self) -> dict[Any, tuple[Inputs, Reference]]:
        # Before the first measurement, so that no reference warms the machine between two.
        prepared = {}
        task = self._progress.add_task("Answering for comparison", total=len(self._planned))
        for one in self._planned:
            result = self.results[one.key]
            try:
                if one.subject.error is not None:
                    raise one.subject.error
                assert one.subject.bundle is not None  # noqa: S101 (it has no error)
                inputs = make_inputs(one.subject.bundle, one.seq_len)
                result.text_tokens = inputs.text_tokens
                if len(result.rounds) < self._settings.rounds:
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


def _open_report(
    json_path: str | os.PathLike[str] | None,
    subjects: Sequence[Subject],
    *,
    resume: bool,
    force: bool,
) -> dict[str, Any] | None:
    if json_path is None:
        return None
    path = Path(json_path)
    if path.resolve() in [subject.path.resolve() for subject in subjects]:
        raise OutputError(f"{path} is one of the files to be measured; name another for --json.")
    resumes = resume and path.exists()
    check_writable(path, force=force or resumes)
    return read_document(path) if resumes else None


def _check_same(document: dict[str, Any], kept: dict[str, Any], *, where: str) -> None:
    for name in ("kind", "device", "settings", "files", "machine"):
        now, then = document[name], kept.get(name)
        if name == "machine":
            now, then = (_lasting(one or {}) for one in (now, then))
        if now != then:
            raise ReportError(
                f"{where} was measured with another {name.rstrip('s')}: it says {then}, and now it "
                f"is {now}. Measure again with --force, or resume what was begun."
            )


def _lasting(machine: dict[str, Any]) -> dict[str, Any]:
    return {name: machine.get(name) for name in ("model", "kernel", "python", "versions")}


def _finish(document: dict[str, Any], run: _Run, *, complete: bool) -> dict[str, Any]:
    rows = [result.to_row() for result in run.results.values()]
    rank(rows)
    return {**document, "complete": complete, "rows": rows}


def _save(json_path: str | os.PathLike[str] | None, document: dict[str, Any]) -> None:
    if json_path is not None:
        write_file(json_path, to_text(document).encode(), force=True)
