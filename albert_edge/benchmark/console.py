"""The tables of the terminal: a report, a comparison of two reports, and the demo's results.

All of them fit 80 columns; long names are folded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from albert_edge.benchmark.format import (
    format_acceleration,
    format_cores,
    format_count,
    format_megabytes,
    format_metric,
    format_millions,
    format_percent,
    format_precision,
    format_products,
    format_ratio,
    format_setting,
)
from albert_edge.benchmark.report_file import Row
from albert_edge.benchmark.statistics import WARNING_CODES, counts_instructions

__all__ = ["make_table", "render_comparison", "render_report"]

_REPORT_COLUMNS = (
    *("thr.", "file\nMB", "RAM\nMB"),
    *("load\nms", "first\nms", "median\nms", "p90\nms", "p99\nms"),
)
_COUNT_COLUMNS = ("file\nMB", "load\nM instr.", "first\nM instr.", "inference\nM instr.")
_COUNTS = ("instructions_load", "instructions_first", "instructions_inference")
_TIMES = ("load_ms", "first_ms", "latency_ms", "latency_p90_ms", "latency_p99_ms")
_STATUS_LABELS = {"ok": "correct", "wrong": "WRONG", "error": "failed", "pending": "not measured"}
_VERDICT_STYLES = {"worse": "bold red", "better": "green"}
_METRIC_LABELS = {
    "latency_ms": ("median ms", format_metric),
    "end_to_end_ms": ("from text ms", format_metric),
    "load_ms": ("load ms", format_metric),
    "first_ms": ("first ms", format_metric),
    "model_rss_bytes": ("RAM MB", format_megabytes),
    "energy_joules": ("energy J", format_metric),
    "instructions_inference": ("instr. M", format_millions),
    "instructions_load": ("load M", format_millions),
    "instructions_first": ("first M", format_millions),
    "size_bytes": ("file MB", format_megabytes),
    "error": ("error", format_percent),
}


def _new_table(title: str = "") -> Table:
    return Table(
        title=Text(title, "table.title") if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )


def _add_numbers(table: Table, headings: Sequence[str]) -> None:
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)


def _fixed(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _megabytes(size_bytes: int | None, digits: int) -> str:
    return _fixed(None if size_bytes is None else size_bytes / 1e6, digits)


def render_report(report: Mapping[str, Any]) -> Group:
    """Render a report: the fastest of every length first, then wrong and failed ones."""
    if "boards" in report:
        return _render_boards(report)
    machine = report["machine"]
    parts = [
        machine["model"],
        format_cores(machine),
        *machine["conditions"]["governors"],
    ]
    table = _new_table(", ".join(parts))
    table.add_column("\n#", justify="right")
    table.add_column("", overflow="fold")
    counted = counts_instructions(report)
    _add_numbers(table, _COUNT_COLUMNS if counted else _REPORT_COLUMNS)
    rows = sorted(report["rows"], key=_sort_key)
    for index, row in enumerate(rows):
        if index == 0 or rows[index - 1]["seq_len"] != row["seq_len"]:
            table.add_section()
            table.add_row("", Text(f"{row['seq_len']} tokens", style="bold"))
        rank = "" if row["rank"] is None else str(row["rank"])
        cells = _count_cells(row) if counted else _report_cells(row)
        table.add_row(rank, _name_and_warnings(row), *cells)
    return Group(table, Text("\n".join(_report_notes(report)), style="dim"))


def _render_boards(report: Mapping[str, Any]) -> Group:
    parts: list[Any] = []
    for board in report["boards"]:
        parts.append(Text(board["device"], style="bold"))
        if board["error"] is not None:
            parts.append(Text(f"FAILED: {board['error']['message']}\n", style="bold red"))
        if board["report"] is not None:
            parts.append(render_report(board["report"]))
    return Group(*parts)


def _render_board_comparison(comparison: Mapping[str, Any]) -> Group:
    parts: list[Any] = []
    for board in comparison["boards"]:
        parts.append(Text(board["device"], style="bold"))
        for when in ("old", "new"):
            if (error := board[f"{when}_error"]) is not None:
                parts.append(Text(f"failed in the {when} report: {error['message']}", "red"))
        if board["comparison"] is not None:
            parts.append(render_comparison(board["comparison"]))
    for when in ("old", "new"):
        if missing := comparison[f"only_{when}"]:
            parts.append(Text(f"Only in the {when} report: {', '.join(missing)}."))
    return Group(*parts)


def _sort_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["seq_len"], row["rank"] is None, row["rank"] or 0, row["status"] == "error"


def _name_and_warnings(row: Mapping[str, Any]) -> Text:
    name = Text(row["name"], style="cyan")
    if row["status"] != "ok":
        label = "WRONG" if row["status"] == "wrong" else row["status"]
        name = Text(f"{label} ", style="bold red") + name
    if row["accelerator"] != "cpu":
        name += Text(f"\n{row['accelerator']}", style="dim")
    codes = ", ".join(warning["code"] for warning in row["warnings"])
    return name + Text(f"\n{codes}", style="yellow") if codes else name


def _report_cells(row: Mapping[str, Any]) -> list[str]:
    memory = _megabytes(row.get("model_rss_bytes"), 1)
    times = [format_metric(row.get(name)) for name in _TIMES]
    return [str(row["threads"]), _megabytes(row["size_bytes"], 2), memory, *times]


def _count_cells(row: Mapping[str, Any]) -> list[str]:
    counts = [format_millions(row.get(name)) for name in _COUNTS]
    return [_megabytes(row["size_bytes"], 2), *counts]


def _report_notes(report: Mapping[str, Any]) -> Iterator[str]:
    rows, rounds = report["rows"], report.get("settings", {}).get("rounds", 1)
    runs = min((row["n"] for row in rows if "n" in row), default=0)
    references = sorted(
        {row["fidelity"]["reference"]["name"] for row in rows if row["fidelity"] is not None}
    )
    method = (
        f"{format_count(rounds, 'round')}, interleaved, each in a fresh process; at least {runs} "
        "warm runs per line. RAM: resident when warm, over the empty process."
    )
    if counts_instructions(report):
        method = (
            "Millions of instructions on one thread of an emulated processor, the same every time; "
            "they are no time: a processor runs several at once, or waits for memory."
        )
    yield (
        f"{method} Outputs are compared with those of {', '.join(references) or 'no file'}, "
        "computed by the runtime's own kernels on the CPU."
    )
    shares = {row["name"]: row["acceleration"] for row in rows if "acceleration" in row}
    yield from (f"{name}: {format_acceleration(share)}." for name, share in shares.items())
    yield from (
        f"{row['name']}, {format_setting(row)}: {format_products(row)}."
        for row in rows
        if "products" in row
    )
    accelerators = {row["accelerator"] for row in rows} - {"cpu"}
    yield from (f"{name}: {format_precision(name)}." for name in sorted(accelerators))
    codes = {warning["code"] for row in rows for warning in row["warnings"]}
    yield from (f"{code}: {meaning}" for code, meaning in WARNING_CODES.items() if code in codes)


def render_comparison(comparison: Mapping[str, Any]) -> Group:
    """Render a comparison: the worst first; of an unchanged configuration, only the median.

    Args:
        comparison: The result of `albert_edge.benchmark.boards.compare_any_reports`.
    """
    if "boards" in comparison:
        return _render_board_comparison(comparison)
    table = _new_table()
    table.add_column("", no_wrap=True)
    table.add_column("", overflow="fold")
    _add_numbers(table, ("thr.", "T"))
    table.add_column("", no_wrap=True)
    _add_numbers(table, ("old", "new", "ratio", "99% CI"))
    for row in comparison["rows"]:
        _add_comparison_row(table, row)
    return Group(*_differences(comparison), table, *_comparison_notes(comparison))


def _add_comparison_row(table: Table, row: Mapping[str, Any]) -> None:
    changed = row["verdict"] != "same"
    name = Text(row["name"], style="cyan")
    if row["accelerator"] != "cpu":
        name.append(f"\n{row['accelerator']}", style="dim")
    if row["doubts"] and changed:
        name.append(f"\n{', '.join(row['doubts'])}", style="yellow")
    identity = name, Text(str(row["threads"])), Text(str(row["seq_len"]))
    for verdict, *cells in _comparison_lines(row):
        table.add_row(verdict, *identity, *cells)
        identity = Text(), Text(), Text()
    if changed:
        table.add_section()


def _comparison_lines(row: Mapping[str, Any]) -> Iterator[tuple[Text, ...]]:
    old, new = row["old_status"], row["new_status"]
    if old != new:
        verdict = "better" if new == "ok" else "worse"
        labels = [Text(_STATUS_LABELS[status]) for status in (old, new)]
        yield Text(verdict, style=_VERDICT_STYLES[verdict]), Text("outputs"), *labels
    elif new != "ok":
        yield (Text(_STATUS_LABELS[new], style="bold red"),)
    for name, change in row["changes"].items():
        always = name in ("latency_ms", "instructions_inference")
        if always or change["verdict"] in _VERDICT_STYLES:
            yield _change_line(name, change)


def _change_line(name: str, change: Mapping[str, Any]) -> tuple[Text, ...]:
    label, write = _METRIC_LABELS[name]
    verdict = change["verdict"] if change["verdict"] in _VERDICT_STYLES else ""
    low, high = change["low"], change["high"]
    interval = "unknown" if low is None else "" if low == high else f"{_bound(low)}-{_bound(high)}"
    values = [write(change["old"]), write(change["new"]), format_ratio(change["ratio"])]
    style = _VERDICT_STYLES.get(verdict, "dim")
    return tuple(Text(cell, style=style) for cell in (verdict, label, *values, interval))


def _bound(ratio: float) -> str:
    # An interval of two noisy rounds may have any number of digits.
    return f"{ratio:.2f}" if ratio < 100 else f"{min(ratio, 9999):.0f}{'+' * (ratio > 9999)}"


def _differences(comparison: Mapping[str, Any]) -> Iterator[Text]:
    if not comparison["same_machine"]:
        warning = "DIFFERENT MACHINE: the changes below may come from the machine, not the files."
        yield Text(warning, style="bold red")
    elif comparison["differs"]:
        yield Text("Measured under different conditions:", style="yellow")
    for one in comparison["differs"]:
        old, new = (_format_condition(one[report]) for report in ("old", "new"))
        style = "red" if one["hardware"] else "yellow"
        yield Text(f"  {one['what']}: {old}, now {new}", style=style)


def _format_condition(value: Any) -> str:
    if value in (None, []):
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _comparison_notes(comparison: Mapping[str, Any]) -> Iterator[Text]:
    rows = comparison["rows"]
    counts = Counter(row["verdict"] for row in rows)
    verdicts = ("broken", "worse", "mixed", "better", "same", "unknown")
    listed = ", ".join(f"{counts[verdict]} {verdict}" for verdict in verdicts if counts[verdict])
    yield Text(f"{format_count(len(rows), 'configuration')} compared: {listed}.")
    for report in ("old", "new"):
        if missing := comparison[f"only_{report}"]:
            names = "; ".join(
                f"{row['name']}, {format_setting(row)}, T={row['seq_len']}" for row in missing
            )
            yield Text(f"Only in the {report} report: {names}.")
        if not comparison[report]["complete"]:
            yield Text(f"The {report} report is not complete.", style="yellow")
    if comparison.get("paired"):
        yield Text(
            "Both files were called in turns in the same processes. Lower is better. The latency "
            "changed if the 99% confidence interval of its ratio excludes 1 and the change exceeds "
            "1%. With one round only, the variation is unknown.",
            style="dim",
        )
        return
    changed = sorted({row["name"] for row in rows if not row["same_file"]})
    yield Text(f"Files with changed content: {', '.join(changed) or 'none'}.", style="dim")
    yield Text(
        "Lower is better for all metrics. A metric changed if the 99% confidence interval of its "
        "ratio, from the variation between rounds, excludes 1 and the change exceeds 5% (RAM 2%, "
        "file and instructions 0.1%, error 1%). With one round only, the variation is unknown.",
        style="dim",
    )


def make_table(rows: Sequence[Row], *, title: str) -> Table:
    """Make the table of single measurements; consecutive rows of one name form a section.

    The error is the root mean square of the difference over that of the reference's output; its
    column is left out if no row was verified.
    """
    verified = any(row.verification for row in rows)
    table = _new_table(title)
    table.add_column("", style="bold cyan", no_wrap=True)
    table.add_column("\nlayout", no_wrap=True)
    _add_numbers(table, ("file\nMB", "load\nms", "first\nms", "median\nms", "p90\nms", "RAM\nMB"))
    _add_numbers(table, ("error\n%", "same\nargmax") if verified else ())
    previous = None
    for row in rows:
        if row.name != previous:
            table.add_section()
        cells = [*_measured_cells(row), *_verified_cells(row) * verified]
        table.add_row("" if row.name == previous else row.name, row.layout, *cells)
        previous = row.name
    return table


def _measured_cells(row: Row) -> list[str]:
    one = row.measurement
    times = (one.load_ms, one.first_ms, one.latency_ms, one.percentile_ms(90))
    memory = _megabytes(one.model_bytes("rss"), 1)
    return [_megabytes(one.size_bytes, 2), *(_fixed(time, 1) for time in times), memory]


def _verified_cells(row: Row) -> list[str]:
    if row.verification is None:
        return ["-", "-"]
    error = max(output["error"] for output in row.verification["outputs"].values())
    agreement = row.verification["agreement"]
    return [f"{100 * error:.4f}", "-" if agreement is None else f"{agreement:.0%}"]
