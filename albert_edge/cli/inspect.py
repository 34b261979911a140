"""`albert-edge inspect`: signatures, operators, weights and metadata of a file."""

from __future__ import annotations

from functools import partial

import click

from albert_edge.cli.options import json_option


@click.command()
@click.argument("model")
@json_option
def command(model: str, as_json: bool) -> None:
    """Show the signatures, operators, weights and metadata of MODEL, stage by stage.

    \b
    albert-edge inspect my.tflite
    albert-edge inspect any-other.tflite --json
    """
    from albert_edge.cli.console import print_report, render_inspection
    from albert_edge.inspection import inspect

    print_report(inspect(model), as_json=as_json, render=partial(render_inspection, model))
