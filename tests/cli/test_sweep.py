"""`albert-edge sweep`: the table, JSON, and what is wrong with a plan."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tomllib

from albert_edge import cli
from albert_edge.sweep.plan import KNOBS, read_plan
from cli.commands import albert_edge


@pytest.fixture
def copied(swept: Path, tmp_path: Path) -> Path:
    """A copy of a finished sweep of which two trials fail."""
    return Path(shutil.copytree(swept, tmp_path / "copied"))


def test_json_and_the_table_have_the_same_rows_and_a_failed_trial_ends_with_1(copied: Path) -> None:
    plan, out = copied / "plan.toml", copied / "out"
    done = albert_edge("sweep", plan, "-o", out, "--resume", "--json")
    report = json.loads(done.stdout)
    assert report["schema"] == "albert_edge.sweep/1"
    assert report["output"] == str(out)
    assert report["rows"][0]["measured"]["latency_ms"] > 0
    assert done.exit_code == 1
    assert "2 of 6 trials failed:\n  trial-3: passes must be at most 2" in done.stderr
    done = albert_edge("sweep", plan, "-o", out, "--resume", "--no-measure")
    assert done.exit_code == 1
    assert all(row["trial"] in done.stdout for row in [report["baseline"], *report["rows"]])
    assert "report.html" in done.stdout
    again = albert_edge("sweep", plan, "-o", out)
    assert "--resume continues it" in again.stderr


def test_a_mistake_in_a_plan_is_said_before_anything_is_written(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('model = "default"\ndev = "dev.tsv"\n[knobs]\nquantise = ["int8"]\n')
    done = albert_edge("sweep", plan, "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "no key 'quantise' (did you mean quantize?)" in done.output
    assert not (tmp_path / "out").exists()


def test_the_plan_in_the_help_is_one(tmp_path: Path) -> None:
    text = albert_edge("sweep", "--help").output.partition("required:\n")[2].partition("Options")[0]
    path = tmp_path / "plan.toml"
    path.write_text(text)
    assert {*tomllib.loads(text)["knobs"]} == {*KNOBS}
    # 2 × 2 × 2 × 3 untrained, and the same with each training and both, of two seeds.
    assert len(read_plan(path).trials()) == 24 * (1 + 3 * 2)
    assert "sweep" in cli._VERBS
