"""A table of formatted cells, as Markdown for the documentation or for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

__all__ = ["NOT_MEASURED", "MarkdownTable", "caption", "cell"]

NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class MarkdownTable:
    """A table with text in the first column and figures in the others."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return a Markdown table; the title heads the first column."""
        rule = ["---", *["---:"] * len(self.headings)]
        lines = ((self.title, *self.headings), rule, *self.rows)
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def rich(self) -> Table:
        """Return the table for a terminal."""
        table = Table(title=self.title, title_justify="left", box=box.SIMPLE_HEAD)
        for index, heading in enumerate(("", *self.headings)):
            table.add_column(heading, justify="right" if index else "left", no_wrap=not index)
        for row in self.rows:
            table.add_row(*row)
        return table


def cell(value: float | None, form: str = ".0f") -> str:
    """Format a figure; None is "not measured"."""
    return NOT_MEASURED if value is None else format(value, form)


def caption(report: Mapping[str, Any]) -> str:
    """Describe the machine and the date, and count the rows with warnings."""
    machine, rows = report["machine"], report["rows"]
    text = f"Random weights, {machine['model']}, {machine['cores']} cores, {report['date']}."
    if doubtful := sum(bool(row["warnings"]) for row in rows):
        codes = sorted({warning["code"] for row in rows for warning in row["warnings"]})
        text += f" {doubtful} of {len(rows)} rows have warnings: {', '.join(codes)}."
    return text
