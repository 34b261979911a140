"""`albert-edge demo`: the whole way, with the embedded model."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click

from albert_edge.cli.options import force_option, json_option

__all__ = ["command"]


@click.command(short_help="Convert, verify and measure the embedded model, and answer with it.")
@click.option("-o", "--output", metavar="DIR", help="Keep the .tflite files in this directory.")
@click.option("--quick", is_flag=True, help="Measure once and briefly.")
@force_option
@json_option
def command(output: str | None, quick: bool, force: bool, as_json: bool) -> None:
    """Convert the embedded model in every recipe and layout, verify and measure each, and answer.

    \b
    albert-edge demo
    albert-edge demo -o files/
    albert-edge demo --quick --json
    """
    from rich.console import Console
    from rich.progress import Progress

    from albert_edge.cli.console import quiet
    from albert_edge.demo import render, run_demo, to_document

    with tempfile.TemporaryDirectory() as scratch, quiet() as terminal:
        bars = Progress(console=terminal, transient=True, disable=not terminal.is_terminal)
        with bars:
            demo = run_demo(Path(output or scratch), quick=quick, force=force, progress=bars)
    click.echo(json.dumps(to_document(demo), indent=2)) if as_json else Console().print(
        render(demo)
    )
