"""`albert_edge.benchmark.boards`: devices side by side, in one report.

`devices/test_ssh.py` has two of them that are reached over SSH.
"""

from __future__ import annotations

import copy
import io
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

from albert_edge.benchmark import boards
from albert_edge.benchmark.config import BenchmarkConfig
from albert_edge.benchmark.console import render_comparison, render_report
from albert_edge.benchmark.html import render_page
from albert_edge.benchmark.report_file import save_report
from albert_edge.errors import ConfigError, DeviceError, RegressionError, ReportError
from benchmark.html.page import Page
from benchmark.samples import BRIEF

NOBODY = "ssh://nobody@127.0.0.1:1"  # where no server listens


def benchmark(path: Path, *devices: str, **options: Any) -> dict[str, Any]:
    return boards.benchmark_boards(
        [path],
        devices=devices,
        settings=BenchmarkConfig(rounds=1, seq_lens=(8,), **BRIEF),
        progress=Progress(disable=True),
        **options,
    )


@pytest.fixture(scope="module")
def measured(tiny_file: Path) -> dict[str, Any]:
    return benchmark(tiny_file, "local", NOBODY)


def shown(renderable: Any) -> str:
    console = Console(width=100, file=io.StringIO())
    console.print(renderable)
    return console.file.getvalue()


def test_a_device_that_cannot_be_reached_is_a_section_of_its_own(measured: dict[str, Any]) -> None:
    here, there = measured["boards"]
    assert (here["device"], here["error"], here["report"]["device"]) == ("local", None, "local")
    assert [row["status"] for row in here["report"]["rows"]] == ["ok"]
    assert (there["device"], there["report"]) == (NOBODY, None)
    assert there["error"]["type"] == "DeviceError"
    with pytest.raises(DeviceError, match=r"1 of 2 devices have failures:\n  ssh://nobody"):
        boards.raise_on_any_failure(measured)


def test_the_table_and_the_page_show_every_device(measured: dict[str, Any]) -> None:
    text = shown(render_report(measured))
    assert text.index("local") < text.index("tiny") < text.index(f"{NOBODY}\nFAILED: ")
    page = Page(render_page(measured))
    assert NOBODY in page.text
    assert "Failed: " in page.text
    targets = [one["id"] for tag in ("h2", "h3") for one in page.all(tag) if "id" in one]
    assert len(targets) == len({*targets})
    assert {link["href"][1:] for link in page.all("a")} <= {*targets}


def test_a_report_is_read_resumed_and_refused(
    measured: dict[str, Any], tiny_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "boards.json"
    save_report(path, measured)
    assert boards.read_any_report(path) == measured
    again = benchmark(tiny_file, "local", NOBODY, json_path=path, resume=True)
    assert again["boards"][0] == measured["boards"][0]
    with pytest.raises(ReportError, match="its devices differ: local, ssh://nobody"):
        benchmark(tiny_file, "local", json_path=path, resume=True)
    save_report(path, measured["boards"][0]["report"])
    assert not boards.is_of_boards(boards.read_any_report(path))
    with pytest.raises(ReportError, match="it is a report of local"):
        benchmark(tiny_file, "local", NOBODY, json_path=path, resume=True)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        ((), []),
        ((0, "device"), "qemu://cortex-a53"),
        ((0, "report"), None),
        ((0, "report", "rows", 0, "rank"), 2),
        ((1, "error"), {"type": "DeviceError"}),
        ((1, "device"), "local"),
    ],
)
def test_a_damaged_report_is_one_clear_error(
    measured: dict[str, Any], at: tuple[Any, ...], value: Any, tmp_path: Path
) -> None:
    damaged = copy.deepcopy(measured)
    inner: Any = damaged
    for key in (keys := ("boards", *at))[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path = tmp_path / "boards.json"
    path.write_text(json.dumps(damaged))
    with pytest.raises(ReportError, match="is damaged"):
        boards.read_any_report(path)


def test_reports_are_compared_device_by_device(measured: dict[str, Any]) -> None:
    one = measured["boards"][0]["report"]  # of one device: it is a section too
    comparison = boards.compare_any_reports(one, measured)
    assert [board["device"] for board in comparison["boards"]] == ["local"]
    assert comparison["only_new"] == [NOBODY]
    assert f"Only in the new report: {NOBODY}." in shown(render_comparison(comparison))
    boards.raise_on_any_regression(comparison)
    failed = copy.deepcopy(measured)
    failed["boards"][0] |= {"error": {"type": "DeviceError", "message": "no power"}}
    comparison = boards.compare_any_reports(measured, failed)
    assert comparison["boards"][0]["comparison"] is None
    with pytest.raises(RegressionError, match=r"local: it failed: no power"):
        boards.raise_on_any_regression(comparison)
    with pytest.raises(ReportError, match="no device in common"):
        boards.compare_any_reports(one, {**measured, "boards": measured["boards"][1:]})


def test_a_device_is_named_once(tiny_file: Path) -> None:
    with pytest.raises(ConfigError, match="--device local is given twice"):
        benchmark(tiny_file, "local", "local")


def test_turns_are_given_in_order_and_never_twice_at_a_time() -> None:
    turn, order, inside = boards.Turn(), [], []

    def take(number: int) -> None:
        with turn:
            inside.append(number)
            order.append(len(inside))
            inside.remove(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    with turn:
        for thread in threads:
            thread.start()
        while turn._asked < 9:
            time.sleep(0.001)
        assert not inside
    for thread in threads:
        thread.join()
    assert order == [1] * 8
