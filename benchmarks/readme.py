"""Write the README's table from the newest report in reference/.

\b
python -m benchmarks.readme            rewrite the table in README.md
python -m benchmarks.readme --check    exit with 1 if it is not what the report says
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parents[1]
README, REFERENCE = ROOT / "README.md", ROOT / "benchmarks" / "reference"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
SHOWN = [("int8", "loop"), ("int8", "stock"), ("float32", "loop"), ("float32", "stock")]
NAMES = {"loop": "albert_edge, `loop`", "stock": "stock TFLite converter"}


def newest(kind: str) -> dict[str, Any]:
    """Read the newest report of a kind; their names end in the date."""
    paths = sorted(REFERENCE.glob(f"{kind}-*.json"), key=lambda path: path.stem[-10:])
    report: dict[str, Any] = json.loads(paths[-1].read_text(encoding="utf-8"))
    return report


def make_table() -> str:
    """Make the table of ALBERT-base's shape, beside the stock converter's graph."""
    report = newest("base_shape")
    rows = {(row["name"], row["layout"]): row for row in report["rows"]}
    lines = [
        "| ALBERT-base shape, 128 tokens | file MB | RAM MB | load + first ms | median ms |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for key in SHOWN:
        row = rows[key]
        cells = (
            f"{row['size_bytes'] / 1e6:.1f}",
            f"{row['model_rss_bytes'] / 1e6:.0f}",
            f"{row['load_ms'] + row['first_ms']:.0f}",
            f"{row['latency_ms']:.0f}",
        )
        lines.append(f"| `{key[0]}`, {NAMES[key[1]]} | {' | '.join(cells)} |")
    machine = report["machine"]
    where = (
        f"Random weights, classification head, one thread of {machine['model']}, LiteRT, "
        f"{report['date']}; RAM is over the empty process. Conversion takes "
        f"{report['conversion']['median_s']:.0f} s. `python -m benchmarks.base_shape` repeats it."
    )
    return "\n".join([*lines, "", where, ""])


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if it is out of date.")
def main(check: bool) -> None:
    """Replace what stands between the two marks."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    new = f"{before}{BEGIN}{make_table()}{END}{after}"
    if not check:
        README.write_text(new, encoding="utf-8")
    elif new != text:
        sys.exit("README.md is out of date; run: python -m benchmarks.readme")


if __name__ == "__main__":
    main()
