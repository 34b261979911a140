"""The report of a sweep: its rows with what was measured, those on a Pareto front, and its page."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from albert_edge.benchmark.format import format_count, format_metric
from albert_edge.benchmark.html import page_of
from albert_edge.benchmark.html.elements import Element, bdi, element, scrollable
from albert_edge.benchmark.html.tradeoffs import File, charts_and_table, pareto_front
from albert_edge.benchmark.statistics import inference_cost
from albert_edge.sweep.plan import Plan
from albert_edge.sweep.search import LOWER_IS_BETTER

__all__ = ["render_report"]

SCHEMA = "albert_edge.sweep/1"
# What a front weighs against the metric → its heading in tables.
COSTS = {"size_bytes": "file, MB", "model_rss_bytes": "RAM, MB", "latency": "median, ms"}
_MEASURED = ("latency_ms", "latency_p90_ms", "model_rss_bytes", "instructions_inference")


def make_report(
    plan: Plan,
    digests: Mapping[str, str],
    baseline: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    figures: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Make the report.

    Args:
        plan: The plan.
        digests: Those of its parts.
        baseline: The row of the float32 file.
        rows: Those of the trials.
        figures: The report of `benchmark` on their files; None if they are not measured.

    Returns:
        `schema`, `date`, `plan`, `digests`, `device`, `machine`, `measured` (whether latency and
        RAM are known), `baseline`, `rows` (see `run_trial`; with `file.path`, `measured`: None or
        the figures of the file, and `fronts`: those of `COSTS` on whose Pareto front, weighed
        against the metric, the row is), and `fronts`, the names of the rows on each.
    """
    measured = _by_name(figures)
    merged = [{**row, "measured": measured.get(row["trial"])} for row in (baseline, *rows)]
    fronts = {cost: front for cost in COSTS if (front := list(_front(merged, cost)))}
    for row in merged:
        row["fronts"] = [cost for cost, front in fronts.items() if row["trial"] in front]
    return {
        "schema": SCHEMA,
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "plan": plan.to_dict(),
        "digests": dict(digests),
        "device": figures and figures["device"],
        "machine": figures and figures["machine"],
        "measured": figures is not None,
        "baseline": merged[0],
        "rows": merged[1:],
        "fronts": fronts,
    }


def _by_name(figures: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return the figures of every file in its first setting, by its name."""
    found: dict[str, dict[str, Any]] = {}
    for row in (figures or {"rows": []})["rows"]:
        values = {name: row.get(name) for name in _MEASURED}
        setting = {name: row[name] for name in ("accelerator", "threads", "seq_len", "status")}
        warnings = [warning["code"] for warning in row["warnings"]]
        # On this CPU the dev set says that a file is right.  The comparison is with kernels that
        # compute some 4-bit weights wrong, where the files have no float32 one of its checkpoint.
        here = (figures or {})["device"] == "local" and row["accelerator"] == "cpu"
        right = row["status"] == "ok" or (here and row["status"] == "wrong")
        entry = {**setting, **values, "right": right, "warnings": warnings, "error": row["error"]}
        found.setdefault(row["name"], entry)
    return found


def error_of(row: Mapping[str, Any]) -> float | None:
    """Return what a front keeps low: 1 less the metric, or a metric of which lower is better.

    Example:
        >>> error_of({"error": None, "metric": "accuracy", "value": 0.75})
        0.25
    """
    if row["error"] is not None or row["value"] is None:
        return None
    return float(row["value"] if row["metric"] in LOWER_IS_BETTER else 1 - row["value"])


def cost_of(row: Mapping[str, Any], cost: str) -> float | None:
    """Return a cost of a row in the unit of `COSTS`; None if it is not known.

    Example:
        >>> cost_of({"error": None, "measured": None, "file": {"size_bytes": 3_000_000}},
        ...         "size_bytes")
        3.0
    """
    if row["error"] is not None:
        return None
    if cost == "size_bytes":
        return float(row["file"]["size_bytes"]) / 1e6
    measured = row["measured"]
    if measured is None or not measured["right"]:
        return None
    if cost == "latency":
        return inference_cost(measured)
    return None if measured[cost] is None else float(measured[cost]) / 1e6


def _front(rows: Sequence[Mapping[str, Any]], cost: str) -> Iterator[str]:
    """Yield the names of the rows that no other is better than in both."""
    points = {row["trial"]: (cost_of(row, cost), error_of(row)) for row in rows}
    known: Any = {name: point for name, point in points.items() if None not in point}
    front = pareto_front(list(known.values()))
    yield from (name for name, point in known.items() if point in front)


def sort_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the baseline and the rows, the best metric first, those that failed last."""
    rows = [report["baseline"], *report["rows"]]
    keyed = [(error_of(row), row) for row in rows]
    return [row for _, row in sorted(keyed, key=lambda one: (one[0] is None, one[0] or 0.0))]


def describe_knobs(report: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Return the values of those knobs of a row that differ between rows.

    Example:
        >>> rows = [{"trial": "1", "knobs": {"quantize": "int8", "passes": 6}},
        ...         {"trial": "2", "knobs": {"quantize": "int4", "passes": 6}}]
        >>> describe_knobs({"rows": rows}, rows[1])
        'int4'
    """
    if row["trial"] == "float32":
        return "float32, as it is"
    parts = []
    for name, value in row["knobs"].items():
        all_values = [other["knobs"].get(name) for other in report["rows"]]
        if any(other != value for other in all_values):
            parts.append(_describe(name, value, all_values))
    return ", ".join(filter(None, parts)) or row["knobs"]["quantize"]


def _describe(name: str, value: Any, all_values: Sequence[Any]) -> str:
    if name == "quantize":
        return str(value)
    if name == "keep":
        return f"keep {' '.join(value)}" if value else ""
    if value is False or value is None or value == "all":
        return ""
    if not isinstance(value, dict):
        return f"{name} {value}"
    tables = [one for one in all_values if isinstance(one, dict)]
    told = {key: one for key, one in value.items() if any(t.get(key) != one for t in tables)}
    method = value.get("with", "")
    options = " ".join(f"{key}={one}" for key, one in told.items() if key != "with")
    return " ".join(filter(None, (name, method, options)))


# The table of the terminal.


def render_report(report: Mapping[str, Any]) -> Iterator[Any]:
    """Render a report: the best metric first, and what failed last."""
    table = Table("trial", "knobs", title=f"{report['plan']['model']} on {report['plan']['dev']}")
    for name in (report["baseline"]["metric"], "95%", "loss (95%)", *COSTS.values(), "front"):
        table.add_column(name.replace(", ", "\n"), justify="right")
    for row in sort_rows(report):
        cells = ["failed", *[""] * (2 + len(COSTS))]
        if row["error"] is None:
            cells = [*metric_cells(row), *(format_metric(cost_of(row, name)) for name in COSTS)]
        fronts = [COSTS[name].partition(",")[0] for name in row["fronts"]]
        table.add_row(row["trial"], describe_knobs(report, row), *cells, " ".join(fronts))
    yield table
    yield f"  {report['output']}/report.html shows the fronts; files/ beside it has the files."


def metric_cells(row: Mapping[str, Any]) -> list[str]:
    """Return the metric of a row, its interval, and its loss, as text."""
    scale, digits = (100, ".1f") if row["share"] else (1, ".4f")
    value, low, high = (
        "-" if row[name] is None else format(scale * row[name], digits)
        for name in ("value", "low", "high")
    )
    ends: list[Any]
    loss, ends = "-", [(row["loss"] or {}).get(name) for name in ("value", "low", "high")]
    if None not in ends:
        one, least, most = (format(scale * end, f"+{digits}") for end in ends)
        loss = f"{one} ({least} to {most})"
    return [value, f"{low} to {high}", loss]


# The page.

_NOTE = (
    "Lower left is better. No file is better in both than a file on the line, the Pareto front. "
    "The error is 1 less the metric on the dev set, or a metric of which lower is better."
)


def render_page(report: Mapping[str, Any]) -> str:
    """Render the page of a report of `make_report`, which loads nothing else."""
    rows = sort_rows(report)
    known = [row for row in rows if error_of(row) is not None]
    metric = report["baseline"]["metric"]
    header = element(
        "header",
        element("p", "albert-edge sweep", class_="kind"),
        element("h1", bdi(str(report["plan"]["model"]))),
        element("p", " · ".join(_facts(report)), class_="note"),
    )
    sections = [_fronts(report, known), _table(report, rows, metric), *_failures(report)]
    return page_of(f"albert-edge sweep, {report['date']}", header, element("main", *sections))


def _facts(report: Mapping[str, Any]) -> Iterator[str]:
    rows = report["rows"]
    failed = sum(row["error"] is not None for row in rows)
    yield format_count(len(rows), "trial") + (f", {failed} failed" if failed else "")
    yield format_count(report["baseline"]["examples"], "example")
    if report["measured"]:
        yield f"measured on {report['device']}: {report['machine']['model']}"
    yield report["date"]


def _fronts(report: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Element:
    costs = [name for name in COSTS if any(cost_of(row, name) is not None for row in rows)]
    files = [
        File(
            series=number,
            label=f"{row['trial']}: {describe_knobs(report, row)}",
            wrong=False,
            error=error_of(row),
            costs=tuple(cost_of(row, name) for name in costs),
        )
        for number, row in enumerate(rows)
    ]
    names = [COSTS[name] for name in costs]
    return element(
        "section",
        element("h2", "Fronts"),
        element("p", _NOTE, class_="note"),
        *charts_and_table(names, files),
    )


def _table(report: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], metric: str) -> Element:
    heads = ("trial", "knobs", metric, "95%", "loss against float32", *COSTS.values(), "SHA-256")
    columns = [element("th", name, scope="col") for name in heads]
    body = [_row(report, row) for row in rows if row["error"] is None]
    table = element("table", element("thead", element("tr", *columns)), element("tbody", *body))
    heading = element("h2", "All files")
    return element("section", heading, scrollable(table, name="All files"))


def _row(report: Mapping[str, Any], row: Mapping[str, Any]) -> Element:
    cells = [*metric_cells(row), *(format_metric(cost_of(row, name)) for name in COSTS)]
    return element(
        "tr",
        element("th", row["trial"], scope="row"),
        element("td", bdi(describe_knobs(report, row))),
        *(element("td", cell, class_="number") for cell in cells),
        element("td", element("code", row["file"]["sha256"]), class_="hash"),
    )


def _failures(report: Mapping[str, Any]) -> Iterator[Element]:
    failed = [row for row in report["rows"] if row["error"] is not None]
    if not failed:
        return
    lines = [
        element(
            "p",
            element("b", f"{row['trial']} "),
            bdi(describe_knobs(report, row)),
            element("br"),
            element("code", f"{row['error']['type']}: {row['error']['message']}"),
        )
        for row in failed
    ]
    yield element("section", element("h2", "Failed"), *lines, class_="apart")
