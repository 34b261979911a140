"""A table of finished cells, as Markdown for the README and as lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

__all__ = ["NOT_MEASURED", "Cells", "caption", "cell"]

NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Cells:
    """A table; the first column is text, the others are figures."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return the lines of a Markdown table; the title stands above the first column."""
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
    """Write a figure, or that there is none."""
    return NOT_MEASURED if value is None else format(value, form)


def caption(report: Mapping[str, Any]) -> str:
    """Say on what and when, and how many of the rows are in doubt."""
    machine, rows = report["machine"], report["rows"]
    text = f"Random weights, {machine['model']}, {machine['cores']} cores, {report['date']}."
    if doubtful := sum(bool(row["warnings"]) for row in rows):
        codes = sorted({warning["code"] for row in rows for warning in row["warnings"]})
        text += f" {doubtful} of {len(rows)} rows are in doubt: {', '.join(codes)}."
    return text
