"""The command line of every peer's converter, run in the peer's own environment."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Protocol

__all__ = ["Make", "main"]


class Make(Protocol):
    """A peer's converter: it reads a checkpoint's folder and writes to an empty one."""

    def __call__(self, source: Path, folder: Path, *, recipe: str, seq_len: int | None) -> None: ...


def main(make: Make) -> None:
    """Parse the arguments and convert, with the standard library only."""
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--seq-len", type=int, help="any length if left out")
    asked = parser.parse_args()
    make(asked.source, asked.output, recipe=asked.recipe, seq_len=asked.seq_len)
