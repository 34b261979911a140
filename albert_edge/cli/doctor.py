"""`albert-edge doctor`: what works on this machine, and what installs the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from albert_edge.cli.options import json_option

if TYPE_CHECKING:
    from rich.console import Group


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Say which packages, runtimes, accelerators and devices work on this machine.

    What does not work is shown with the command that brings it.  Accelerators are tried in child
    processes.  Exits with 1 if models cannot be run here.

    \b
    albert-edge doctor
    albert-edge doctor --json
    """
    from albert_edge.cli.console import print_report, quiet
    from albert_edge.doctor import diagnose

    with quiet():
        found = diagnose()
    print_report(found, as_json=as_json, render=lambda found: [_render(found)])
    if not found["ready"]:
        click.get_current_context().exit(1)


def _render(found: dict[str, Any]) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from albert_edge.errors import printable

    machine = found["machine"]
    instructions = ", ".join(machine["instructions"]) or "none of those that matter"
    table = Table(box=None, pad_edge=False, show_header=False, collapse_padding=True)
    for one in found["checks"]:
        mark = Text("works", "green") if one["works"] else Text("no", "yellow")
        name = Text(f"{one['area']}: {one['name']}")
        table.add_row(name, mark, Text(printable(one["detail"])))
    return Group(
        Text(f"albert_edge {found['albert_edge']}, Python {machine['python']}"),
        Text(f"{machine['model']}, {machine['cores']} cores; instructions: {instructions}\n"),
        table,
    )
