"""`albert-edge demo`: convert, verify and benchmark an embedded model, and run all three."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from albert_edge.cli.options import force_option, json_option


@click.command()
@click.option("-o", "--output", metavar="DIR", help="Directory to keep the .tflite files in.")
@click.option("--quick", is_flag=True, help="Measure one short round.")
@force_option
@json_option
def command(output: str | None, quick: bool, force: bool, as_json: bool) -> None:
    """Convert the embedded sentiment model in every recipe and layout; verify and benchmark each.

    Then classify three reviews with one of the files, answer a question with the embedded model
    "questions", and find the nearest of four sentences with "embeddings".

    \b
    albert-edge demo
    albert-edge demo -o files/
    albert-edge demo --quick --json
    """
    from albert_edge.cli.console import bars, print_report
    from albert_edge.demo import render, run_demo, to_document

    with tempfile.TemporaryDirectory() as scratch, bars() as shown:
        demo = run_demo(Path(output or scratch), quick=quick, force=force, progress=shown)
    report = to_document(demo) if as_json else None
    print_report(report, as_json=as_json, render=lambda _: [render(demo)])
