"""Run a sweep: all trials of a plan, then the measurement of their files, then the report.

Every row is kept in a file of its own as soon as its trial is done, so that a sweep that was
killed goes on where it was.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.progress import Progress

from albert_edge.benchmark.run import benchmark
from albert_edge.errors import ConfigError, OutputError, ReportError, TrainingError
from albert_edge.files import dump_json, parse_json, read_input, write_file
from albert_edge.sweep.plan import Plan, Trial
from albert_edge.sweep.report import make_report, render_page
from albert_edge.sweep.search import run_search
from albert_edge.sweep.trial import BASELINE, Outcome
from albert_edge.sweep.workers import Workers, open_workers

__all__ = ["raise_on_failed_trials", "sweep"]

_PLAN = "plan.json"
_MADE = ("benchmark.json", "report.json", "report.html")


def sweep(
    plan: Plan,
    output: Path,
    *,
    ray: str = "off",
    device: str = "local",
    measured: bool = True,
    resume: bool = False,
    force: bool = False,
    progress: Progress,
) -> dict[str, Any]:
    """Run all trials of a plan, and measure the files that they make.

    A trial that fails becomes a row with an `error`; the others are still run.

    Args:
        plan: The plan.
        output: The folder to write: `plan.json`, `rows/`, `files/`, `benchmark.json`,
            `report.json` and `report.html`.  Its parent must exist.
        ray: What runs the trials; see `open_workers`.
        device: The device to measure the files on, one at a time; an address of `benchmark`.
        measured: Whether to measure them.
        resume: Whether to continue the sweep in `output`, if there is one; rows with an error are
            run again.
        force: Whether to replace a sweep in `output`.
        progress: Where to show the progress.

    Returns:
        The report; see `report.make_report`.

    Raises:
        ConfigError: A file of the plan cannot be read, the sweep in `output` is of another plan, or
            there is no Ray cluster.
        DeviceError: The device cannot be reached; what was trained is kept.
        OutputError: `output` has a sweep and neither `resume` nor `force` is given, or cannot be
            written.
        TrainingError: The model itself cannot be converted to float32 and scored.
    """
    inputs = plan.inputs()
    kept = _Folder(output, plan, plan.digests(inputs), resume=resume, force=force)
    total = 1 + len(plan.trials()) + (plan.search.trials if plan.search else 0)
    task = progress.add_task("Running trials", total=total)
    with open_workers(ray) as workers:
        run = _Trials(plan, inputs, workers, kept, lambda: progress.advance(task))
        run.baseline()
        rows = [*run.all(plan.trials()).values()]
        if plan.search:
            run_search(plan, lambda trials: run.all(trials, into=rows))
    figures = kept.measure(plan, rows, device, progress) if measured else None
    report = make_report(plan, kept.digests, run.first, rows, figures)
    kept.finish(report)
    return report


def raise_on_failed_trials(report: Mapping[str, Any]) -> None:
    """Raise an error if a trial failed.

    Raises:
        TrainingError: One or more did.
    """
    failed = [row for row in report["rows"] if row["error"] is not None]
    lines = "".join(f"\n  {row['trial']}: {row['error']['message']}" for row in failed)
    if failed:
        raise TrainingError(f"{len(failed)} of {len(report['rows'])} trials failed:{lines}")


class _Trials:
    """The trials of a sweep: those that are kept, and what runs the others."""

    def __init__(
        self, plan: Plan, inputs: dict[str, bytes], workers: Workers, kept: _Folder, on_done: Any
    ) -> None:
        self._plan, self._inputs, self._workers = plan, inputs, workers
        self._kept, self._on_done = kept, on_done
        self.first: dict[str, Any] = {}

    def baseline(self) -> None:
        """Convert the model to float32 and score it, which all other rows are compared with."""
        self.first = self.all([BASELINE])[BASELINE.name]
        if self.first["error"] is not None:
            raise TrainingError(
                f"{self._plan.model} cannot be converted to float32 and scored: "
                f"{self.first['error']['message']}"
            )
        self._inputs |= self._kept.predictions()

    def all(
        self, trials: Sequence[Trial], *, into: list[dict[str, Any]] | None = None
    ) -> dict[str, dict[str, Any]]:
        """Run those trials that have no kept row, and return the rows of all, in order."""
        rows = {trial.name: self._kept.row(trial) for trial in trials}
        todo = [trial for trial in trials if rows[trial.name] is None]
        for _ in range(len(trials) - len(todo)):
            self._on_done()
        for trial, outcome in self._workers.run(self._plan, self._inputs, todo):
            rows[trial.name] = self._kept.add(outcome)
            self._on_done()
        found = {name: row for name, row in rows.items() if row is not None}
        if into is not None:
            into += found.values()
        return found


class _Folder:
    """The folder of a sweep."""

    def __init__(
        self, path: Path, plan: Plan, digests: dict[str, str], *, resume: bool, force: bool
    ) -> None:
        self._path, self.digests = path, digests
        exists = (path / _PLAN).exists()
        try:
            if exists and not resume and not force:
                raise OutputError(
                    f"{path} has a sweep already; --resume continues it, and --force replaces it."
                )
            if exists and not force:
                self._check_same_plan()
            elif exists:
                self._clear()
            elif path.exists() and any(path.iterdir()):
                raise OutputError(f"{path} is not empty, and no sweep; choose another folder.")
            path.mkdir(exist_ok=True)
            if force or not exists:
                self._write(_PLAN, {"digests": digests, "plan": plan.to_dict()})
            for name in ("rows", "files"):
                (path / name).mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}.") from error

    def _clear(self) -> None:
        """Remove what an earlier sweep wrote, and nothing else."""
        for pattern in ("rows/*.json", "files/*.tflite", "files/*.json", *_MADE):
            for path in self._path.glob(pattern):
                path.unlink()

    def _check_same_plan(self) -> None:
        path = self._path / _PLAN
        before = parse_json(read_input(path), where=str(path), error=ConfigError).get("digests")
        known = before if isinstance(before, dict) else {}
        if changed := [name for name, one in self.digests.items() if known.get(name) != one]:
            raise ConfigError(
                f"{self._path} is a sweep of another plan: its {', '.join(changed)} "
                f"{'differs' if len(changed) == 1 else 'differ'}. Restore the plan and its files, "
                "or give --force to start over, or another folder."
            )

    def _write(self, name: str, value: Any) -> None:
        text = dump_json(value, indent=1) + "\n"
        write_file(self._path / name, text.encode(), force=True)

    def row(self, trial: Trial) -> dict[str, Any] | None:
        """Return the kept row of a trial; None if it has none, has failed, or has lost its file."""
        path = self._path / "rows" / f"{trial.name}.json"
        file = self._path / "files" / f"{trial.name}.tflite"
        if not path.exists() or not file.exists():
            return None
        row = parse_json(read_input(path), where=str(path), error=ReportError)
        digest = (row.get("file") or {}).get("sha256")
        whole = sha256(read_input(file)).hexdigest() == digest
        lost = trial == BASELINE and not self.predictions()
        return row if whole and not lost and row.get("knobs") == dict(trial.knobs) else None

    def add(self, outcome: Outcome) -> dict[str, Any]:
        """Keep an outcome: first the files, then the row, which says that they are whole."""
        row = outcome.row
        for name, blob in outcome.files.items():
            write_file(self._path / "files" / name, blob, force=True)
        if row["error"] is None:
            row["file"] = {"path": f"files/{row['trial']}.tflite", **row["file"]}
        self._write(f"rows/{row['trial']}.json", row)
        return row

    def predictions(self) -> dict[str, bytes]:
        """Return the files with the predictions of the float32 file."""
        found = sorted((self._path / "files").glob(f"{BASELINE.name}*.json"))
        return {path.name: read_input(path) for path in found}

    def measure(
        self, plan: Plan, rows: Sequence[Mapping[str, Any]], device: str, progress: Progress
    ) -> dict[str, Any]:
        """Measure the float32 file and those of all rows, and return the report."""
        done = [row["trial"] for row in rows if row["error"] is None]
        paths = [self._path / "files" / f"{name}.tflite" for name in (BASELINE.name, *done)]
        options: Any = {"settings": plan.benchmark, "device": device, "progress": progress}
        options["json_path"] = self._path / "benchmark.json"
        try:
            return benchmark(paths, resume=True, **options)
        except ReportError:  # of other files, settings or devices: what was asked for has changed
            return benchmark(paths, force=True, **options)

    def finish(self, report: Mapping[str, Any]) -> None:
        """Write the report and its page."""
        self._write("report.json", report)
        page = render_page(report).encode("utf-8", "backslashreplace")
        write_file(os.fspath(self._path / "report.html"), page, force=True)
