"""The command line of every peer's module, which makes a file in the peer's own environment."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Protocol

__all__ = ["Make", "main"]


class Make(Protocol):
    """What makes a peer's file: it takes a checkpoint's folder and fills an empty one."""

    def __call__(self, source: Path, folder: Path, *, recipe: str, seq_len: int) -> None: ...


def main(make: Make) -> None:
    """Read the arguments and make; only with the standard library, for there may be no other."""
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--seq-len", type=int, required=True)
    asked = parser.parse_args()
    make(asked.source, asked.output, recipe=asked.recipe, seq_len=asked.seq_len)
