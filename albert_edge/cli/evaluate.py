"""`albert-edge evaluate`: the official metrics of a file's task, on labelled data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from albert_edge.cli.options import force_option, json_option, options_from, take_fields
from albert_edge.datasets.options import EvaluateOptions


@click.command()
@click.argument("model")
@click.argument("data")
@click.option("--against", metavar="OTHER", help="Second MODEL to compare with on the same data.")
@click.option(
    "--predictions",
    "save",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Save the predictions.",
)
@options_from(
    EvaluateOptions(),
    *(
        "limit",
        "workers",
        "accelerator",
        "task",
        "bullets",
        "text_column",
        "pair_column",
        "label_column",
    ),
    *("quoting", "skip_bad"),
    *("null_threshold", "stem", "patience", "threshold", "max_layers"),
)
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
    """Score MODEL on DATA with the official metrics of its task and their 95% intervals.

    MODEL is a .tflite file, an embedded model ("default", "questions", "embeddings"), or a .json
    file of predictions, saved earlier or in the format of SQuAD's evaluation scripts.  DATA is a
    table (.tsv, .csv, .jsonl, .parquet) with named columns, a SQuAD .json file, a CoNLL file with
    one word and label per line, or plain .txt for masked words.

    \b
    albert-edge evaluate default reviews.tsv
    albert-edge evaluate int8.tflite reviews.csv --against float32.tflite
    albert-edge evaluate qa.tflite dev-v2.0.json --predictions answers.json
    albert-edge evaluate gpu.tflite reviews.tsv --accelerator gpu
    albert-edge evaluate answers.json dev-v2.0.json --null-threshold 1.5
    albert-edge evaluate encoder.tflite scitldr.jsonl --task summarize --bullets 1
    albert-edge evaluate pairs.tflite mnli.tsv --text-column premise --pair-column hypothesis
    """
    from albert_edge.cli.console import bars, print_report
    from albert_edge.evaluation.evaluate import evaluate

    options = take_fields(EvaluateOptions(), settings)
    with bars() as shown:
        bar = shown.add_task("Evaluating")

        def show(done: int, total: int) -> None:
            shown.update(bar, completed=done, total=total)

        report = evaluate(
            model, data, against=against, options=options, save=save, force=force, progress=show
        )
    print_report(report, as_json=as_json, render=_render)


def _render(report: Mapping[str, Any]) -> Iterator[Any]:
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
    yield table
    for name, model in zip(names, models, strict=True):
        for line in _notes(model, report["examples"]):
            yield f"  {name}{line}"
    if report["skipped"]:
        first = report["skipped_examples"][0]
        yield f"  {report['skipped']:,} examples were skipped, the first: {first}"
    if report.get("agreement") is not None:
        yield f"  same prediction for {report['agreement']:.2%} of the examples"


def _cells(row: Mapping[str, Any], *, sign: str = "") -> list[str]:
    # Proportions in percent; their differences are percentage points and get no %.
    scale, digits = (100, f"{sign}.2f") if row["share"] else (1, f"{sign}.4f")
    value, low, high = (
        _number(None if row[name] is None else scale * row[name], digits)
        for name in ("value", "low", "high")
    )
    return [value + ("%" if row["share"] and not sign else ""), f"{low} to {high}"]


def _number(value: float | None, digits: str) -> str:
    return "undefined" if value is None else format(value, digits)


def _notes(model: Mapping[str, Any], count: int) -> Iterator[str]:
    from albert_edge.cli.console import describe_acceleration

    if model["duration_s"] is None:
        yield f"{model['model']}, saved predictions"
    else:
        rate = count / max(model["duration_s"], 1e-3)
        cores = f"{model['workers']} core{'s' * (model['workers'] != 1)}"
        yield (f"{model['model']}, {model['duration_s']:.1f} s on {cores}, {rate:.1f} examples/s")
    if "acceleration" in model:
        yield describe_acceleration(model["acceleration"])
    if "layers_used" in model:
        yield f"{model['layers_used']:.2f} layers per text on average"
    if model["truncated"]:
        yield f"{model['truncated']} examples were truncated to the model's length"
    if model["unanswered"]:
        yield f"{model['unanswered']} questions have no prediction and count as wrong"
    if found := model["thresholds"]:
        for part in ("exact", "f1"):
            best, threshold = found[f"best_{part}"], found[f"best_{part}_thresh"]
            yield f"best {part} {best:.2%}, with --null-threshold {threshold:.4f}"
