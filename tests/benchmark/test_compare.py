"""`albert_edge.benchmark.compare` and its table: changes and noise."""

from __future__ import annotations

import copy
import io
import json
import random
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from albert_edge.benchmark import console
from albert_edge.benchmark.compare import (
    METRICS,
    SCHEMA,
    compare_reports,
    raise_on_regression,
    ratio_of_pairs,
    ratio_of_rounds,
)
from albert_edge.benchmark.console import render_comparison
from albert_edge.benchmark.report_file import to_json
from albert_edge.errors import RegressionError, ReportError

Rounds = Callable[..., dict[str, Any]]


@pytest.fixture
def quiet(report: dict[str, Any]) -> Rounds:
    """A function that makes the real report one of a quiet machine: medians 1% apart.

    `factor` makes the latencies of `int8` so many times as long.
    """

    def make(factor: float = 1.0) -> dict[str, Any]:
        made = copy.deepcopy(report)
        for row in made["rows"]:
            medians = [10.0, 10.1, 10.05]
            if row["name"] == "int8":
                medians = [factor * one for one in medians]
            if "rounds" in row:
                row["rounds"] = [copy.deepcopy(row["rounds"][0]) for _ in medians]
                for one, latency in zip(row["rounds"], medians, strict=True):
                    one["latency_ms"] = latency
                row["latency_ms"] = median(medians)
        return made

    return make


def of(found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [row for row in found["rows"] if row["name"] == name]


def show(found: dict[str, Any], width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(render_comparison(found))
    return console.file.getvalue()


# Of an emulated processor, which measures nothing else.
COUNTS = {"instructions_inference", "instructions_load", "instructions_first"}


def test_a_report_is_no_different_from_itself(report: dict[str, Any]) -> None:
    found = compare_reports(report, report)
    assert found["schema"] == SCHEMA
    assert found["same_machine"]
    assert not found["differs"]
    assert not found["only_old"]
    assert not found["only_new"]
    assert {row["verdict"] for row in found["rows"]} == {"same"}
    assert len(found["rows"]) == len(report["rows"])
    ratios = [one["ratio"] for row in found["rows"] for one in row["changes"].values()]
    assert set(ratios) == {1.0}
    measured = {name for row in found["rows"] for name in row["changes"]}
    # The tiny files carry no tokenizer; the machine of the test may not tell its energy.
    assert {*METRICS} - {"end_to_end_ms", "energy_joules", *COUNTS} <= measured
    assert json.loads(to_json(found)) == found
    raise_on_regression(found)


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.5, "worse"), (0.5, "better"), (1.04, "same"), (0.97, "same")]
)
def test_a_change_is_one_beyond_the_noise(factor: float, verdict: str, quiet: Rounds) -> None:
    found = compare_reports(quiet(), quiet(factor))
    for row in of(found, "int8"):
        change = row["changes"]["latency_ms"]
        assert change["ratio"] == pytest.approx(factor)
        assert change["low"] < factor < change["high"]
        assert row["verdict"] == change["verdict"] == verdict
    assert {row["verdict"] for row in found["rows"] if row["name"] != "int8"} == {"same"}
    assert [row["name"] for row in found["rows"][:2] if verdict != "same"] in ([], ["int8"] * 2)


def test_the_same_change_on_a_noisy_machine_is_none(quiet: Rounds) -> None:
    old, new = quiet(), quiet(1.5)
    for row in new["rows"]:
        for number, one in enumerate(row.get("rounds", [])):
            one["latency_ms"] *= 1 + number
    assert {row["verdict"] for row in of(compare_reports(old, new), "int8")} == {"same"}


def test_with_one_round_a_change_is_unknown(quiet: Rounds) -> None:
    old, new = quiet(), quiet(2.0)
    for row in new["rows"]:
        row["rounds"] = row.get("rounds", [])[:1]
    [change, _] = [row["changes"]["latency_ms"] for row in of(compare_reports(old, new), "int8")]
    assert (change["low"], change["high"], change["verdict"]) == (None, None, "unknown")
    assert change["ratio"] == pytest.approx(2.0)
    assert "unknown" in show(compare_reports(old, new))


@pytest.mark.parametrize("count", [3, 4, 5, 8, 20])
@pytest.mark.parametrize("disturbed", [0.0, 0.2])  # a share of the rounds takes 1.6 times as long
def test_no_change_is_seldom_called_one(count: int, disturbed: float) -> None:
    draw = random.Random(0)

    def take() -> float:
        return 10 * draw.lognormvariate(0, 0.05) * (1.6 if draw.random() < disturbed else 1)

    rounds = [[take() for _ in range(count)] for _ in range(2000)]
    ratios = [
        ratio_of_rounds(old, new, ratio=median(new) / median(old))
        for old, new in zip(rounds[::2], rounds[1::2], strict=True)
    ]
    assert all(one.low <= one.ratio <= one.high for one in ratios)
    # 99% by construction, as far as 1,000 pairs show it.
    assert sum(one.low <= 1 <= one.high for one in ratios) > 0.975 * len(ratios)


@pytest.mark.parametrize("count", [2, 7, 8, 20])
def test_pairs_see_through_a_machine_that_changes_its_speed(count: int) -> None:
    draw = random.Random(0)
    found = {1.0: 0, 1.03: 0}
    for factor in found:
        for _ in range(1000):
            speeds = [draw.choice([10, 16]) for _ in range(count)]
            old, new = ([one * draw.lognormvariate(0, 0.005) for one in speeds] for _ in range(2))
            ratio = ratio_of_pairs(old, [factor * one for one in new])
            assert ratio.low <= ratio.ratio <= ratio.high
            found[factor] += ratio.low <= factor <= ratio.high
            assert factor == 1 or count < 20 or ratio.verdict == "worse"
    assert min(found.values()) > 975  # 99% by construction, as far as 1,000 draws show it


def test_one_pair_has_no_interval() -> None:
    ratio = ratio_of_pairs([2.0], [1.0])
    assert (ratio.ratio, ratio.low, ratio.high, ratio.verdict) == (0.5, None, None, "unknown")


def test_a_few_disturbed_rounds_hardly_widen_the_interval() -> None:
    draw = random.Random(0)
    old, new = ([draw.lognormvariate(0, 0.02) for _ in range(30)] for _ in range(2))
    calm = ratio_of_rounds(old, new, ratio=1.0)
    disturbed = ratio_of_rounds(old[5:] + [1.6] * 5, new[4:] + [1.7] * 4, ratio=1.0)
    assert disturbed.high / disturbed.low - 1 < 2 * (calm.high / calm.low - 1) < 0.08


def test_size_memory_and_error_count_too(quiet: Rounds) -> None:
    old, new = quiet(), quiet()
    for row in new["rows"]:
        if row["name"] == "int8":
            row["size_bytes"] = row["size_bytes"] * 11 // 10
            row["fidelity"]["outputs"]["logits"]["error"] /= 2
            row["model_rss_bytes"] *= 2
    [first, _] = of(compare_reports(old, new), "int8")
    assert first["verdict"] == "mixed"
    assert first["changes"]["size_bytes"]["verdict"] == "worse"
    assert first["changes"]["error"]["verdict"] == "better"
    assert first["changes"]["model_rss_bytes"]["verdict"] == "worse"
    lines = show(compare_reports(old, new))
    assert "file MB" in lines
    assert "RAM MB" in lines


def test_wrong_outputs_or_a_failure_are_broken(quiet: Rounds) -> None:
    found = compare_reports(quiet(), quiet() | {"rows": swapped(quiet()["rows"], "int8", "liar")})
    assert {row["verdict"] for row in of(found, "int8")} == {"broken"}
    assert {row["verdict"] for row in of(found, "liar")} == {"better"}
    assert [row["name"] for row in found["rows"][:2]] == ["int8", "int8"]
    with pytest.raises(RegressionError, match=r"2 of 8 got worse:\n  int8 .*ok before, and now wr"):
        raise_on_regression(found)
    assert "WRONG" in show(found)


def swapped(rows: list[dict[str, Any]], one: str, other: str) -> list[dict[str, Any]]:
    names = {one: other, other: one}
    return [{**row, "name": names.get(row["name"], row["name"])} for row in rows]


def test_an_interrupted_run_is_neither_better_nor_worse(quiet: Rounds) -> None:
    new = quiet()
    new["complete"] = False
    kept = ("latency_ms", "rounds")
    pending = {key: value for key, value in new["rows"][0].items() if key not in kept}
    new["rows"][0] = pending | {"status": "pending", "fidelity": None}
    found = compare_reports(quiet(), new)
    assert found["rows"][0]["verdict"] == "unknown"
    assert "The new report is not complete" in show(found)
    raise_on_regression(found)


def test_configurations_of_one_report_only_are_listed(quiet: Rounds) -> None:
    old, new = quiet(), quiet()
    del old["rows"][0], new["rows"][-1]
    found = compare_reports(old, new)
    assert [row["seq_len"] for row in found["only_new"]] == [4]
    assert [row["name"] for row in found["only_old"]] == ["empty"]
    assert "Only in the old report: empty, 1 thread, T=8." in show(found)


def test_another_machine_is_reported_first(quiet: Rounds) -> None:
    new = quiet()
    new["machine"]["model"] = "Raspberry Pi 5"
    for row in new["rows"]:
        row["runtime"] = "tflite-runtime 2.14.0"
    found = compare_reports(quiet(), new)
    assert not found["same_machine"]
    assert {one["what"] for one in found["differs"]} == {"model", "runtime"}
    lines = show(found).splitlines()
    assert lines[0].startswith("DIFFERENT MACHINE")
    assert "tflite-runtime 2.14.0" in show(found)
    new["machine"]["model"] = quiet()["machine"]["model"]
    found = compare_reports(quiet(), new)
    assert found["same_machine"]
    assert show(found).startswith("Measured under different conditions:")


def test_reports_without_common_configurations(quiet: Rounds) -> None:
    new = quiet()
    new["rows"] = [{**row, "threads": 7} for row in new["rows"]]
    with pytest.raises(ReportError, match=r"no configuration .* in common: the old one has .*more"):
        compare_reports(quiet(), new)


def test_reports_of_other_programs_are_matched_by_layout_too(report: dict[str, Any]) -> None:
    rows = [
        {key: value for key, value in report["rows"][0].items() if key != "rounds"}
        | {"layout": layout}
        for layout in ("loop", "unrolled")
    ]
    found = compare_reports(
        {**report, "kind": "demo", "rows": rows}, {**report, "kind": "demo", "rows": rows}
    )
    assert len(found["rows"]) == 2
    assert {row["changes"]["latency_ms"]["verdict"] for row in found["rows"]} == {"unknown"}


@pytest.mark.parametrize("gone", ["machine", "rows", "complete", "date"])
def test_a_damaged_report_is_an_error(gone: str, report: dict[str, Any]) -> None:
    damaged = {key: value for key, value in report.items() if key != gone}
    for pair in ((damaged, report), (report, damaged)):
        with pytest.raises(ReportError, match="damaged"):
            compare_reports(*pair)
    with pytest.raises(ReportError, match="damaged"):
        compare_reports(report, {**report, "rows": [{**report["rows"][0], "rounds": [{}]}]})


def test_every_metric_has_a_name_for_people() -> None:
    assert [*console._METRIC_LABELS] == [*METRICS]


@pytest.mark.parametrize("noise", [1.0, 1000.0])
def test_it_fits_80_columns(noise: float, quiet: Rounds) -> None:
    old, new = quiet(), quiet(1000.0)
    for row in new["rows"]:
        row["rounds"] = row.get("rounds", [])[:2]
        for one in row["rounds"][1:]:
            one["latency_ms"] *= noise
    lines = show(compare_reports(old, new)).splitlines()
    assert all(cell_len(line) <= 80 for line in lines)
    assert "median ms" in "\n".join(lines)
    assert "×1000" in "\n".join(lines)


def test_instructions_are_compared_exactly(counted_report: dict[str, Any]) -> None:
    changed = copy.deepcopy(counted_report)
    rows = [row for row in changed["rows"] if row["status"] == "ok"]
    rows[0]["instructions_inference"] = rows[0]["instructions_inference"] * 1002 // 1000
    rows[1]["instructions_inference"] += 100  # as another folder may
    comparison = compare_reports(counted_report, changed)
    verdicts = {(row["name"], row["seq_len"]): row["verdict"] for row in comparison["rows"]}
    assert verdicts[rows[0]["name"], rows[0]["seq_len"]] == "worse"
    assert [*verdicts.values()].count("worse") == 1
    change = comparison["rows"][0]["changes"]["instructions_inference"]
    assert (change["verdict"], change["low"]) == ("worse", change["ratio"])
    text = show(comparison)
    assert "instr. M" in text
    assert " ms" not in text


def test_times_and_instructions_have_nothing_in_common(
    report: dict[str, Any], counted_report: dict[str, Any]
) -> None:
    comparison = compare_reports(report, counted_report)
    assert {one["what"] for one in comparison["differs"]} == {"device"}
    assert all({*row["changes"]} <= {"size_bytes", "error"} for row in comparison["rows"])
