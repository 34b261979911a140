"""Measure the same ALBERT-base, with random weights, in other runtimes: files, memory, latency.

\b
python -m benchmarks.peers                    measure, write reference/*.json, check
python -m benchmarks.peers --only albert_edge --only onnxruntime/int8 --rounds 1 -o /tmp
python -m benchmarks.peers --sentences sentiment/dev.tsv    also the lengths of real sentences
python -m benchmarks.peers --make-only        make environments and files, then stop
python -m benchmarks.peers --check FILE       check an existing report

Every peer has its own environment, which pip fills on the first run (8 GB, some minutes each);
making the files takes half an hour. The folder of --work keeps both.  A ratio is the median of
those of the rounds, with the 95% interval of Wilcoxon's signed ranks; its upper end must be below
the bar.  A peer whose error is above 6% is listed, but its time is not a bar.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

import albert_edge
from albert_edge.benchmark.compare import signed_ranks
from albert_edge.benchmark.outputs import Outputs
from albert_edge.benchmark.report_file import report_header, save_dated_report
from albert_edge.benchmark.statistics import rank
from albert_edge.benchmark.system import INT8_DOTS, describe_machine
from albert_edge.datasets.tables import read_table
from albert_edge.tokenizer import load_tokenizer
from benchmarks import amx
from benchmarks.lengths import stratify
from benchmarks.runtimes.environments import OUR_COMMAND, Workspace
from benchmarks.runtimes.interleaved_runs import (
    Condition,
    PeerRun,
    bare_rss_bytes,
    run_interleaved,
)
from benchmarks.runtimes.peers import ENVIRONMENTS, OURS, PEERS, Peer, choose

REFERENCE = Path(__file__).parent / "reference"
WORK = Path("~/.cache/albert_edge/peers").expanduser()
SENTENCES = 32  # of --sentences
MOST_ERROR = 0.06  # of a peer that counts
IMPORT = "import numpy, ai_edge_litert.interpreter"
LOG = Console(stderr=True)
LOG.width = max(LOG.width, 100)  # the width of the table
MEANINGS = (
    "RAM: resident when warm, less the same process with the runtime imported and no model "
    "open. All RAM: the same, less CPython with NumPy. Error: the root mean square of the "
    "difference from the Keras model's logits, over that of the logits."
)


def make_conditions(
    seq_lens: tuple[int, ...], threads: tuple[int, ...], sentences: str | None
) -> list[Condition]:
    """Return what to measure: every length, and sentences; the first length also on more threads
    and, where there is AMX, as without it.
    """
    made = [Condition((length,)) for length in seq_lens]
    if sentences is not None:
        texts = [row.values["text"] for row in read_table(sentences, {"text": ("sentence",)})]
        tokenizer = load_tokenizer("default")
        lengths = np.array([len(tokenizer.encode(text).input_ids) for text in texts])
        made.append(Condition(tuple(stratify(lengths, SENTENCES))))
    made += [Condition(seq_lens[:1], threads=count) for count in threads if count > 1]
    made += [Condition(seq_lens[:1], without="amx")] if amx.present() else []
    return made


def make_runs(peers: list[Peer], conditions: list[Condition]) -> list[PeerRun]:
    """Return each peer under each condition; texts of many lengths need a file for all."""
    return [
        PeerRun(peer, condition)
        for condition in conditions
        for peer in peers
        if condition.seq_len is not None or peer.can_be_free
    ]


def prepare(runs: list[PeerRun], workspace: Workspace) -> None:
    """Make every environment and file; a run that fails records its error."""

    def make(run: PeerRun) -> None:
        run.python = workspace.python(run.peer.name)
        run.path = workspace.file(run.peer, run.condition.seq_len)
        if run.python not in bare:
            bare[run.python] = bare_rss_bytes(run.python)
        run.bare_rss_bytes = bare[run.python]

    bare: dict[str, int | None] = {}
    for run in runs:
        LOG.print(f"making {run.label}", style="dim", highlight=False)
        run.try_to(lambda run=run: make(run))
        if run.error:
            LOG.print(Text(run.error["message"], style="red"))


def run_reference(checkpoint: Path, texts: list[list[Any]]) -> list[Outputs]:
    """Run texts in the float32 Keras model; those of a list give the rows of one output."""
    model = albert_edge.load_keras(checkpoint, task="classification")

    def logits(ids: Any) -> Any:
        return np.asarray(
            model({"input_ids": ids[None], "token_type_ids": np.zeros_like(ids)[None]})["logits"]
        )

    return [{"logits": np.concatenate([logits(ids) for ids in several])} for several in texts]


def measure_peers(
    peers: list[Peer], conditions: list[Condition], workspace: Workspace, **limits: Any
) -> dict[str, Any]:
    """Make and measure everything; return the JSON document."""
    runs = make_runs(peers, conditions)
    prepare(runs, workspace)
    want = {one: run_reference(workspace.checkpoint, one.texts) for one in conditions}
    with LOG.status("Measuring") as status:
        minutes = run_interleaved(
            runs, want, **limits, on_run=lambda label: status.update(f"Measuring {label}")
        )
        status.update("Measuring the command line")
        start_up = measure_start_up(limits["rounds"])
    rows = [run.to_row() for run in runs]
    for condition in conditions:
        rank([row for row in rows if row["condition"] == condition.name])
    names = {peer.name for peer in peers}
    return {
        **report_header("peers", describe_machine()),
        "complete": True,
        "model": "ALBERT-base's shape, 2 labels, random weights from a fixed seed",
        "environments": {k: list(v) for k, v in ENVIRONMENTS.items() if k in names},
        "measured_minutes": minutes,
        "conditions": [one.name for one in conditions],
        "start_up": start_up,
        "rows": rows,
    }


def measure_start_up(rounds: int) -> list[dict[str, float]]:
    """Time `albert-edge run default` and a process that only imports the runtime, in turns."""
    commands = {
        "run_ms": [OUR_COMMAND, "run", "default", "A quiet film that stays with you."],
        "import_ms": [sys.executable, "-c", IMPORT],
    }

    def time_ms(command: list[str]) -> float:
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return (time.perf_counter() - start) * 1e3

    return [{name: time_ms(one) for name, one in commands.items()} for _ in range(rounds + 1)][1:]


def make_table(report: dict[str, Any]) -> Table:
    """Make the table by condition: the fastest first, then the wrong, then the failed."""
    title = f"ALBERT-base shape, random weights, {report['machine']['model']}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.caption, table.caption_justify = MEANINGS, "left"
    table.add_column("\n#", justify="right")
    table.add_column("", no_wrap=True)
    headings = ("file\nMB", "load\nms", "first\nms", "both\nms", "median\nms", "p90\nms", "min\nms")
    for heading in (*headings, "RAM\nMB", "all\nRAM", "error\n%"):
        table.add_column(heading, justify="right", no_wrap=True)
    order = {name: index for index, name in enumerate(report["conditions"])}
    rows = sorted(report["rows"], key=lambda row: (order[row["condition"]], row["rank"] or np.inf))
    for index, row in enumerate(rows):
        if index == 0 or rows[index - 1]["condition"] != row["condition"]:
            table.add_section()
            table.add_row("", Text(row["condition"], style="bold"))
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


def paired_ratio(ours: list[float], others: list[float]) -> tuple[float, float, float]:
    """Return the median ratio of rounds that were taken together, and its 95% interval."""
    return signed_ranks(others, ours, z=1.96)


def counted(report: dict[str, Any], condition: str, recipes: tuple[str, ...]) -> list[Any]:
    """Return the rows of other runtimes whose error is low enough, of some recipes' precision."""
    precisions = {peer.key: peer.precision for peer in PEERS}
    return [
        row
        for row in report["rows"]
        if row["condition"] == condition
        and row["name"] != OURS
        and "latency_ms" in row
        and precisions[f"{row['name']}/{row['recipe']}"] in recipes
        and (row["fidelity"]["outputs"]["logits"]["error"] or np.inf) <= MOST_ERROR
    ]


FIGURES = {
    "latency_ms": "latency",
    "process_rss_bytes": "RAM, over a bare process",
    "process_peak_bytes": "peak RAM, over a bare process",
    "model_rss_bytes": "RAM, over the imported runtime",
    "model_peak_bytes": "peak RAM, over the imported runtime",
    "load_and_first_ms": "load and first inference",
}
INT8, FLOAT32 = ("int8", "int8-full"), ("float32",)  # ours is the first


def compare(
    report: dict[str, Any],
) -> Iterator[tuple[tuple[str, str], float, tuple[float, float, float]]]:
    """Yield what is compared with what, the bar, and our ratio with its interval."""
    rows = {(row["condition"], row["recipe"]): row for row in report["rows"] if row["name"] == OURS}
    # With texts of any length only others' float32 may be right enough to count.
    texts = [
        (name, (*INT8, *FLOAT32), "latency_ms", 0.90)
        for name in report["conditions"]
        if "texts" in name
    ]
    has_dots = INT8_DOTS & set(report["machine"]["instructions"])
    with_dots = [
        ("128 tokens", INT8, "latency_ms", 0.97),
        ("32 tokens", INT8, "latency_ms", 0.95),
    ]
    # Else a product of int8 is as slow as one of float32; then stock TensorFlow is the rival.
    without = [("128 tokens", INT8, "latency_ms", 0.90, "tensorflow int8")]
    bars: list[tuple[Any, ...]] = [
        *(with_dots if has_dots else without),
        *texts,
        ("128 tokens", FLOAT32, "latency_ms", 1.05),
        ("128 tokens, 2 threads", INT8, "latency_ms", 1.0),
        ("128 tokens", INT8, "process_rss_bytes", 0.60),
        ("128 tokens", INT8, "process_peak_bytes", 0.60),
        ("128 tokens", INT8, "model_rss_bytes", 0.45),
        ("128 tokens", INT8, "model_peak_bytes", 0.45),
        ("128 tokens", INT8, "load_and_first_ms", 0.50 if has_dots else 0.80),
    ]
    for condition, recipes, figure, bar, *rivals in bars:
        ours = rows.get((condition, recipes[0]), {})
        others = {
            f"{row['name']} {row['recipe']}": [one[figure] for one in row["rounds"]]
            for row in counted(report, condition, recipes)
        }
        if "rounds" not in ours or not others:
            continue
        best = min(
            [name for name in rivals if name in others] or others,
            key=lambda name: float(np.median(others[name])),
        )
        ratio = paired_ratio([one[figure] for one in ours["rounds"]], others[best])
        yield (f"{recipes[0]}, {condition}: {FIGURES[figure]}", best), bar, ratio
    run, imported = ([one[name] for one in report["start_up"]] for name in ("run_ms", "import_ms"))
    yield (
        ("`albert-edge run default`", "importing the runtime"),
        1.6,
        paired_ratio(run, imported),
    )


def check(report: dict[str, Any]) -> bool:
    """Print our ratios to the best peers; return whether the upper ends are below their bars."""
    table = Table(box=None)
    for heading in ("", "ratio", "95% interval", "bar", ""):
        table.add_column(heading, justify="right" if heading else "left")
    passed = True
    for (what, over), bar, (ratio, low, high) in compare(report):
        passed &= high <= bar
        verdict = "[green]PASS[/]" if high <= bar else "[bold red]FAIL[/]"
        interval = f"{low:.3f} to {high:.3f}"
        name = Text(f"{what}, over {over}")
        table.add_row(name, f"{ratio:.3f}", interval, f"≤ {bar:.2f}", verdict)
    Console().print(table)
    return passed


@click.command(help=__doc__)
@click.option("--only", multiple=True, help="A peer, or peer/recipe; may be repeated.")
@click.option("--seq-len", "seq_lens", multiple=True, default=(128, 32), help="T, may be repeated.")
@click.option("--threads", multiple=True, default=(1, 2), help="CPU threads, may be repeated.")
@click.option("--sentences", type=click.Path(exists=True), help="A table of texts; see above.")
@click.option("--rounds", default=10, type=click.IntRange(1), help="Rounds of measurement.")
@click.option("--minutes", default=60.0, help="Start no round that would end later.")
@click.option(
    "--work", default=WORK, type=click.Path(path_type=Path), help="Environments and files."
)
@click.option("--make-only", is_flag=True, help="Make, but do not measure.")
@click.option("-o", "--output", default=REFERENCE, type=click.Path(path_type=Path, exists=True))
@click.option("--check", "stored", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def main(
    only: tuple[str, ...],
    seq_lens: tuple[int, ...],
    threads: tuple[int, ...],
    sentences: str | None,
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
        conditions = make_conditions(seq_lens, threads, sentences)
        if make_only:
            prepare(make_runs(peers, conditions), workspace)
            return
        report = measure_peers(peers, conditions, workspace, rounds=rounds, minutes=minutes)
        LOG.print("Wrote", save_dated_report(report, output))
    LOG.print(make_table(report))
    sys.exit(not check(report))


if __name__ == "__main__":
    main()
