"""Benchmark on several devices side by side: one report, with a section for each of them.

Devices that are ways to one machine, such as `local` and an emulated processor, take turns there,
so that no measurement disturbs another.  What happens to one device ends no other.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.progress import Progress

from albert_edge.benchmark.compare import compare_reports, raise_on_regression
from albert_edge.benchmark.config import BenchmarkConfig, ModelFile
from albert_edge.benchmark.report_file import (
    check_report,
    open_report,
    read_document,
    save_report,
)
from albert_edge.benchmark.run import INTERRUPTED, References, Run, settings_of
from albert_edge.benchmark.statistics import raise_on_failures
from albert_edge.benchmark.system import machine_id
from albert_edge.errors import (
    AlbertEdgeError,
    ConfigError,
    DeviceError,
    FidelityError,
    RegressionError,
    ReportError,
)

__all__ = [
    "benchmark_boards",
    "compare_any_reports",
    "raise_on_any_failure",
    "raise_on_any_regression",
    "read_any_report",
]

SCHEMA = "albert_edge.boards/1"
COMPARISON = "albert_edge.boards_comparison/1"


def benchmark_boards(
    paths: Sequence[str | os.PathLike[str]],
    *,
    devices: Sequence[str],
    settings: BenchmarkConfig | None = None,
    runtime: Sequence[str | os.PathLike[str]] = (),
    json_path: str | os.PathLike[str] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress,
) -> dict[str, Any]:
    """Measure every file on every device, all devices at the same time.

    A device that fails becomes a section with an `error`, or with rows that have one; the others
    are still measured.

    Args:
        paths, settings, json_path, resume, force, progress: As of `run.benchmark`.
        devices: The addresses of the devices, distinct.
        runtime: The archives of the TFLite libraries for the phones among them.

    Returns:
        The report: `schema`, `complete`, and `boards`, of each device its address `device`, the
        `error` (`type` and `message`) that kept it from being measured, or None, and its `report`,
        which is that of `run.benchmark` for this device alone, or None.

    Raises:
        ConfigError: As of `run.benchmark`, or a device is named twice.
        DeviceError: The user interrupted the run.
        OutputError: As of `run.benchmark`.
        ReportError: The report to resume is not one of these devices, or damaged.
    """
    if repeated := [name for name, times in Counter(devices).items() if times > 1]:
        raise ConfigError(f"--device {repeated[0]} is given twice; name each device once.")
    plans = {device: settings_of(device, settings) for device in devices}
    files = ModelFile.read_all(paths)
    models = [file.path for file in files]
    saved = open_report(json_path, models, resume=resume, force=force, read=read_boards)
    run = _Boards(plans, files, runtime, progress, json_path)
    try:
        run.restore(saved)
        run.each(_Board.prepare)
        run.each(_Board.measure)
    except KeyboardInterrupt:
        raise DeviceError(INTERRUPTED) from None
    finally:
        run.close()
    run.save()
    return run.to_report()


class Turn:
    """A lock that is given in the order in which it was asked for, so that nobody waits long."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._asked = self._given = 0

    def __enter__(self) -> None:
        with self._changed:
            number, self._asked = self._asked, self._asked + 1
            self._changed.wait_for(lambda: self._given == number)

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._given += 1
            self._changed.notify_all()


class _Board:
    """One device of the run: its report as far as it is known, or why there is none."""

    def __init__(self, device: str, boards: _Boards) -> None:
        self.device, self._boards = device, boards
        self.saved: dict[str, Any] | None = None
        self.run: Run | None = None
        self.error: AlbertEdgeError | None = None
        self._machine = ""
        self._complete = False

    def prepare(self) -> None:
        """Open the device, copy the files there and compute the references."""
        self.run = self._boards.open(self.device)
        self._machine = self.run.device.machine_id()
        self.run.prepare(self.saved, where=self._boards.where)

    def measure(self) -> None:
        """Measure all that is left, when it is the turn of this device on its machine."""
        assert self.run is not None  # noqa: S101 (it is prepared)
        self.run.measure_all(self._boards.save, turn=self._boards.turn(self._machine))
        self._complete = True

    def to_dict(self) -> dict[str, Any]:
        """Return the section of the report."""
        report, error = self.saved, None
        if self.error is not None:
            error = {"type": type(self.error).__name__, "message": str(self.error)}
        elif self.run is not None and self.run.is_prepared:
            report = self.run.to_report(complete=self._complete)
        return {"device": self.device, "error": error, "report": report}


class _Boards:
    """All devices of a run, and what they share."""

    def __init__(
        self,
        plans: Mapping[str, BenchmarkConfig],
        files: Sequence[ModelFile],
        runtime: Sequence[str | os.PathLike[str]],
        progress: Progress,
        path: str | os.PathLike[str] | None,
    ) -> None:
        self._plans, self._files, self._progress = plans, files, progress
        self._runtime, self._path = runtime, path
        self._references = References()
        self._stopped = threading.Event()
        self.where = str(path)
        self.boards = [_Board(device, self) for device in plans]
        self._turns: dict[str, Turn] = {}
        self._here = self.turn(machine_id())

    def restore(self, saved: dict[str, Any] | None) -> None:
        """Give every board the section that a report to resume has of it."""
        if saved is None:
            return
        before, now = ([*_by_device(saved)], [board.device for board in self.boards])
        if before != now:
            raise ReportError(
                f"{self.where} cannot be resumed, because its devices differ: {', '.join(before)}, "
                f"and now {', '.join(now)}. Repeat the options of the first run, or give --force "
                "to start over."
            )
        for board, section in zip(self.boards, saved["boards"], strict=True):
            board.saved = section["report"]

    def turn(self, machine: str) -> Turn:
        """Return what those who use a machine hold while they do; from any thread."""
        return self._turns.setdefault(machine, Turn())

    def open(self, device: str) -> Run:
        """Open a device; where there are phones, their libraries are for no other device."""
        phones = [name for name in self._plans if name.startswith("adb://")]
        runtime = self._runtime if device in (phones or [device]) else ()
        shared: Any = {"runtime": runtime, "references": self._references}
        return Run(self._files, self._plans[device], device, self._progress, **shared)

    def each(self, work: Callable[[_Board], None]) -> None:
        """Do one step of the work on every board that has not failed, side by side.

        Raises:
            AlbertEdgeError: What is wrong with the run as a whole.
        """
        todo = [board for board in self.boards if board.error is None]
        with ThreadPoolExecutor(len(self.boards)) as pool:
            futures = [pool.submit(work, board) for board in todo]
            try:
                for board, future in zip(todo, futures, strict=True):
                    try:
                        future.result()
                    except DeviceError as error:
                        board.error = error
            finally:
                if not all(future.done() for future in futures):  # an error, or Control-C
                    self._stopped.set()
                    self.close()

    def save(self) -> None:
        """Write the report when nothing is measured on this machine.

        Raises:
            DeviceError: The run is being stopped.
        """
        with self._here:
            if self._stopped.is_set():
                raise DeviceError(INTERRUPTED)
            save_report(self._path, self.to_report())

    def to_report(self) -> dict[str, Any]:
        """Return the report as far as it is known."""
        sections = [board.to_dict() for board in self.boards]
        reports = [one["report"] for one in sections if one["error"] is None]
        complete = all(report is not None and report["complete"] for report in reports)
        return {"schema": SCHEMA, "complete": complete, "boards": sections}

    def close(self) -> None:
        """Close the devices; never raises."""
        for board in self.boards:
            if board.run is not None:
                board.run.close()


# Reports of several devices.


def is_of_boards(report: Mapping[str, Any]) -> bool:
    """Return whether a report is one of several devices."""
    return bool(report["schema"] == SCHEMA)


def read_any_report(path: Path) -> dict[str, Any]:
    """Read a report of one device or of several, and check it.

    Raises:
        ReportError: As of `report_file.read_report`.
    """
    document = read_document(path)
    if document.get("schema") != SCHEMA:
        return check_report(document, path)
    boards = document.get("boards")
    if not isinstance(boards, list) or not boards or not all(map(_is_section, boards)):
        raise ReportError(f"{path} is damaged: its boards are no sections; measure again.")
    for section in boards:
        if section["report"] is not None:
            section["report"] = check_report(section["report"], path)
    if len(_by_device(document)) < len(boards) or not isinstance(document.get("complete"), bool):
        raise ReportError(f"{path} is damaged: a device occurs twice; measure again.")
    return document


def read_boards(path: Path) -> dict[str, Any]:
    """Read a report of several devices, to resume it."""
    report = read_any_report(path)
    if not is_of_boards(report):
        raise ReportError(
            f"{path} cannot be resumed on several devices: it is a report of {report['device']}. "
            "Name that device alone, or give --force to start over."
        )
    return report


def _is_section(section: Any) -> bool:
    if not isinstance(section, dict) or not section.keys() >= {"device", "error", "report"}:
        return False
    device, error, report = (section[name] for name in ("device", "error", "report"))
    texts = error is None or (
        isinstance(error, dict)
        and error.keys() == {"type", "message"}
        and all(isinstance(text, str) for text in error.values())
    )
    known = report is None or (isinstance(report, dict) and report.get("device") == device)
    return isinstance(device, str) and texts and known and (error, report) != (None, None)


def _by_device(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the sections of a report by device; a report of one device is a section too."""
    if not is_of_boards(report):
        report = {"boards": [{"device": report["device"], "error": None, "report": report}]}
    return {section["device"]: section for section in report["boards"]}


def raise_on_any_failure(report: Mapping[str, Any]) -> None:
    """Raise an error if a device or one of its rows failed, or has wrong outputs.

    Raises:
        DeviceError: A device, or a configuration on one, failed.
        FidelityError: None failed, but outputs are wrong.
    """
    if not is_of_boards(report):
        raise_on_failures(report)
        return
    found: dict[str, AlbertEdgeError | str] = {}
    for section in report["boards"]:
        try:
            if section["error"] is not None:
                raise DeviceError(section["error"]["message"])
            raise_on_failures(section["report"])
        except (DeviceError, FidelityError) as error:
            found[section["device"]] = error
    if found:
        failed = any(isinstance(error, DeviceError) for error in found.values())
        lines = "".join(f"\n  {device}: {error}" for device, error in found.items())
        message = f"{len(found)} of {len(report['boards'])} devices have failures:{lines}"
        raise (DeviceError if failed else FidelityError)(message)


def compare_any_reports(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Compare two reports; if one or both are of several devices, device by device.

    Returns:
        Of two of one device what `compare_reports` returns; otherwise `schema`, `boards`, of each
        device in both its `comparison` (see `compare_reports`), or None where it failed in one of
        them, with the errors `old_error` and `new_error`; `only_old` and `only_new`, the devices
        in one of them.

    Raises:
        ReportError: They have no device in common, or a comparison is not possible.
    """
    if not is_of_boards(old) and not is_of_boards(new):
        return compare_reports(old, new)
    before, after = _by_device(old), _by_device(new)
    if not (common := [device for device in after if device in before]):
        raise ReportError(
            f"the reports have no device in common: the old one has {', '.join(before)}; the new "
            f"one has {', '.join(after)}."
        )
    return {
        "schema": COMPARISON,
        "boards": [_compare_sections(before[device], after[device]) for device in common],
        "only_old": [device for device in before if device not in after],
        "only_new": [device for device in after if device not in before],
    }


def _compare_sections(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    measured = all(one["error"] is None and one["report"] is not None for one in (old, new))
    return {
        "device": new["device"],
        "comparison": compare_reports(old["report"], new["report"]) if measured else None,
        "old_error": old["error"],
        "new_error": new["error"],
    }


def raise_on_any_regression(comparison: Mapping[str, Any]) -> None:
    """Raise an error if a configuration of a device got worse, or a device failed only now.

    Raises:
        RegressionError: It is so.
    """
    if comparison["schema"] != COMPARISON:
        raise_on_regression(comparison)
        return
    found = {}
    for board in comparison["boards"]:
        try:
            if board["new_error"] is not None and board["old_error"] is None:
                raise RegressionError(f"it failed: {board['new_error']['message']}")
            if board["comparison"] is not None:
                raise_on_regression(board["comparison"])
        except RegressionError as error:
            found[board["device"]] = error
    if found:
        lines = "".join(f"\n  {device}: {error}" for device, error in found.items())
        raise RegressionError(f"{len(found)} devices got worse:{lines}")
