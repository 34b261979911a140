"""Measure early exit: accuracy, layers and latency of the actual file for every exit rule.

\b
python -m benchmarks.early_exit MODEL_DIR DEV.tsv                 measure, write reference/*.json
python -m benchmarks.early_exit MODEL_DIR DEV.tsv --limit 50 -o /tmp   a short trial run
python -m benchmarks.early_exit MODEL_DIR DEV.tsv --check FILE    check an existing report

MODEL_DIR is a checkpoint trained with early exit; DEV.tsv has texts and labels, as in the model
card. Every text is run under every rule, interleaved, and in the same model without exits, so that
noise affects all of them alike.  One untimed run comes first, because a new length is allocated
then.  The best rule is chosen on the same texts; on other texts it may save less or cost more
accuracy.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter_ns, process_time_ns
from typing import Any

import click
import numpy as np
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

import albert_edge
from albert_edge.benchmark.report_file import make_report, save_dated_report
from albert_edge.checkpoints import read_checkpoint
from albert_edge.datasets.examples import read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.early_exit import NEVER, EarlyExit
from albert_edge.modeling import from_checkpoint
from albert_edge.runtime import Model
from benchmarks.thresholds import print_thresholds

REFERENCE = Path(__file__).parent / "reference"
THRESHOLDS = (0.8, 0.9, 0.95, 0.98, 0.99, NEVER.threshold)
# Thresholds: the mean share of layers, the loss of accuracy, and the share of latency, which is
# above that of layers because embeddings, head and exits take time too.
SHARE, LOSS, LATENCY = 0.6, 0.003, 0.65
OFF_LIMIT = 1.02  # latency with exits, all layers run, over that of the file without exits
LOG = Console(stderr=True)


def open_files(source: Path, quantize: str) -> tuple[Any, Any]:
    """Convert a checkpoint with and without its exits, and open both as pipelines."""
    checkpoint = read_checkpoint(source)
    plain = dataclasses.replace(
        checkpoint,
        config=dataclasses.replace(checkpoint.config, early_exit=False),
        tensors={k: v for k, v in checkpoint.tensors.items() if not k.startswith("exits/")},
    )
    return tuple(
        albert_edge.load(albert_edge.convert(from_checkpoint(one), quantize=quantize).blob)
        for one in (checkpoint, plain)
    )


def take(model: Model, ids: Sequence[int], rule: EarlyExit | None) -> tuple[int, int, int, int]:
    """Run once; return the label, the layers, and the latency and CPU time in ns."""
    cpu, start = process_time_ns(), perf_counter_ns()
    outputs = model.run(ids, early_exit=rule)
    spent = perf_counter_ns() - start, process_time_ns() - cpu
    layers = outputs.get("layers_used", [model.bundle.config.num_hidden_layers])
    return int(outputs["logits"][0].argmax()), int(layers[0]), *spent


def summarize(rule: EarlyExit | None, taken: Any, wanted: Any) -> dict[str, Any]:
    """Summarize [texts, 4] results of `take` for a rule; None for the file without exits."""
    labels, layers, latency_ns, cpu_ns = taken.T
    return {
        "patience": rule.patience if rule else None,
        "threshold": rule.threshold if rule else None,
        "accuracy": float((labels == wanted).mean()),
        "mean_layers": float(layers.mean()),
        "mean_latency_ms": float(latency_ns.mean()) / 1e6,
        "mean_cpu_ms": float(cpu_ns.mean()) / 1e6,
    }


def measure(
    source: Path, dev: Path, *, quantize: str, limit: int | None, rounds: int
) -> dict[str, Any]:
    """Run every text under every rule; return the JSON document.

    Each text's time is the median of its rounds.
    """
    pipe, plain = open_files(source, quantize)
    config = pipe.model.bundle.config
    options = EvaluateOptions(limit=limit)
    examples = read_examples(dev, "classification", config.labels, options)
    depth = config.num_hidden_layers
    rules = [
        EarlyExit(patience=patience, threshold=threshold)
        for patience in range(1, depth + 1)
        for threshold in THRESHOLDS
    ]
    cases = [(plain.model, None), *((pipe.model, rule) for rule in rules)]
    taken = np.empty((rounds, len(cases), len(examples), 4), np.int64)
    for index, inputs in enumerate(track(examples.inputs, "Running", console=LOG)):
        ids = pipe.encode(inputs["text"], inputs.get("pair"), None, None)[0].input_ids
        for model in (plain.model, pipe.model):
            model.run(ids)
        for one in taken:
            for case in np.random.default_rng(index).permutation(len(cases)):
                one[case, index] = take(cases[case][0], ids, cases[case][1])
    wanted = np.array([config.labels.index(label) for label in examples.targets])
    middle = np.median(taken, axis=0)
    found = [summarize(rule, part, wanted) for (_, rule), part in zip(cases, middle, strict=True)]
    facts = {"quantize": quantize, "num_hidden_layers": depth, "examples": len(examples)}
    facts["rounds"] = rounds
    return make_report(
        "early_exit", [], dev=dev.name, **facts, ordinary=found[0], off=found[-1], rules=found[1:]
    )


def choose(report: dict[str, Any]) -> dict[str, Any]:
    """Choose the rule with the fewest layers among those within the permitted loss."""
    least = report["off"]["accuracy"] - LOSS
    kept = [rule for rule in report["rules"] if rule["accuracy"] >= least]
    best: dict[str, Any] = min(kept, key=lambda rule: rule["mean_layers"])
    return best


def make_table(report: dict[str, Any]) -> Table:
    """Make the table of the Pareto-optimal rules by accuracy and layers."""
    title = f"{report['quantize']}, {report['examples']} texts of {report['dev']}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("patience", "threshold", "accuracy", "layers", "ms", "of all"):
        table.add_column(heading, justify="right")
    best, off = -1.0, report["off"]
    for rule in sorted(report["rules"], key=lambda one: (one["mean_layers"], -one["accuracy"])):
        if rule["accuracy"] <= best and rule is not off:
            continue
        best = max(best, rule["accuracy"])
        never = rule["threshold"] > 1
        table.add_row(
            str(rule["patience"]),
            "never" if never else f"{rule['threshold']:g}",
            f"{rule['accuracy']:.2%}",
            f"{rule['mean_layers']:.2f}",
            f"{rule['mean_latency_ms']:.2f}",
            f"{rule['mean_latency_ms'] / off['mean_latency_ms']:.1%}",
        )
    return table


def check(report: dict[str, Any]) -> bool:
    """Print the thresholds; return whether all are met."""
    best, off, ordinary = choose(report), report["off"], report["ordinary"]
    clocks = {"mean_latency_ms": "latency", "mean_cpu_ms": "CPU time"}
    share = best["mean_layers"] / report["num_hidden_layers"]
    thresholds = [("layers used, of all", share, "≤", SHARE)]
    thresholds += [
        (f"{name}, of all layers'", best[key] / off[key], "≤", LATENCY)
        for key, name in clocks.items()
    ]
    thresholds += [
        (f"exits that are off over none: {name}", off[key] / ordinary[key], "≤", OFF_LIMIT)
        for key, name in clocks.items()
    ]
    return print_thresholds(thresholds)


@click.command(help=__doc__)
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("dev", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--quantize", default="int8", show_default=True)
@click.option("--limit", type=click.IntRange(1), help="Use only the first N texts.")
@click.option("--rounds", default=3, type=click.IntRange(1), help="Runs of every text.")
@click.option("-o", "--output", default=REFERENCE, type=click.Path(path_type=Path, exists=True))
@click.option("--check", "stored", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def main(
    source: Path,
    dev: Path,
    quantize: str,
    limit: int | None,
    rounds: int,
    output: Path,
    stored: Path | None,
) -> None:
    """Measure unless `stored` is given; exit with 1 if a threshold is missed."""
    if stored is None:
        report = measure(source, dev, quantize=quantize, limit=limit, rounds=rounds)
        LOG.print("Wrote", save_dated_report(report, output))
    else:
        report = json.loads(stored.read_text(encoding="utf-8"))
    LOG.print(make_table(report))
    sys.exit(not check(report))


if __name__ == "__main__":
    main()
