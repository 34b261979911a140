"""`albert-edge demo`: the whole way, with the embedded model."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

__all__ = ["command"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    help="Keep the .tflite files in this directory.",
)
@click.option("--force", is_flag=True, help="Replace files that are there already.")
@click.option("--quick", is_flag=True, help="Measure once and briefly.")
def command(as_json: bool, folder: Path | None, force: bool, quick: bool) -> None:
    """Convert, verify and measure the embedded model, and answer with it.

    \b
    albert-edge demo
    albert-edge demo --quick --json
    albert-edge demo -o demo
    """
    from albert_edge.demo import render, run_demo, to_document

    errors = Console(stderr=True)
    with tempfile.TemporaryDirectory() as scratch:
        with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
            demo = run_demo(folder or Path(scratch), quick=quick, force=force, progress=progress)
    if as_json:
        click.echo(json.dumps(to_document(demo), indent=2))
    else:
        Console().print(render(demo))
