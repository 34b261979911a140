"""Measure early exit: accuracy or F1, layers and latency of the actual file by exit rule.

\b
python -m benchmarks.early_exit MODEL_DIR DEV.tsv                 measure, write reference/*.json
python -m benchmarks.early_exit MODEL_DIR dev-v1.1.json --limit 1000   questions; or labelled words
python -m benchmarks.early_exit MODEL_DIR DEV.tsv --limit 50 -o /tmp   a short trial run
python -m benchmarks.early_exit MODEL_DIR DEV.tsv --check FILE    check an existing report

MODEL_DIR is a checkpoint trained with early exit, for one label a text, questions or words; DEV
has its examples, as `albert-edge evaluate` reads them.

Of a classifier every text is run under every rule, interleaved, and in the same model without
exits, so that noise affects all of them alike.  One untimed run comes first, because a new length
is allocated then.  The best rule is chosen on the same texts; on other texts it may save less or
cost more accuracy.

Of questions and words every window is run once to each exit, and what a rule makes of it follows
from the outputs: tests/tflite/test_early_exit.py shows that the file exits at the same pass.  F1
less that of all layers has a 95% interval (paired bootstrap); latency is not measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
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
from albert_edge.evaluation.intervals import bootstrap, percentile_interval
from albert_edge.evaluation.predict import predict_one
from albert_edge.evaluation.task_metrics import compute_metrics
from albert_edge.modeling import from_checkpoint
from albert_edge.runtime import Model
from albert_edge.tasks import TASKS
from benchmarks.thresholds import print_thresholds

REFERENCE = Path(__file__).parent / "reference"
THRESHOLDS = (0.8, 0.9, 0.95, 0.98, 0.99, NEVER.threshold)
# Thresholds: the mean share of layers, the loss of accuracy, and the share of latency, which is
# above that of layers because embeddings, head and exits take time too.
SHARE, LOSS, LATENCY = 0.6, 0.003, 0.65
OFF_LIMIT = 1.02  # latency with exits, all layers run, over that of the file without exits
# Questions and words: the rules, and what must be saved of the layers at what loss of F1.
TOKEN_THRESHOLDS = (0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, NEVER.threshold)
TOKEN_SHARE, TOKEN_LOSS = 0.85, 0.01
LOG = Console(stderr=True)


def open_files(source: Path, quantize: str) -> tuple[Any, Any]:
    """Convert a checkpoint with and without its exits, and open both as pipelines."""
    checkpoint = read_checkpoint(source)
    plain = replace(
        checkpoint,
        config=replace(checkpoint.config, early_exit=False),
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
    if pipe.model.bundle.task != "classification":
        return measure_tokens(pipe, dev, limit=limit, quantize=quantize)
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


class Exits:
    """A model of which every exit is run once; `run` then returns the outputs where a rule exits.

    Attributes:
        used: The number of layers of every call since it was emptied.
        known: The outputs of every exit, by the ids and types of the input.
    """

    def __init__(self, model: Model) -> None:
        self.bundle, self.max_tokens = model.bundle, model.max_tokens
        self.used: list[int] = []
        self._model, self._task = model, TASKS[model.bundle.task]
        self.known: dict[tuple[int, ...], list[dict[str, Any]]] = {}

    def run(
        self, ids: Sequence[int], types: Sequence[int], *, early_exit: EarlyExit
    ) -> dict[str, Any]:
        """Return the outputs after the pass at which `early_exit` exits; as `Model.run`."""
        key = (*ids, *types)
        if key not in self.known:
            limits = range(1, self.bundle.config.num_hidden_layers + 1)
            self.known[key] = [
                self._model.run(ids, types, early_exit=replace(NEVER, max_layers=most))
                for most in limits
            ]
        said: list[Any] = []
        for outputs in self.known[key]:
            rows = [outputs[name][0] for name in self._task.outputs]
            said.append(rows[0] if len(rows) == 1 else np.stack(rows))
            if early_exit.should_exit(np.stack(said)):
                break
        self.used.append(len(said))
        return self.known[key][len(said) - 1]


def measure_tokens(pipe: Any, dev: Path, *, limit: int | None, **facts: Any) -> dict[str, Any]:
    """Run every window of questions or words to every exit; return the JSON document."""
    config, task = pipe.model.bundle.config, pipe.model.bundle.task
    labels = config.labels if TASKS[task].has_labels else ()
    examples = read_examples(dev, task, labels, EvaluateOptions(limit=limit))
    depth = config.num_hidden_layers
    patiences = sorted({min(2, depth), min(3, depth), max(1, depth // 2), depth})
    rules = [
        EarlyExit(patience=patience, threshold=threshold)
        for patience in patiences
        for threshold in TOKEN_THRESHOLDS
    ]
    pipe.model = model = Exits(pipe.model)
    said: list[list[Any]] = [[] for _ in rules]
    used: list[list[int]] = [[] for _ in rules]
    for inputs in track(examples.inputs, "Running", console=LOG):
        for rule, answers, layers in zip(rules, said, used, strict=True):
            model.bundle = replace(model.bundle, early_exit=rule)
            answers.append(predict_one(pipe, examples.kind, inputs))
            layers += model.used
            model.used.clear()
        model.known.clear()
    found = [
        next(m for m in compute_metrics(examples, answers, EvaluateOptions()) if m.name == "f1")
        for answers in said
    ]
    samples = bootstrap([metric.statistic for metric in found], len(examples))
    entries = []
    for rule, metric, part, layers in zip(rules, found, samples, used, strict=True):
        low, high = percentile_interval(part - samples[-1])  # the last rule is off
        entries.append(
            {
                "patience": rule.patience,
                "threshold": rule.threshold,
                "f1": metric.statistic(np.ones(len(examples))),
                "f1_difference_low": low,
                "f1_difference_high": high,
                "mean_layers": float(np.mean(layers)),
            }
        )
    facts |= {"task": task, "num_hidden_layers": depth, "examples": len(examples)}
    kind = f"early_exit_{task.replace('-', '_')}"
    return make_report(kind, [], dev=dev.name, **facts, off=entries[-1], rules=entries)


def make_token_table(report: dict[str, Any]) -> Table:
    """Make the table of the Pareto-optimal rules by F1 and layers."""
    title = f"{report['quantize']}, {report['examples']} {report['task']} of {report['dev']}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("patience", "threshold", "F1", "less all layers'", "layers", "of all"):
        table.add_column(heading, justify="right")
    for cells in token_rows(report):
        table.add_row(*cells)
    return table


def token_rows(report: dict[str, Any]) -> list[list[str]]:
    """Return the cells of the rules that no other beats in both F1 and layers, and of no exit."""
    best, off, rows = -1.0, report["off"], []
    for rule in sorted(report["rules"], key=lambda one: (one["mean_layers"], -one["f1"])):
        if rule is not off and (rule["f1"] <= best or rule["mean_layers"] >= off["mean_layers"]):
            continue
        best = max(best, rule["f1"])
        low, high = rule["f1_difference_low"], rule["f1_difference_high"]
        rows.append(
            [
                "never" if rule["patience"] >= off["patience"] else str(rule["patience"]),
                "never" if rule["threshold"] > 1 else f"{rule['threshold']:g}",
                f"{100 * rule['f1']:.1f}",
                f"{100 * (rule['f1'] - off['f1']):+.1f} ({100 * low:+.1f} to {100 * high:+.1f})",
                f"{rule['mean_layers']:.2f}",
                f"{rule['mean_layers'] / off['mean_layers']:.0%}",
            ]
        )
        if rule is off:
            break
    return rows


def check_tokens(report: dict[str, Any]) -> bool:
    """Print the threshold: what is saved by the best rule of no more than the permitted loss."""
    off = report["off"]
    kept = [rule for rule in report["rules"] if rule["f1"] >= off["f1"] - TOKEN_LOSS]
    share = min(rule["mean_layers"] for rule in kept) / off["mean_layers"]
    name = f"layers used, of all, at {100 * TOKEN_LOSS:g} point of F1"
    return print_thresholds([(name, share, "≤", TOKEN_SHARE)])


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
    is_text = report["kind"] == "early_exit"
    LOG.print((make_table if is_text else make_token_table)(report))
    sys.exit(not (check if is_text else check_tokens)(report))


if __name__ == "__main__":
    main()
