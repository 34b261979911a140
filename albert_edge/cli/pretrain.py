"""`albert-edge pretrain`: train an ALBERT on plain text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from albert_edge.cli.options import (
    config_option,
    force_option,
    json_option,
    options_from,
    output_folder_option,
    resume_option,
    source_option,
    take_fields,
)
from albert_edge.training.pretraining.options import PretrainOptions

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("texts", nargs=-1, required=True, type=_FILE)
@output_folder_option
@source_option
@config_option
@click.option(
    "--tokenizer",
    type=_FILE,
    help="Tokenizer of a new model.",
    show_default="a vocabulary trained on TEXTS",
)
@click.option(
    "--dev", multiple=True, type=_FILE, metavar="FILE", help="Held-out text to evaluate on."
)
@options_from(
    PretrainOptions(),
    *("steps", "batch_size", "max_length", "optimizer", "learning_rate", "warm_up"),
    *("weight_decay", "accumulate", "mixed_precision"),
)
@click.option(
    "--cooccurrence",
    is_flag=True,
    help="Initialise word embeddings from co-occurrence counts (PPMI + SVD).",
)
@options_from(
    PretrainOptions(),
    *("examine_every", "save_every_s", "seed"),
    flags={"save_every_s": "--save-every"},
)
@resume_option
@force_option
@json_option
def command(
    texts: tuple[Path, ...],
    output: Path,
    source: str | None,
    config: Path | None,
    tokenizer: Path | None,
    cooccurrence: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Pre-train an ALBERT on TEXTS with masked language modelling and sentence-order prediction.

    TEXTS are UTF-8 files with a blank line between documents.  The output is a directory that
    albert-edge finetune --from and transformers can read; its curve.jsonl holds the metrics of
    every evaluation, its logs/ is for TensorBoard.  If TF_CONFIG is set as TensorFlow documents it,
    several machines share every batch.

    \b
    albert-edge pretrain books.txt -o encoder --dev held_out.txt
    albert-edge pretrain wiki-*.txt -o encoder --config small.json --steps 50000 --accumulate 4
    albert-edge pretrain films.txt -o films --from ./encoder --learning-rate 1e-3 --json
    albert-edge pretrain books.txt -o encoder --dev held_out.txt --resume
    """
    if source and (config or tokenizer or cooccurrence):
        raise click.UsageError(
            "--from sets the model's configuration, tokenizer and word embeddings; leave out "
            "--config, --tokenizer and --cooccurrence."
        )
    files: dict[str, Any] = {"source": source, "config": config, "tokenizer": tokenizer}
    files |= {"cooccurrence": cooccurrence, "options": take_fields(PretrainOptions(), settings)}
    from albert_edge.cli.console import print_report, quiet

    with quiet() as console:
        from albert_edge.training.pretraining.pretrain_files import pretrain_files

        report = pretrain_files(texts, output, console=console, **files, **settings)
    print_report(report, as_json=as_json, render=_summary)


def _summary(report: dict[str, Any]) -> Iterator[Any]:
    from albert_edge.cli.console import render_warnings

    last = report["curve"][-1]
    text = (
        f"{report['output']}: {report['parameters']:,} parameters, {report['steps']:,} steps over "
        f"{report['tokens']:,} tokens ({report['epochs']} epochs) in {report['duration_s']:.0f} s"
    )
    for name in ("train", "held_out"):
        if found := last.get(name):
            text += (
                f"\n{name:9} loss {found['loss']:.3f}  masked words {found['mlm_accuracy']:.1%}  "
                f"sentence order {found['sop_accuracy']:.1%}"
            )
    yield text
    yield from render_warnings(report["warnings"])
