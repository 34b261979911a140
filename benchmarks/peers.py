"""The same ALBERT-base, random weights, in other people's runtimes: files, memory, latency.

\b
python -m benchmarks.peers                    measure, write reference/*.json, check
python -m benchmarks.peers --only albert_edge --only onnxruntime/int8 --rounds 1 -o /tmp
python -m benchmarks.peers --make-only        make environments and files, and stop there
python -m benchmarks.peers --check FILE       check what was measured before

Every peer has an environment of its own, which pip fills on the first run (8 GB, some minutes for
each); making the files takes half an hour. Both are kept in the folder of --work.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

import albert_edge
from albert_edge.benchmark.console import write_document
from albert_edge.benchmark.outputs import Outputs
from albert_edge.benchmark.report_file import begin_document
from albert_edge.benchmark.statistics import rank
from albert_edge.benchmark.system import describe_machine
from benchmarks.bars import print_bars
from benchmarks.runtimes.catalogue import ENVIRONMENTS, OURS, Peer, choose
from benchmarks.runtimes.turns import Turn, bare_rss_bytes, take_turns
from benchmarks.runtimes.workshop import Workshop

REFERENCE = Path(__file__).parent / "reference"
WORK = Path("~/.cache/albert_edge/peers").expanduser()
PROBES = 4  # further inputs that are compared, not timed
LOG = Console(stderr=True)
LOG.width = max(LOG.width, 100)  # the table's
MEANINGS = (
    "RAM: resident when warm, over the same process before the model was opened, "
    "its runtime imported. All RAM: the same over CPython with NumPy. Error: the root mean square "
    "of the difference from the Keras model's logits, over that of the logits."
)


def prepare(turns: list[Turn], workshop: Workshop) -> None:
    """Make every environment and file; a turn whose own cannot be made notes why."""

    def make(turn: Turn) -> None:
        turn.python = workshop.python(turn.peer.name)
        turn.path = workshop.file(turn.peer, turn.seq_len)
        if turn.python not in bare:
            bare[turn.python] = bare_rss_bytes(turn.python)
        turn.bare_rss_bytes = bare[turn.python]

    bare: dict[str, int | None] = {}
    for turn in turns:
        LOG.print(f"making {turn.label}", style="dim", highlight=False)
        turn.try_to(lambda turn=turn: make(turn))
        if turn.error:
            LOG.print(Text(turn.error["message"], style="red"))


def answer(checkpoint: Path, ids: list[list[int]]) -> list[Outputs]:
    """Answer rows of ids with the Keras model, in float32."""
    model = albert_edge.load_keras(checkpoint, task="classification")
    rows = [np.array([row], np.int32) for row in ids]
    given = [{"input_ids": row, "token_type_ids": np.zeros_like(row)} for row in rows]
    return [{"logits": np.asarray(model(one)["logits"])} for one in given]


def measure_peers(
    peers: list[Peer], seq_lens: tuple[int, ...], workshop: Workshop, **limits: Any
) -> dict[str, Any]:
    """Make and measure everything; return the JSON document."""
    turns = [Turn(peer, seq_len) for seq_len in seq_lens for peer in peers]
    prepare(turns, workshop)
    rng = np.random.default_rng(20)
    ids = {n: rng.integers(5, 30000, (1 + PROBES, n)).tolist() for n in seq_lens}
    want = {n: answer(workshop.checkpoint, rows) for n, rows in ids.items()}
    with LOG.status("Measuring") as status:
        minutes = take_turns(
            turns, ids, want, **limits, on_turn=lambda label: status.update(f"Measuring {label}")
        )
    rows = [turn.to_row() for turn in turns]
    rank(rows)
    names = {peer.name for peer in peers}
    return {
        **begin_document("peers", describe_machine()),
        "complete": True,
        "model": "ALBERT-base's shape, 2 labels, random weights from a fixed seed",
        "environments": {k: list(v) for k, v in ENVIRONMENTS.items() if k in names},
        "measured_minutes": minutes,
        "rows": rows,
    }


def make_table(report: dict[str, Any]) -> Table:
    """Make the table, the fastest of each length first, then the wrong, then the failed."""
    title = f"ALBERT-base shape, random weights, 1 thread, {report['machine']['model']}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.caption, table.caption_justify = MEANINGS, "left"
    table.add_column("\n#", justify="right")
    table.add_column("", no_wrap=True)
    headings = ("file\nMB", "load\nms", "first\nms", "both\nms", "median\nms", "p90\nms", "min\nms")
    for heading in (*headings, "RAM\nMB", "all\nRAM", "error\n%"):
        table.add_column(heading, justify="right", no_wrap=True)
    rows = sorted(report["rows"], key=lambda row: (-row["seq_len"], row["rank"] or np.inf))
    for index, row in enumerate(rows):
        if index == 0 or rows[index - 1]["seq_len"] != row["seq_len"]:
            table.add_section()
            table.add_row("", Text(f"{row['seq_len']} tokens", style="bold"))
        name = Text(f"{row['name']} {row['recipe']}", style="green" if row["name"] == OURS else "")
        if row["status"] != "ok":
            name = Text(f"{row['status'].upper()} ", style="bold red") + name
        table.add_row(str(row["rank"] or ""), name, *_cells(row))
    return table


def _cells(row: dict[str, Any]) -> list[str]:
    if "latency_ms" not in row:
        return []
    times = ("load_ms", "first_ms", "load_and_first_ms")
    times += ("latency_ms", "latency_p90_ms", "latency_min_ms")
    memory = [row[f"{which}_rss_bytes"] for which in ("model", "process")]
    error = row["fidelity"]["outputs"]["logits"]["error"]
    return [
        f"{row['size_bytes'] / 1e6:.1f}",
        *(f"{row[name]:.0f}" for name in times),
        *("-" if one is None else f"{one / 1e6:.0f}" for one in memory),
        "-" if error is None else f"{error:.2%}"[:-1],
    ]


def check(report: dict[str, Any]) -> bool:
    """Print the bars: `int8` against the best of ONNX Runtime's dynamic int8, for each figure."""
    right = [row for row in report["rows"] if row["status"] == "ok" and row["seq_len"] == 128]
    ours = [row for row in right if (row["name"], row["recipe"]) == (OURS, "int8")]
    others = [r for r in right if r["name"] == "onnxruntime" and r["recipe"].startswith("int8")]
    bars = []
    figures = (("latency_ms", 0.75), ("cpu_ms", 0.75), ("model_rss_bytes", 0.75))
    for figure, limit in (*figures, ("load_and_first_ms", 0.5)):
        best = min((row[figure] for row in others), default=np.nan)
        value = ours[0][figure] / best if ours else np.nan
        bars.append((f"int8 over ONNX Runtime's best int8: {figure}", value, "≤", limit))
    return print_bars(bars)


@click.command(help=__doc__)
@click.option("--only", multiple=True, help="A peer, or peer/recipe; may be repeated.")
@click.option("--seq-len", "seq_lens", multiple=True, default=(128, 32), help="T, may be repeated.")
@click.option("--rounds", default=5, type=click.IntRange(1), help="How often all take turns.")
@click.option("--minutes", default=16.0, help="Begin no round that would end after so many.")
@click.option("--work", default=WORK, type=click.Path(path_type=Path), help="What is kept.")
@click.option("--make-only", is_flag=True, help="Measure nothing.")
@click.option("-o", "--output", default=REFERENCE, type=click.Path(path_type=Path, exists=True))
@click.option("--check", "stored", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def main(
    only: tuple[str, ...],
    seq_lens: tuple[int, ...],
    rounds: int,
    minutes: float,
    work: Path,
    make_only: bool,
    output: Path,
    stored: Path | None,
) -> None:
    """Measure unless `stored` holds figures; exit with 1 if a bar is missed."""
    try:
        peers = choose(only)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if stored is not None:
        report = json.loads(stored.read_text(encoding="utf-8"))
    else:
        # Compiled code outlives the process, or each round would compile again.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(work.resolve() / "inductor")
        workshop = Workshop(work.resolve())
        if make_only:
            prepare([Turn(peer, n) for n in seq_lens for peer in peers], workshop)
            return
        report = measure_peers(peers, seq_lens, workshop, rounds=rounds, minutes=minutes)
        LOG.print("Wrote", write_document(report, output))
    LOG.print(make_table(report))
    sys.exit(not check(report))


if __name__ == "__main__":
    main()
