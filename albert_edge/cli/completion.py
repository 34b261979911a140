"""`albert-edge completion`: complete verbs, options and their values in a shell."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

_SHELLS: dict[str, type[ShellComplete]] = {
    "bash": BashComplete,
    "zsh": ZshComplete,
    "fish": FishComplete,
}
_VARIABLE = "_ALBERT_EDGE_COMPLETE"  # the name that click makes of the program's


@click.command()
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script that completes albert-edge in SHELL.

    \b
    albert-edge completion bash >> ~/.bashrc
    albert-edge completion zsh >> ~/.zshrc
    albert-edge completion fish > ~/.config/fish/completions/albert-edge.fish
    """
    script = _SHELLS[shell](context.find_root().command, {}, "albert-edge", _VARIABLE)
    click.echo(script.source())
