"""`albert-edge evaluate`: the task's official metric, of the actual file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from albert_edge.cli.options import early_exit_options, force_option, json_option

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["command"]


@click.command(short_help="Score a .tflite file on data, or compare two.")
@click.argument("model")
@click.argument("data")
@click.option("--against", metavar="OTHER", help="Another MODEL to compare with on the same data.")
@click.option("--predictions", "save", type=click.Path(path_type=Path), help="Save the answers.")
@click.option("--limit", type=int, help="Take only so many examples, from the beginning.")
@click.option("--workers", type=int, help="CPU cores; left out, all of them.")
@click.option(
    "--task",
    type=click.Choice(["summarize"]),
    help="Score summaries; also those by an encoder that has no task.",
)
@click.option("--bullets", default=3, show_default=True, help="Sentences in a summary.")
@click.option("--text-column", metavar="NAME", help="Left out, text or sentence (or source).")
@click.option("--pair-column", default="text_pair", show_default=True, metavar="NAME")
@click.option("--label-column", metavar="NAME", help="Left out, label (or summary or target).")
@click.option(
    "--null-threshold",
    default=0.0,
    show_default=True,
    help='SQuAD 2: by how much the logits of "no answer" must exceed the best answer\'s.',
)
@click.option("--stem", is_flag=True, help="ROUGE: compare words without their endings.")
@early_exit_options
@force_option
@json_option
def command(
    model: str,
    data: str,
    against: str | None,
    save: Path | None,
    force: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Score MODEL on DATA with the official metrics of its task, and 95% intervals.

    MODEL is a .tflite file, "default", or a .json file of predictions that was saved before or
    made for SQuAD's evaluators.  DATA is a table (.tsv, .csv, .jsonl) with named columns, SQuAD's
    .json, a word and its label a line as CoNLL has it, or plain .txt for masked words.

    \b
    albert-edge evaluate default reviews.tsv
    albert-edge evaluate int8.tflite reviews.csv --against float32.tflite
    albert-edge evaluate qa.tflite dev-v2.0.json --predictions answers.json
    albert-edge evaluate answers.json dev-v2.0.json --null-threshold 1.5
    albert-edge evaluate encoder.tflite scitldr.jsonl --task summarize --bullets 1
    albert-edge evaluate pairs.tflite mnli.tsv --text-column premise --pair-column hypothesis
    """
    from rich.progress import Progress

    from albert_edge.cli.console import quiet
    from albert_edge.evaluation import EvaluateOptions, evaluate

    options = EvaluateOptions(**settings)
    with quiet() as terminal:
        bars = Progress(console=terminal, transient=True, disable=not terminal.is_terminal)
        bar = bars.add_task("Answering")
        tell = partial(_show, bars, bar)
        with bars:
            report = evaluate(
                model, data, against=against, options=options, save=save, force=force, tell=tell
            )
    click.echo(json.dumps(report, indent=2)) if as_json else _print(report)


def _show(bars: Progress, bar: TaskID, done: int, total: int) -> None:
    bars.update(bar, completed=done, total=total)


def _print(report: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    models, compared = report["models"], report.get("differences")
    names = ["A ", "B "] if compared else [""]
    table = Table("metric", title=f"{report['kind']}, {report['examples']:,} examples")
    for column in ("value", "95% interval", *(["p"] if compared else [])):
        table.add_column(column, justify="right")
    for metric in models[0]["metrics"]:
        for name, model in zip(names, models, strict=True):
            table.add_row(f"{name}{metric}", *_cells(model["metrics"][metric]))
        if compared:
            row = compared[metric]
            p_value = f"{_number(row['p_value'], '.3g')} ({row['test']})"
            table.add_row("B - A", *_cells(row, sign="+"), p_value, end_section=True)
    console = Console(highlight=False)
    console.print(table)
    for name, model in zip(names, models, strict=True):
        for line in _notes(model, report["examples"]):
            console.print(f"  {name}{line}", markup=False, soft_wrap=True)
    if report.get("agreement") is not None:
        console.print(f"  the same answer in {report['agreement']:.2%}")


def _cells(row: Mapping[str, Any], *, sign: str = "") -> list[str]:
    # Shares in hundredths, with % behind the figure; not behind a difference, which is in points.
    scale, digits = (100, f"{sign}.2f") if row["share"] else (1, f"{sign}.4f")
    value, low, high = (
        _number(None if row[name] is None else scale * row[name], digits)
        for name in ("value", "low", "high")
    )
    return [value + ("%" if row["share"] and not sign else ""), f"{low} to {high}"]


def _number(value: float | None, digits: str) -> str:
    return "undefined" if value is None else format(value, digits)


def _notes(model: Mapping[str, Any], count: int) -> Iterator[str]:
    if model["duration_s"] is None:
        yield f"{model['model']}, saved answers"
    else:
        rate = count / max(model["duration_s"], 1e-3)
        yield (
            f"{model['model']}, {model['duration_s']:.1f} s on {model['workers']} cores, "
            f"{rate:.1f} examples a second"
        )
    if "layers_used" in model:
        yield f"{model['layers_used']:.2f} layers an answer on average"
    if model["truncated"]:
        yield f"{model['truncated']} examples were too long for the model, and cut"
    if model["unanswered"]:
        yield f"{model['unanswered']} questions have no prediction, and count as wrong"
    if found := model["thresholds"]:
        for part in ("exact", "f1"):
            best, threshold = found[f"best_{part}"], found[f"best_{part}_thresh"]
            yield f"best {part} {best:.2%}, with --null-threshold {threshold:.4f}"
