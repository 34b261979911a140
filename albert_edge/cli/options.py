"""Options that several verbs share, so that they read and behave the same everywhere."""

from __future__ import annotations

import click

__all__ = ["force_option", "init_head_option", "json_option", "seq_len_option"]

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead."
)
init_head_option = click.option(
    "--init-head",
    is_flag=True,
    help="Draw a head that the checkpoint lacks at random, always the same, to be trained.",
)
force_option = click.option("--force", is_flag=True, help="Replace the output if it exists.")


def _seq_len(_: click.Context, __: click.Parameter, value: str) -> int | None:
    if value == "any":
        return None
    if not value.isascii() or not value.isdecimal():
        raise click.BadParameter(f"{value!r} is neither 'any' nor a whole number.")
    return int(value)


seq_len_option = click.option(
    "--seq-len",
    callback=_seq_len,
    default="any",
    show_default=True,
    metavar="any|N",
    help="Take texts of any length, or pad every text to N tokens (for GPUs and Edge TPU).",
)
