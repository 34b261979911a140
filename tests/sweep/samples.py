"""A plan of a few small trials, of which one fails, and what the tests compare of rows."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.progress import Progress

from albert_edge.sweep.plan import read_plan
from albert_edge.sweep.run import sweep

# Two recipes in two depths, one of which the model does not have, and two trainings.
PLAN = """
model = "model"
dev = "dev.tsv"
train = "train.tsv"

[knobs]
quantize = ["int8", "float16"]
passes = [2, 3]

[search]
trials = 2
at_once = 1
options = {max_length = 32, batch_tokens = 512, epochs = 1}
learning_rate = [1e-3, 1e-2]

[evaluate]
limit = 40

[benchmark]
rounds = 1
runs = 1
warmup = 0
min_time_s = 0.0
seq_lens = [8]
"""


def write_plan(folder: Path, model: Path, table: Path, text: str = PLAN) -> Path:
    """Write the plan, and the files that it names, into a folder."""
    folder.mkdir(exist_ok=True)
    shutil.copytree(model, folder / "model")
    for name in ("dev.tsv", "train.tsv"):
        shutil.copyfile(table, folder / name)
    path = folder / "plan.toml"
    path.write_text(text)
    return path


def run(plan: Path, output: Path, **options: Any) -> dict[str, Any]:
    options = {"measured": False, **options}
    return sweep(read_plan(plan), output, progress=Progress(disable=True), **options)


def comparable(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows without what differs from run to run."""
    rows = [report["baseline"], *report["rows"]]
    other = ("duration_s", "measured", "fronts")
    return [{k: v for k, v in row.items() if k not in other} for row in rows]
