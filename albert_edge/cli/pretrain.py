"""`albert-edge pretrain`: plain text teaches an ALBERT a language."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from albert_edge.cli.options import force_option, json_option

__all__ = ["command"]

_FILE = click.Path(path_type=Path)
_POSITIVE = click.IntRange(min=1)
_SHARE = click.FloatRange(min=0, max=1, max_open=True)


@click.command(short_help="Train an ALBERT on plain text.")
@click.argument("texts", nargs=-1, required=True, type=_FILE)
@click.option("-o", "--output", required=True, type=_FILE, help="The directory to write.")
@click.option("--from", "source", metavar="SOURCE", help="A checkpoint to start from.")
@click.option(
    "--config",
    type=_FILE,
    metavar="FILE.json",
    help="The shape of a new model; without it and --from, a small one.",
)
@click.option(
    "--tokenizer",
    type=_FILE,
    help="The tokenizer of a new model; left out, a vocabulary is trained on TEXTS.",
)
@click.option("--dev", multiple=True, type=_FILE, help="Examine the model on this text, held out.")
@click.option(
    "--steps", default=10_000, show_default=True, type=_POSITIVE, help="How many updates."
)
@click.option(
    "--batch-size",
    default=128,
    show_default=True,
    type=_POSITIVE,
    help="Pairs of segments in each.",
)
@click.option(
    "--max-length",
    default=128,
    show_default=True,
    type=click.IntRange(min=8),
    help="Tokens of a pair.",
)
@click.option(
    "--optimizer", default="lamb", show_default=True, type=click.Choice(["lamb", "adamw"])
)
@click.option("--learning-rate", default=5e-3, show_default=True, help="The highest one.")
@click.option(
    "--warm-up",
    default=0.05,
    show_default=True,
    type=_SHARE,
    help="The share of steps it rises in.",
)
@click.option("--weight-decay", default=0.01, show_default=True, type=_SHARE)
@click.option(
    "--accumulate",
    default=1,
    show_default=True,
    type=_POSITIVE,
    help="Compute a batch in this many parts.",
)
@click.option(
    "--mixed-precision",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "off", "bfloat16"]),
    help="bfloat16 products over float32 weights; auto: where the machine is made for them.",
)
@click.option(
    "--cooccurrence", is_flag=True, help="Start with words near those that keep the same company."
)
@click.option(
    "--examine-every",
    default=500,
    show_default=True,
    type=_POSITIVE,
    help="Steps between examinations.",
)
@click.option(
    "--save-every",
    "save_every_s",
    default=120.0,
    show_default=True,
    help="Seconds between two savings, at least.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="The same seed, the same model.",
)
@click.option("--resume", is_flag=True, help="Go on with a training that was interrupted.")
@force_option
@json_option
def command(
    texts: tuple[Path, ...],
    output: Path,
    source: str | None,
    config: Path | None,
    tokenizer: Path | None,
    dev: tuple[Path, ...],
    cooccurrence: bool,
    resume: bool,
    force: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Teach an ALBERT from TEXTS to predict hidden words, and which of two segments comes first.

    TEXTS are UTF-8 files whose documents are apart by a blank line.  The output is a directory that
    `albert-edge finetune --from` and transformers read; its curve.jsonl has the figures of every
    examination, its logs/ is for TensorBoard.  With TF_CONFIG set in the environment as TensorFlow
    documents it, several machines share every batch.

    \b
    albert-edge pretrain books.txt -o encoder --dev held_out.txt
    albert-edge pretrain wiki-*.txt -o encoder --config small.json --steps 50000 --accumulate 4
    albert-edge pretrain films.txt -o films --from ./encoder --learning-rate 1e-3 --json
    albert-edge pretrain books.txt -o encoder --dev held_out.txt --resume
    """
    from albert_edge.cli.console import quiet

    if source and (config or tokenizer or cooccurrence):
        raise click.UsageError(
            "--from brings its own shape, tokenizer and word embeddings; leave out --config, "
            "--tokenizer and --cooccurrence."
        )
    with quiet() as console:
        from albert_edge.training.pretraining.options import PretrainOptions
        from albert_edge.training.pretraining.pretrain_files import pretrain_files

        report = pretrain_files(
            texts,
            output,
            source=source,
            config=config,
            tokenizer=tokenizer,
            dev=dev,
            cooccurrence=cooccurrence,
            options=PretrainOptions(**settings),
            resume=resume,
            force=force,
            console=console,
        )
    click.echo(json.dumps(report, indent=2) if as_json else _summary(report))


def _summary(report: dict[str, Any]) -> str:
    last = report["curve"][-1]
    text = (
        f"{report['output']}: {report['parameters']:,} parameters, {report['steps']:,} steps over "
        f"{report['tokens']:,} tokens ({report['epochs']} times) in {report['duration_s']:.0f} s"
    )
    for name in ("train", "held_out"):
        if found := last.get(name):
            text += (
                f"\n{name:9} loss {found['loss']:.3f}  hidden words {found['mlm_accuracy']:.1%}  "
                f"order {found['sop_accuracy']:.1%}"
            )
    return text
