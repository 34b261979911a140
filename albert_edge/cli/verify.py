"""`albert-edge verify`: compare the outputs of a file with those of its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from albert_edge.cli.options import accelerator_option, json_option, read_lines


@click.command()
@click.argument("model")
@click.argument("source")
@click.option(
    "--texts", type=click.Path(), metavar="FILE", help="Texts to compare on, one per line."
)
@accelerator_option
@json_option
def command(model: str, source: str, texts: str | None, accelerator: str, as_json: bool) -> None:
    """Run MODEL and the checkpoint SOURCE on the same texts and compare their outputs.

    Exits with 1 if an output differs by more than the file's recipe allows, or if a GPU computes
    anything else than the CPU.

    \b
    albert-edge verify my.tflite ./my-albert
    albert-edge verify my.tflite ./my-albert --texts reviews.txt --json
    albert-edge verify gpu.tflite ./my-albert --accelerator gpu
    """
    from albert_edge.cli.console import print_report, render_verification, step

    lines = read_lines(texts) if texts else ()
    with step("Comparing"):
        from albert_edge.verification import check_fidelity

        figures = _compare(model, source, lines, accelerator)
    print_report(figures, as_json=as_json, render=render_verification)
    check_fidelity(figures, where=model)


def _compare(model: str, source: str, texts: Sequence[str], accelerator: str) -> dict[str, Any]:
    from albert_edge.bundle import bundle
    from albert_edge.checkpoints import read_checkpoint
    from albert_edge.checkpoints.trim_vocab import match_vocabulary
    from albert_edge.modeling import from_checkpoint
    from albert_edge.verification import verify

    inside = bundle.read(model)
    drawn = bool(inside.provenance.get("drawn"))  # a random head is the same when made again
    checkpoint = read_checkpoint(source, task=inside.task, init_head=drawn)
    if inside.tokenizer_files and inside.config.vocab_size < checkpoint.config.vocab_size:
        checkpoint = match_vocabulary(checkpoint, inside.tokenizer_files)
    return verify(model, from_checkpoint(checkpoint), texts=texts, accelerator=accelerator)
