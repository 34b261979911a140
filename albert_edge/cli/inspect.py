"""`albert-edge inspect`: signatures, operators, weights and metadata of a file."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from albert_edge.cli.options import json_option
from albert_edge.config import ACCELERATORS


@click.command()
@click.argument("model")
@click.option(
    "--accelerator",
    type=click.Choice([one for one in ACCELERATORS if not one.startswith("edgetpu:")]),
    default="cpu",
    show_default=True,
    help="Also show what this accelerator would not run, and why.",
)
@click.option(
    "--bisect",
    is_flag=True,
    help="Run parts of the graph on the GPU, and find the first operator whose result differs from "
    "the CPU's.",
)
@json_option
def command(model: str, accelerator: str, bisect: bool, as_json: bool) -> None:
    """Show the signatures, operators, weights and metadata of MODEL, stage by stage.

    With --accelerator gpu also what GPU runtimes would compute wrong, refuse, or leave to the CPU.
    Then exits with 1, unless only tables stay on the CPU.  With --accelerator edgetpu what the Edge
    TPU's compiler would map of the graph, before it is compiled, and why not the rest.

    \b
    albert-edge inspect my.tflite
    albert-edge inspect any-other.tflite --json
    albert-edge inspect any-other.tflite --accelerator gpu
    albert-edge inspect any-other.tflite --accelerator gpu --bisect
    albert-edge inspect any-other.tflite --accelerator edgetpu
    """
    from albert_edge.cli.console import print_report, render_inspection
    from albert_edge.inspection import inspect, require_right

    if bisect and not accelerator.startswith("gpu"):
        raise click.UsageError("--bisect compares a GPU with the CPU: add --accelerator gpu.")
    figures = inspect(model, accelerator=accelerator)
    if bisect:
        figures["gpu"]["bisect"] = _bisect(model, accelerator)
    print_report(figures, as_json=as_json, render=partial(render_inspection, model))
    require_right(figures, where=model)


def _bisect(model: str, accelerator: str) -> dict[str, Any]:
    from albert_edge.cli.console import bars
    from albert_edge.inspection import bisect

    with bars() as shown:
        bar = shown.add_task("Bisecting")

        def show(done: int, expected: int) -> None:
            shown.update(bar, completed=done, total=expected)

        return bisect(model, accelerator=accelerator, on_cut=show)
