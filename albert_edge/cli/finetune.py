"""`albert-edge finetune`: labelled text teaches an ALBERT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from albert_edge.cli.options import force_option, init_head_option, json_option

__all__ = ["command"]


def _split(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    return tuple(name.strip() for name in value.split(",")) if value else None


@click.command(short_help="Train an ALBERT on labelled text.")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="The directory to write."
)
@click.option("--from", "source", metavar="SOURCE", help="A checkpoint to start from.")
@init_head_option
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="The shape of a new model; without it and --from, a small one.",
)
@click.option("--dev", type=click.Path(path_type=Path), help="Measure the accuracy on this table.")
@click.option(
    "--labels",
    callback=_split,
    metavar="A,B,...",
    help="Names of the classes 0, 1, ...; left out, the labels in DATA.",
)
@click.option("--epochs", default=4, show_default=True, help="How often DATA is seen.")
@click.option("--batch-tokens", default=2048, show_default=True, help="Tokens in a batch.")
@click.option("--max-length", default=128, show_default=True, help="Cut training texts to this.")
@click.option("--learning-rate", default=1e-3, show_default=True, help="The highest one.")
@click.option("--seed", default=0, show_default=True, help="The same seed, the same model.")
@force_option
@json_option
def command(
    data: Path,
    output: Path,
    source: str | None,
    init_head: bool,
    config: Path | None,
    dev: Path | None,
    labels: tuple[str, ...] | None,
    as_json: bool,
    force: bool,
    **settings: Any,
) -> None:
    """Train an ALBERT to classify the texts of DATA, a .tsv or .csv with columns text and label.

    After every epoch the model so far is written to the output, a directory that `albert-edge
    convert` and transformers read.  To go on after an interruption, give it to --from.

    \b
    albert-edge finetune reviews.tsv -o my-albert --labels negative,positive
    albert-edge finetune reviews.csv -o my-albert --from default --dev dev.csv --learning-rate 3e-4
    albert-edge finetune topics.tsv -o topics --from ./encoder --init-head
    albert-edge finetune reviews.tsv -o wide --config wide.json --epochs 10 --json
    """
    from albert_edge.cli.progress import quiet

    if source and config:
        raise click.UsageError("--from brings its own shape; leave out --config.")
    with quiet() as console:
        from albert_edge.training import FinetuneOptions, finetune_files

        report = finetune_files(
            data,
            output,
            source=source,
            init_head=init_head,
            config=config,
            dev=dev,
            labels=labels,
            options=FinetuneOptions(**settings),
            force=force,
            console=console,
        )
    click.echo(json.dumps(report, indent=2) if as_json else _summary(report))


def _summary(report: dict[str, Any]) -> str:
    last = report["epochs"][-1]
    text = (
        f"{report['output']}: {report['parameters']:,} parameters, {report['train_examples']:,} "
        f"examples, {last['epoch']} epochs in {report['duration_s']:.0f} s; "
        f"training accuracy {last['accuracy']:.1%}"
    )
    if report["dev_interval"]:
        low, high = report["dev_interval"]
        text += f", dev accuracy {report['dev_accuracy']:.1%} (95%: {low:.1%} to {high:.1%})"
    return text
