"""A report of `albert-edge benchmark` as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from albert_edge.benchmark.health import CODES

__all__ = ["render_report"]

_FIGURES = ("file\nMB", "RAM\nMB", "load\nms", "first\nms", "median\nms", "p90\nms", "p99\nms")


def render_report(document: Mapping[str, Any]) -> Group:
    """Make what the verb prints: the best of every length first, then what is wrong or failed."""
    rows = sorted(document["rows"], key=_order)
    table = Table(
        title=_conditions(document["machine"]),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("\n#", justify="right")
    table.add_column("", overflow="fold")
    for heading in ("thr.", *_FIGURES):
        table.add_column(heading, justify="right", no_wrap=True)
    for index, row in enumerate(rows):
        if index == 0 or rows[index - 1]["seq_len"] != row["seq_len"]:
            table.add_section()
            table.add_row("", Text(f"{row['seq_len']} tokens", style="bold"))
        place = "" if row["rank"] is None else str(row["rank"])
        table.add_row(place, _name(row), str(row["threads"]), *_figures(row))
    return Group(table, Text("\n".join(_notes(document)), style="dim"))


def _conditions(machine: Mapping[str, Any]) -> str:
    governors = machine["conditions"]["governors"]
    parts = [machine["model"], f"{machine['cores']} cores", *governors]
    return ", ".join(parts)


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["seq_len"], row["rank"] is None, row["rank"] or 0, row["status"] == "error"


def _name(row: Mapping[str, Any]) -> Text:
    name = Text(row["name"], style="cyan")
    if row["status"] != "ok":
        word = "WRONG" if row["status"] == "wrong" else row["status"]
        name = Text(f"{word} ", style="bold red") + name
    doubts = ", ".join(doubt["code"] for doubt in row["warnings"])
    return name + Text(f"\n{doubts}", style="yellow") if doubts else name


def _figures(row: Mapping[str, Any]) -> list[str]:
    size = row["size_bytes"]
    cells = ["-" if size is None else f"{size / 1e6:.2f}"]
    if "latency_ms" not in row:
        return [*cells, *["-"] * (len(_FIGURES) - 1)]
    resident = row["model_rss_bytes"]
    times = ("load_ms", "first_ms", "latency_ms", "latency_p90_ms", "latency_p99_ms")
    return [
        *cells,
        "-" if resident is None else f"{resident / 1e6:.1f}",
        *(f"{row[name]:.3g}" if row[name] < 100 else f"{row[name]:.0f}" for name in times),
    ]


def _notes(document: Mapping[str, Any]) -> Sequence[str]:
    rows, rounds = document["rows"], document.get("settings", {}).get("rounds", 1)
    codes = {doubt["code"] for row in rows for doubt in row["warnings"]}
    least = min((row["n"] for row in rows if "n" in row), default=0)
    references = sorted(
        {row["fidelity"]["reference"]["name"] for row in rows if row["fidelity"] is not None}
    )
    measured = (
        f"Rounds: {rounds}, in turn, each in a fresh process; at least {least} warm "
        "runs a line. RAM: resident when warm, over the empty process. Outputs are "
        f"compared with those of {', '.join(references) or 'nothing'}, computed by the runtime's "
        "own kernels on the CPU."
    )
    return [
        measured,
        *(f"{code}: {meaning}" for code, meaning in CODES.items() if code in codes),
    ]
