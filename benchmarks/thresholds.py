"""Check measured figures against thresholds, and define those of `base_shape`."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from rich.console import Console
from rich.table import Table

__all__ = ["Threshold", "check", "print_thresholds"]

Threshold: TypeAlias = tuple[str, float, str, float]  # name, measured value, ≤ or ≥, limit

# The largest file of a recipe in a layout, MB, without a tokenizer.
_SIZES = (
    *(("int8", layout, 11.9) for layout in ("loop", "unrolled", "split")),
    ("int8-full", "loop", 12.1),
    ("int8-full", "unrolled", 12.4),
    ("int4", "loop", 7.9),
)
_RELATIONS = {"≤": operator.le, "≥": operator.ge}


def check(report: dict[str, Any]) -> bool:
    """Print each threshold of a `base_shape` report; return whether all passed."""
    return print_thresholds(_thresholds(report))


def print_thresholds(thresholds: Iterable[Threshold]) -> bool:
    """Print each threshold with PASS or FAIL; return whether all passed."""
    table = Table(box=None)
    for heading in ("", "measured", "threshold", ""):
        table.add_column(heading, justify="left" if not heading else "right")
    passed = True
    for name, value, relation, limit in thresholds:
        met = _RELATIONS[relation](value, limit)  # false for NaN
        passed &= met
        verdict = "[green]PASS[/]" if met else "[bold red]FAIL[/]"
        table.add_row(name, f"{value:.3f}", f"{relation} {limit:g}", verdict)
    Console().print(table)
    return passed


def _thresholds(report: dict[str, Any]) -> Iterator[Threshold]:
    rows = {(row["name"], row["layout"]): row for row in report["rows"]}
    int8, float32 = rows["int8", "loop"], rows["float32", "loop"]
    for name, layout, limit in _SIZES:
        size = rows[name, layout]["size_bytes"] / 1e6
        yield f"{name} {layout}: file, MB", size, "≤", limit
        duplication = report["duplication"][f"{name} {layout}"]
        yield f"{name} {layout}: duplication", duplication, "≤", 1.01
    yield "int8 loop: memory, MB", int8["model_rss_bytes"] / 1e6, "≤", 40
    yield "float32 loop: memory, MB", float32["model_rss_bytes"] / 1e6, "≤", 95
    # The two clocks agree unless the machine is busy; both must pass.
    for clock, name in (("latency_ms", "latency"), ("cpu_ms", "CPU time")):
        yield f"float32 over int8 loop: {name}", float32[clock] / int8[clock], "≥", 5
    yield "int8 loop: load and first inference, ms", int8["load_ms"] + int8["first_ms"], "≤", 80
    for quantize, lengths in report["free_length"].items():
        for ratio, name in (("ratio_of_medians", "latency"), ("ratio_of_cpu", "CPU time")):
            yield f"{quantize} loop, free over fixed: {name}", lengths[ratio], "≤", 1.03
    conversion = report["conversion"]
    yield "convert 12 layers, s", conversion["median_s"], "≤", 30
    yield "convert 24 over 12 layers: time", conversion["ratio_24_to_12"], "≤", 1.2
    yield "convert 24 over 12 layers: CPU time", conversion["cpu_ratio_24_to_12"], "≤", 1.2
