"""`albert_edge.sweep.run`: rows are kept one by one, and a sweep goes on where it was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from albert_edge.errors import ConfigError, OutputError, TrainingError
from albert_edge.sweep.run import raise_on_failed_trials
from sweep.samples import PLAN, comparable, run


def test_a_trial_that_fails_is_a_row(report: dict[str, Any], swept: Path) -> None:
    rows = {row["trial"]: row for row in report["rows"]}
    assert [*rows] == ["trial-1", "trial-2", "trial-3", "trial-4", "search-1", "search-2"]
    failed = [name for name, row in rows.items() if row["status"] == "error"]
    assert failed == ["trial-3", "trial-4"]
    assert rows["trial-3"]["error"] == {
        "type": "ConfigError",
        "message": "passes must be at most 2 of a model with one group of layers, not 3 of 1 "
        "groups.",
    }
    with pytest.raises(TrainingError, match=r"2 of 6 trials failed:\n  trial-3: passes must be"):
        raise_on_failed_trials(report)
    for row in (report["baseline"], rows["trial-1"], rows["search-2"]):
        assert (swept / "out" / row["file"]["path"]).stat().st_size == row["file"]["size_bytes"]
        assert row["low"] <= row["value"] <= row["high"]
        assert row["examples"] == 40
    # What the float32 file loses to the trial, on the same examples.
    one = rows["search-1"]
    assert one["loss"]["value"] == pytest.approx(report["baseline"]["value"] - one["value"])
    assert report["baseline"]["loss"] is None


def test_nothing_is_replaced_unasked_nor_mixed_with_another_plan(copied: Path) -> None:
    plan, output = copied / "plan.toml", copied / "out"
    with pytest.raises(OutputError, match="is not empty, and no sweep"):
        run(plan, copied, force=True)
    with pytest.raises(OutputError, match="--resume continues it, and --force replaces it"):
        run(plan, output)
    plan.write_text(PLAN.replace("[2, 3]", "[2]").replace("limit = 40", "limit = 41"))
    with pytest.raises(ConfigError, match="another plan: its knobs, evaluate differ"):
        run(plan, output, resume=True)
    (copied / "dev.tsv").write_text("text\tlabel\nfine\t1\n")
    plan.write_text(PLAN)
    with pytest.raises(ConfigError, match="another plan: its dev differs"):
        run(plan, output, resume=True)


def test_only_what_is_lost_or_failed_runs_again(copied: Path, report: dict[str, Any]) -> None:
    output = copied / "out"
    (output / "files" / "trial-2.tflite").write_bytes(b"cut off")
    before = {path: path.stat().st_mtime_ns for path in (output / "rows").iterdir()}
    again = run(copied / "plan.toml", output, resume=True)
    assert comparable(again) == comparable(report)
    written = {path.stem for path in before if path.stat().st_mtime_ns != before[path]}
    assert written == {"trial-2", "trial-3", "trial-4"}


def test_a_killed_sweep_goes_on(copied: Path, report: dict[str, Any]) -> None:
    plan, output = copied / "plan.toml", copied / "killed"
    knobs, _, rest = PLAN.partition("[search]")
    plan.write_text(f"{knobs}[evaluate]{rest.partition('[evaluate]')[2]}")
    program = "from albert_edge.cli import main; main()"
    command = [sys.executable, "-c", program, "sweep", plan, "-o", output]
    process = subprocess.Popen([*command, "--no-measure"], start_new_session=True)
    first = output / "rows" / "trial-1.json"
    try:
        while not first.exists():
            assert process.poll() is None
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    kept = first.read_bytes()
    assert not (output / "report.json").exists()
    again = run(plan, output, resume=True)
    assert first.read_bytes() == kept
    assert json.loads((output / "report.json").read_text())["rows"] == again["rows"]
    assert comparable(again) == comparable(report)[:5]  # without the search


def test_a_model_that_does_not_fit_the_dev_set_is_an_error(copied: Path) -> None:
    (copied / "dev.tsv").write_text("text\tlabel\nfine\tbanana\n")
    with pytest.raises(TrainingError, match=r"cannot be converted to float32 and scored: dev/dev"):
        run(copied / "plan.toml", copied / "other")
