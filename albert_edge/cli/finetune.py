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
@click.option("--dev", type=click.Path(path_type=Path), help="Score the model on this file.")
@click.option(
    "--task",
    type=click.Choice(
        [
            *("classification", "multi-label", "regression", "question-answering"),
            *("summarization", "token-classification"),
        ]
    ),
    help="What to learn; left out, what SOURCE's head or DATA's form is for.",
)
@click.option(
    "--labels",
    callback=_split,
    metavar="A,B,...",
    help="Names of the classes 0, 1, ...; left out, the labels in DATA.",
)
@click.option("--text-column", help="The column of texts; left out, text or sentence.")
@click.option("--pair-column", default="text_pair", show_default=True, help="That of second texts.")
@click.option("--label-column", help="The column of labels; left out, label.")
@click.option("--bullets", default=3, show_default=True, help="summarization: sentences to choose.")
@click.option("--teacher-column", help="A column of probabilities to learn instead of labels.")
@click.option("--early-exit", is_flag=True, help="Learn to answer after every pass.")
@click.option("--epochs", default=4, show_default=True, help="How often DATA is seen.")
@click.option("--batch-tokens", default=2048, show_default=True, help="Tokens in a batch.")
@click.option("--max-length", default=128, show_default=True, help="Cut training texts to this.")
@click.option("--window", default=384, show_default=True, help="Tokens of a question and context.")
@click.option("--learning-rate", default=1e-3, show_default=True, help="The highest one.")
@click.option("--embeddings-rate", default=1.0, show_default=True, help="Times it, for embeddings.")
@click.option("--encoder-rate", default=1.0, show_default=True, help="Times it, for the layers.")
@click.option("--class-weights", metavar="balanced|none|A=1,B=2", help="How much labels count.")
@click.option(
    "--sampling",
    default=0.3,
    show_default=True,
    help="How freely classified texts are cut into pieces; 1, and for WordPiece: in one way.",
)
@click.option(
    "--mixed-precision",
    default="off",
    show_default=True,
    type=click.Choice(["auto", "off", "bfloat16"]),
    help="bfloat16 products over float32 weights; auto: where the machine is made for them.",
)
@click.option(
    "--keep",
    default="last",
    show_default=True,
    type=click.Choice(["last", "best"]),
    help="The epoch whose model is kept; the best by --dev.",
)
@click.option("--patience-epochs", type=int, help="End when so many epochs bring nothing better.")
@click.option("--seed", default=0, show_default=True, help="The same seed, the same model.")
@click.option("--save-every", default=60.0, show_default=True, help="Seconds between savings.")
@click.option("--resume", is_flag=True, help="Go on with a training that was interrupted.")
@force_option
@json_option
def command(
    data: Path,
    output: Path,
    source: str | None,
    config: Path | None,
    as_json: bool,
    keep: str,
    patience_epochs: int | None,
    save_every: float,
    **given: Any,
) -> None:
    """Train an ALBERT on DATA: a .tsv, .csv, .jsonl or .parquet table, SQuAD's .json, or .conll.

    The output is a directory that `albert-edge convert` and transformers read; it is written after
    every epoch that is to be kept.  The columns are those of `albert-edge evaluate`.

    \b
    albert-edge finetune reviews.tsv -o my-albert --labels negative,positive
    albert-edge finetune reviews.csv -o my-albert --from default --dev dev.csv --learning-rate 3e-4
    albert-edge finetune topics.tsv -o topics --from ./encoder --init-head --early-exit
    albert-edge finetune train-v2.0.json -o qa --from ./encoder --init-head --dev dev-v2.0.json
    albert-edge finetune reviews.tsv -o wide --config wide.json --epochs 10 --json
    """
    from albert_edge.cli.console import quiet

    if source and config:
        raise click.UsageError("--from brings its own shape; leave out --config.")
    with quiet() as console:
        from albert_edge.evaluation import EvaluateOptions
        from albert_edge.training.finetune_files import BestCheckpoint, finetune_files
        from albert_edge.training.options import FinetuneOptions

        report = finetune_files(
            data,
            output,
            source=source,
            config=config,
            reading=EvaluateOptions(**_take(given, _READING)),
            options=FinetuneOptions(**_take(given, _OPTIONS)),
            selection=BestCheckpoint(keep=keep, patience_epochs=patience_epochs),
            save_every_s=save_every,
            console=console,
            **given,
        )
    click.echo(json.dumps(report, indent=2) if as_json else _summary(report))


_READING = ("text_column", "pair_column", "label_column", "bullets")
_OPTIONS = (
    *("epochs", "batch_tokens", "max_length", "window", "learning_rate", "embeddings_rate"),
    *("encoder_rate", "class_weights", "sampling", "mixed_precision", "seed"),
)


def _take(given: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: given.pop(name) for name in names}


def _summary(report: dict[str, Any]) -> str:
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
    if report["truncated"]:
        text += f"; {report['truncated']:,} examples were too long, and cut"
    return text
