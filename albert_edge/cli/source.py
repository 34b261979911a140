"""Read what a user names as the source, and trim its vocabulary if asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from albert_edge.cli.progress import bars, step

if TYPE_CHECKING:
    from albert_edge.checkpoints import Checkpoint

__all__ = ["read_source"]


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
    from albert_edge.compression.corpus import Corpus
    from albert_edge.compression.vocabulary import trim_vocabulary

    with bars() as shown:
        texts = Corpus(Path(corpus), lambda path: shown.open(path, "rb", description="Reading"))
        return trim_vocabulary(checkpoint, texts, size=pieces)
