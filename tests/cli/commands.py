"""The command line as a function."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from albert_edge import cli

PARITY = Path(__file__).parents[1] / "data" / "parity"


def albert_edge(*args: object, stdin: str = "") -> Result:
    return CliRunner().invoke(cli._group, [str(arg) for arg in args], input=stdin)
