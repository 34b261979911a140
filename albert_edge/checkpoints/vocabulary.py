"""A tokenizer and an embedding have to agree on what an id is."""

from __future__ import annotations

from collections.abc import Mapping

from albert_edge.errors import CheckpointError
from albert_edge.tokenizer import tokenizer_from_files

__all__ = ["check_vocabulary"]

_MODELS = {"spiece.model", "vocab.txt", "tokenizer.json"}


def check_vocabulary(files: Mapping[str, bytes], vocab_size: int, *, where: str) -> tuple[str, ...]:
    """Check that the embedding has a row for every id of the tokenizer.

    Args:
        files: The tokenizer's files by name; none are fine.
        vocab_size: V, the rows of the embedding.
        where: The checkpoint, for error messages.

    Returns:
        A note if there are rows that no text reaches.

    Raises:
        CheckpointError: The tokenizer has more ids than the embedding has rows.
        TokenizerError: The tokenizer cannot be used.
    """
    if _MODELS.isdisjoint(files):
        return ()
    ids = tokenizer_from_files(files, where=where).vocab_size
    if ids > vocab_size:
        raise CheckpointError(
            f"{where}: the tokenizer has {ids} ids, and the embedding {vocab_size} rows "
            "(vocab_size): it is another model's tokenizer."
        )
    if ids < vocab_size:
        return (
            f"the tokenizer has {ids} ids: {vocab_size - ids} rows of the embedding are unused",
        )
    return ()
