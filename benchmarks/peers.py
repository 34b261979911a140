"""Measure the same ALBERT-base, with random weights, in other runtimes: files, memory, latency.

\b
python -m benchmarks.peers                    measure, write reference/*.json, check
python -m benchmarks.peers --only albert_edge --only onnxruntime/int8 --rounds 1 -o /tmp
python -m benchmarks.peers --make-only        make environments and files, then stop
python -m benchmarks.peers --check FILE       check an existing report

Every peer has its own environment, which pip fills on the first run (8 GB, some minutes each);
making the files takes half an hour. The folder of --work keeps both.
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
from albert_edge.benchmark.outputs import Outputs
from albert_edge.benchmark.report_file import report_header, save_dated_report
from albert_edge.benchmark.statistics import rank
from albert_edge.benchmark.system import describe_machine
from benchmarks.runtimes.environments import Workspace
from benchmarks.runtimes.interleaved_runs import PeerRun, bare_rss_bytes, run_interleaved
from benchmarks.runtimes.peers import ENVIRONMENTS, OURS, Peer, choose
from benchmarks.thresholds import print_thresholds

REFERENCE = Path(__file__).parent / "reference"
WORK = Path("~/.cache/albert_edge/peers").expanduser()
PROBES = 4  # further inputs, compared but not timed
LOG = Console(stderr=True)
LOG.width = max(LOG.width, 100)  # the width of the table
MEANINGS = (
    "RAM: resident when warm, less the same process with the runtime imported and no model "
    "open. All RAM: the same, less CPython with NumPy. Error: the root mean square of the "
    "difference from the Keras model's logits, over that of the logits."
)


def prepare(runs: list[PeerRun], workspace: Workspace) -> None:
    """Make every environment and file; a run that fails records its error."""

    def make(run: PeerRun) -> None:
        run.python = workspace.python(run.peer.name)
        run.path = workspace.file(run.peer, run.seq_len)
        if run.python not in bare:
            bare[run.python] = bare_rss_bytes(run.python)
        run.bare_rss_bytes = bare[run.python]

    bare: dict[str, int | None] = {}
    for run in runs:
        LOG.print(f"making {run.label}", style="dim", highlight=False)
        run.try_to(lambda run=run: make(run))
        if run.error:
            LOG.print(Text(run.error["message"], style="red"))


def run_reference(checkpoint: Path, ids: list[list[int]]) -> list[Outputs]:
    """Run rows of ids in the float32 Keras model."""
    model = albert_edge.load_keras(checkpoint, task="classification")
    rows = [np.array([row], np.int32) for row in ids]
    given = [{"input_ids": row, "token_type_ids": np.zeros_like(row)} for row in rows]
    return [{"logits": np.asarray(model(one)["logits"])} for one in given]


def measure_peers(
    peers: list[Peer], seq_lens: tuple[int, ...], workspace: Workspace, **limits: Any
) -> dict[str, Any]:
    """Make and measure everything; return the JSON document."""
    runs = [PeerRun(peer, seq_len) for seq_len in seq_lens for peer in peers]
    prepare(runs, workspace)
    rng = np.random.default_rng(20)
    ids = {n: rng.integers(5, 30000, (1 + PROBES, n)).tolist() for n in seq_lens}
    want = {n: run_reference(workspace.checkpoint, rows) for n, rows in ids.items()}
    with LOG.status("Measuring") as status:
        minutes = run_interleaved(
            runs, ids, want, **limits, on_run=lambda label: status.update(f"Measuring {label}")
        )
    rows = [run.to_row() for run in runs]
    rank(rows)
    names = {peer.name for peer in peers}
    return {
        **report_header("peers", describe_machine()),
        "complete": True,
        "model": "ALBERT-base's shape, 2 labels, random weights from a fixed seed",
        "environments": {k: list(v) for k, v in ENVIRONMENTS.items() if k in names},
        "measured_minutes": minutes,
        "rows": rows,
    }


def make_table(report: dict[str, Any]) -> Table:
    """Make the table by length: the fastest first, then the wrong, then the failed."""
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
    """Print the thresholds: our `int8` over the best dynamic int8 of ONNX Runtime."""
    right = [row for row in report["rows"] if row["status"] == "ok" and row["seq_len"] == 128]
    ours = [row for row in right if (row["name"], row["recipe"]) == (OURS, "int8")]
    others = [r for r in right if r["name"] == "onnxruntime" and r["recipe"].startswith("int8")]
    thresholds = []
    figures = (("latency_ms", 0.75), ("cpu_ms", 0.75), ("model_rss_bytes", 0.75))
    for figure, limit in (*figures, ("load_and_first_ms", 0.5)):
        best = min((row[figure] for row in others), default=np.nan)
        value = ours[0][figure] / best if ours else np.nan
        thresholds.append((f"int8 over ONNX Runtime's best int8: {figure}", value, "≤", limit))
    return print_thresholds(thresholds)


@click.command(help=__doc__)
@click.option("--only", multiple=True, help="A peer, or peer/recipe; may be repeated.")
@click.option("--seq-len", "seq_lens", multiple=True, default=(128, 32), help="T, may be repeated.")
@click.option("--rounds", default=5, type=click.IntRange(1), help="Rounds of measurement.")
@click.option("--minutes", default=16.0, help="Start no round that would end later.")
@click.option(
    "--work", default=WORK, type=click.Path(path_type=Path), help="Environments and files."
)
@click.option("--make-only", is_flag=True, help="Make, but do not measure.")
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
    """Measure unless `stored` is given; exit with 1 if a threshold is missed."""
    try:
        peers = choose(only)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if stored is not None:
        report = json.loads(stored.read_text(encoding="utf-8"))
    else:
        # Keep compiled code, so that only the first process compiles.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(work.resolve() / "inductor")
        workspace = Workspace(work.resolve())
        if make_only:
            prepare([PeerRun(peer, n) for n in seq_lens for peer in peers], workspace)
            return
        report = measure_peers(peers, seq_lens, workspace, rounds=rounds, minutes=minutes)
        LOG.print("Wrote", save_dated_report(report, output))
    LOG.print(make_table(report))
    sys.exit(not check(report))


if __name__ == "__main__":
    main()
