"""The summary: the fastest, what is wrong or failed, and warnings."""

from __future__ import annotations

import copy
from typing import Any

from albert_edge.benchmark.html import render_page
from benchmark.html.page import Page


def test_the_fastest_come_first_and_failures_stand_apart(
    page: Page, report: dict[str, Any]
) -> None:
    fastest = min(
        (row for row in report["rows"] if row["seq_len"] == 8 and row["status"] == "ok"),
        key=lambda row: row["latency_ms"],
    )
    headings = [one["text"] for one in page.all("h2")]
    assert headings[:4] == [
        "Fastest with correct outputs",
        "All results",
        "Wrong outputs",
        "Failed",
    ]
    [card] = [one for one in page.all("div", **{"class": "card"}) if "8 tokens" in one["text"]]
    assert f"{fastest['name']}, 1 thread" in card["text"]
    assert "WRONG outputs: 2 of 8 configurations, not ranked: liar" in page.text
    assert "Failed: 2 of 8 configurations, not ranked: empty" in page.text
    assert "BundleError: cannot read" in page.text
    rows = page.all("tr", **{"class": "wrong"})
    assert [one["text"].split()[0] for one in rows] == ["WRONG", "failed"] * 2
    ranks = [row["rank"] for row in report["rows"] if row["rank"] is not None]
    assert sorted(ranks) == [1, 1, 2, 2]


def test_warnings_are_explained(page: Page, report: dict[str, Any]) -> None:
    warnings = [warning for row in report["rows"] for warning in row["warnings"]]
    noisy = copy.deepcopy(report)
    noisy["rows"][0]["warnings"] = [{"code": "throttled", "message": "heat & <more>"}]
    text = Page(render_page(noisy)).text
    assert "throttled: The processor was throttled" in text
    assert "heat & <more>" in text
    assert all(warning["message"] in page.text for warning in warnings)


def test_what_failed_in_a_later_round_counts_as_failed(report: dict[str, Any]) -> None:
    late = {"status": "error", "error": {"type": "DeviceError", "message": "gone"}, "rank": None}
    page = Page(render_page({**report, "rows": [{**report["rows"][0], **late}]}))
    assert not page.all("svg", **{"class": "strip"})
    assert "DeviceError: gone" in page.text
