"""The tables: every metric, the machine, the settings and the files."""

from __future__ import annotations

from typing import Any

from benchmark.html.page import Page


def test_the_conditions_and_hashes_are_there(page: Page, report: dict[str, Any]) -> None:
    machine = report["machine"]
    for known in (machine["kernel"], machine["python"], report["rows"][0]["runtime"]):
        assert known in page.text
    for file in report["files"]:
        assert (file["sha256"] or "-") in [one["text"] for one in page.all("code")]
