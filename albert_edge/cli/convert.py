"""`albert-edge convert`: a checkpoint becomes one file."""

from __future__ import annotations

import json

import click

from albert_edge.cli.options import force_option, json_option, seq_len_option
from albert_edge.compression.recipes import LAYOUTS, RECIPES
from albert_edge.config import TASKS

__all__ = ["command"]


@click.command(short_help="Turn a checkpoint into one .tflite file.")
@click.argument("source")
@click.option("-o", "--output", required=True, metavar="M.tflite", help="The file to write.")
@click.option(
    "--task",
    type=click.Choice(["auto", *TASKS]),
    default="auto",
    show_default=True,
    help="What the head answers; auto takes the head that the checkpoint has.",
)
@click.option(
    "--quantize",
    type=click.Choice(list(RECIPES)),
    default="int8",
    show_default=True,
    help="How weights are stored; see albert-edge recipes.",
)
@click.option(
    "--layout",
    type=click.Choice(list(LAYOUTS)),
    default="loop",
    show_default=True,
    help="How the passes are laid out; see albert-edge recipes.",
)
@seq_len_option
@click.option(
    "--verify/--no-verify",
    default=True,
    show_default=True,
    help="Compare the file with the checkpoint, and refuse to write one that fails.",
)
@force_option
@json_option
def command(
    source: str,
    output: str,
    task: str,
    quantize: str,
    layout: str,
    seq_len: int | None,
    verify: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Turn SOURCE into one .tflite file that carries its tokenizer.

    SOURCE is a Hugging Face directory (config.json, model.safetensors, spiece.model), "default"
    for the embedded model, or a preset's name for random weights.

    \b
    albert-edge convert ./my-albert -o my.tflite
    albert-edge convert ./my-albert -o gpu.tflite --quantize float16 --layout unrolled --seq-len 128
    albert-edge convert albert-base-v2 -o shape.tflite --task classification --json
    """
    from albert_edge.cli.progress import step
    from albert_edge.cli.report import print_conversion
    from albert_edge.files import check_writable

    check_writable(output, force=force)
    with step("Converting"):
        from albert_edge.lite.convert import convert
        from albert_edge.modeling import load_keras

        model = load_keras(source, task=task)
        made = convert(model, quantize=quantize, layout=layout, seq_len=seq_len, verified=verify)
        made.save(output, force=force)
    report = {"output": output, **made.report}
    click.echo(json.dumps(report, indent=2)) if as_json else print_conversion(report)
