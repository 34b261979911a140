"""Options that several verbs share, so that they read and behave the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from albert_edge.cli.console import bars, step

if TYPE_CHECKING:
    from albert_edge.checkpoints import Checkpoint

__all__ = [
    "early_exit_options",
    "force_option",
    "init_head_option",
    "json_option",
    "read_source",
    "seq_len_option",
]

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


def early_exit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says when a file leaves that can do so early."""
    early = "Of files that can leave early: leave"
    for name, kind, metavar, when in (
        ("--max-layers", int, "N", "after N layers."),
        ("--threshold", float, "P", "when a label has at least this probability."),
        ("--patience", int, "N", "when N layers in a row confirm the answer."),
    ):
        command = click.option(name, type=kind, metavar=metavar, help=f"{early} {when}")(command)
    return command


# Read what a user names as the source, and trim its vocabulary if asked.


def read_source(
    source: str, *, corpus: str | None, pieces: int | None, **reading: Any
) -> Checkpoint:
    """Read a checkpoint.

    Args:
        source: What `read_checkpoint` takes.
        corpus: A file of texts, one a line; the vocabulary is trimmed to what they need.
        pieces: How many pieces are kept instead.
        reading: The options of `read_checkpoint`.
    """
    if pieces is not None and corpus is None:
        raise click.UsageError("--vocabulary-size is for --trim-vocabulary CORPUS.")
    with step("Reading"):
        from albert_edge.checkpoints import read_checkpoint

        checkpoint = read_checkpoint(source, **reading)
    if corpus is None:
        return checkpoint
    from albert_edge.checkpoints.trim_vocab import trim_vocabulary
    from albert_edge.datasets.tables import TextLines

    with bars() as shown:
        texts = TextLines(Path(corpus), lambda path: shown.open(path, "rb", description="Reading"))
        return trim_vocabulary(checkpoint, texts, size=pieces)
