"""`albert-edge finetune`: train an ALBERT on labelled data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from albert_edge.cli.options import (
    config_option,
    force_option,
    init_head_option,
    json_option,
    options_from,
    output_folder_option,
    resume_option,
    source_option,
    take_fields,
)
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.tasks import PROBLEM_TYPES
from albert_edge.training.options import BestCheckpoint, FinetuneOptions

_TASKS = (*PROBLEM_TYPES, "question-answering", "summarization", "token-classification")


def _split(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    return tuple(name.strip() for name in value.split(",")) if value else None


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@output_folder_option
@source_option
@init_head_option
@config_option
@click.option(
    "--dev",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Dev set to evaluate on after every epoch.",
)
@click.option(
    "--task",
    type=click.Choice(_TASKS),
    metavar="TASK",
    help=f"Task to train for: {', '.join(_TASKS)}.",
    show_default="the task of SOURCE's head or of DATA's format",
)
@click.option(
    "--labels",
    callback=_split,
    metavar="A,B,...",
    help="Names of classes 0, 1, ...",
    show_default="the labels in DATA",
)
@options_from(
    EvaluateOptions(),
    *("text_column", "pair_column", "label_column", "bullets", "quoting", "skip_bad"),
)
@click.option(
    "--teacher-column",
    metavar="NAME",
    help="Column of a teacher's probabilities, to train on instead of labels.",
)
@click.option("--early-exit", is_flag=True, help="Train a head after every layer.")
@options_from(
    FinetuneOptions(),
    *("epochs", "batch_tokens", "max_length", "window", "learning_rate", "embeddings_rate"),
    *("encoder_rate", "class_weights", "sampling", "mixed_precision"),
)
@options_from(BestCheckpoint(), "keep", "patience_epochs")
@options_from(FinetuneOptions(), "seed")
@click.option(
    "--save-every",
    "save_every_s",
    default=60.0,
    help="Least seconds between two saves of the training state.",
)
@resume_option
@force_option
@json_option
def command(
    data: Path,
    output: Path,
    source: str | None,
    config: Path | None,
    task: str | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Fine-tune an ALBERT on DATA and write a checkpoint.

    DATA is a table (.tsv, .csv, .jsonl, .parquet), a SQuAD .json file, or a .conll file.  The
    output is a directory that albert-edge convert and transformers can read, written after every
    epoch that is kept.  The columns are those of albert-edge evaluate.

    \b
    albert-edge finetune reviews.tsv -o my-albert --labels negative,positive
    albert-edge finetune reviews.csv -o my-albert --from default --dev dev.csv --learning-rate 3e-4
    albert-edge finetune topics.tsv -o topics --from ./encoder --init-head --early-exit
    albert-edge finetune train-v2.0.json -o qa --from ./encoder --init-head --dev dev-v2.0.json
    albert-edge finetune reviews.tsv -o wide --config wide.json --epochs 10 --json
    """
    if source and config:
        raise click.UsageError("--from sets the model's configuration; leave out --config.")
    files: dict[str, Any] = {"source": source, "config": config, "task": task}
    files["data_options"] = take_fields(EvaluateOptions(), settings)
    files["options"] = take_fields(FinetuneOptions(), settings)
    files["selection"] = take_fields(BestCheckpoint(), settings)
    from albert_edge.cli.console import print_report, quiet

    with quiet() as console:
        from albert_edge.training.finetune_files import finetune_files

        report = finetune_files(data, output, console=console, **files, **settings)
    print_report(report, as_json=as_json, render=_summary)


def _summary(report: dict[str, Any]) -> Iterator[Any]:
    from albert_edge.cli.console import render_warnings

    kept = next(one for one in report["epochs"] if one["epoch"] == report["kept_epoch"])
    text = (
        f"{report['output']}: {report['parameters']:,} parameters, {report['train_examples']:,} "
        f"examples, {len(report['epochs'])} epochs in {report['duration_s']:.0f} s"
    )
    if kept["accuracy"] is not None:
        text += f"; training accuracy {kept['accuracy']:.1%}"
    if name := report["metric"]:
        value = report["dev_metrics"][name]
        form = ".4f" if report["task"] == "regression" else ".1%"
        text += f", dev {name} " + ("undefined" if value is None else format(value, form))
    if report["metric"] == "accuracy":
        low, high = report["dev_interval"]
        text += f" (95%: {low:.1%} to {high:.1%})"
    for key, what in (("skipped", "training"), ("dev_skipped", "dev")):
        if report[key]:
            text += f"; {report[key]:,} {what} examples were skipped"
    if report["truncated"]:
        text += f"; {report['truncated']:,} examples were truncated"
    yield text
    yield from render_warnings(report["warnings"])
