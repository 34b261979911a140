"""`albert_edge.sweep.report`: fronts, and the page."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from albert_edge.sweep.report import (
    COSTS,
    _by_name,
    cost_of,
    describe_knobs,
    error_of,
    render_page,
    sort_rows,
)
from benchmark.html.page import Page
from benchmark.samples import HOSTILE


def test_no_row_is_better_in_both_than_one_on_a_front(report: dict[str, Any]) -> None:
    rows = {row["trial"]: row for row in [report["baseline"], *report["rows"]]}
    assert [*report["fronts"]] == [*COSTS]
    for cost, front in report["fronts"].items():
        points = {name: (cost_of(row, cost), error_of(row)) for name, row in rows.items()}
        known: dict[str, Any] = {name: one for name, one in points.items() if None not in one}
        for name, (x, y) in known.items():
            better = [one for one in known.values() if one[0] <= x and one[1] <= y]
            assert (name in front) == (set(better) == {(x, y)})
            assert (cost in rows[name]["fronts"]) == (name in front)


def test_every_file_is_measured_and_failed_ones_come_last(report: dict[str, Any]) -> None:
    rows = sort_rows(report)
    assert report["machine"]["cores"] >= 1
    assert [row["error"] is None for row in rows] == [True] * 5 + [False] * 2
    for row in rows[:5]:
        assert row["measured"]["latency_ms"] > 0
        assert row["measured"]["status"] == "ok"
    assert rows[-1]["measured"] is None


def test_a_row_is_described_by_what_differs(report: dict[str, Any]) -> None:
    described = {row["trial"]: describe_knobs(report, row) for row in report["rows"]}
    assert described["trial-1"] == "passes 2, int8"
    assert described["trial-4"] == "passes 3, float16"
    assert described["search-1"].startswith("passes 2, finetune learning_rate=0.00")


@pytest.mark.parametrize(
    ("device", "status", "right"),
    [
        ("local", "ok", True),
        ("local", "wrong", True),  # the dev set was scored by the same kernels
        ("local", "error", False),
        ("ssh://pi", "ok", True),
        ("ssh://pi", "wrong", False),
    ],
)
def test_a_file_that_is_wrong_on_another_device_has_no_latency(
    swept: Path, device: str, status: str, right: bool
) -> None:
    figures = json.loads((swept / "out" / "benchmark.json").read_text())
    figures["device"] = device
    figures["rows"][0]["status"] = status
    name = figures["rows"][0]["name"]
    row = {"error": None, "measured": _by_name(figures)[name]}
    assert (cost_of(row, "latency") is not None) == right


def test_a_seed_of_0_is_told() -> None:
    rows = [{"trial": str(seed), "knobs": {"seed": seed, "quantize": "int8"}} for seed in (0, 1)]
    assert [describe_knobs({"rows": rows}, row) for row in rows] == ["seed 0", "seed 1"]


def test_the_page_has_every_row_and_runs_nothing(report: dict[str, Any]) -> None:
    hostile = copy.deepcopy(report)
    hostile["rows"][2]["error"]["message"] = HOSTILE
    text = render_page(hostile)
    page = Page(text)
    assert all(row["trial"] in page.text for row in report["rows"])
    assert HOSTILE in page.text
    assert "<script" not in text
    assert not page.all("img")
    assert len(page.all("svg", role="img")) == len(COSTS)
    assert "Failed" in page.text
