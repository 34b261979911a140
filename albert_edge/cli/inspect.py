"""`albert-edge inspect`: signatures, operators, weights and metadata of a file."""

from __future__ import annotations

from functools import partial

import click

from albert_edge.cli.options import json_option
from albert_edge.config import ACCELERATORS


@click.command()
@click.argument("model")
@click.option(
    "--accelerator",
    type=click.Choice(ACCELERATORS),
    default="cpu",
    show_default=True,
    help="Also list what this accelerator would compute wrong, refuse, or leave to the CPU.",
)
@json_option
def command(model: str, accelerator: str, as_json: bool) -> None:
    """Show the signatures, operators, weights and metadata of MODEL, stage by stage.

    With --accelerator gpu, exits with 1 if a GPU runtime would compute an operator wrong or refuse
    it. Tables that stay on the CPU are no error.

    \b
    albert-edge inspect my.tflite
    albert-edge inspect any-other.tflite --json
    albert-edge inspect any-other.tflite --accelerator gpu
    """
    from albert_edge.cli.console import print_report, render_inspection
    from albert_edge.inspection import inspect

    figures = inspect(model, accelerator=accelerator)
    print_report(figures, as_json=as_json, render=partial(render_inspection, model))
    if accelerator != "cpu":
        from albert_edge.tflite.gpu_rules import require_gpu

        require_gpu(figures["gpu"]["kinds"], where=model)
