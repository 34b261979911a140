"""The texts that show how large the values in a model become."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from albert_edge.config import AlbertConfig
from albert_edge.errors import InputError
from albert_edge.tokenizer import tokenizer_from_files

__all__ = ["BUILT_IN", "MOST_TEXTS", "calibration_rows"]

# Enough for ranges: among 400 texts of another kind, none reached further by more than a tenth.
MOST_TEXTS = 128
_LEAST_TOKENS = 8  # of all texts together, beside special tokens

# For who has no texts at hand: plain, odd, short and long ones.
BUILT_IN = (
    "A quiet, moving film.",
    "No!",
    "The battery lasts two days, the screen does not: after a week it had 3 dead pixels.",
    "Naïve café owners in Zürich pay 9,50 francs for what costs 4.20 elsewhere 🙂.",
    "It isn't that the plot was bad; there was none, and nobody in the cast seemed to mind.",
    "When did the last train leave, and who was on it?",
    "Rain is expected in the north by Tuesday, with winds of up to 90 km/h along the coast.",
    "She laughed, closed the book, and asked whether anybody had fed the cat.",
    "The committee approved the budget (14 to 3) after a debate of nearly six hours.",
    "Worst purchase I have made in years; do not believe the five-star reviews.",
    "Water boils at 100 °C at sea level, but at about 93 °C in a town 2,000 m up.",
    "i loved every minute of it and so did my kids",
    (
        "Ada Lovelace wrote the first published program in 1843. It computed Bernoulli numbers on "
        "a machine that was never built, and she saw further than its inventor: a machine that "
        "shuffles symbols by rule, she wrote, might one day compose music as well as do sums."
    ),
)


def calibration_rows(
    texts: Iterable[str] | None,
    config: AlbertConfig,
    tokenizer_files: Mapping[str, bytes],
    *,
    seq_len: int | None = None,
) -> list[dict[str, Sequence[int]]]:
    """Turn texts into what the model reads.

    Args:
        texts: The texts, of which the first 128 are taken; rows of ids separated by spaces for a
            model without a tokenizer.  None for a dozen built-in sentences, or random ids.
        config: The model's shape.
        tokenizer_files: The model's tokenizer, or nothing.
        seq_len: The fixed length of the file, or None.

    Returns:
        Rows of `input_ids` and `token_type_ids`, at most `seq_len` long each.

    Raises:
        InputError: There are no texts, too few tokens in them, or ids that the model has not.
    """
    longest = seq_len or config.max_position_embeddings
    if not tokenizer_files:
        return [{"input_ids": ids[:longest], "token_type_ids": [0] * len(ids[:longest])}
                for ids in _ids(texts, config)]  # fmt: skip
    tokenizer = tokenizer_from_files(tokenizer_files)
    given = list(_first(BUILT_IN if texts is None else texts))
    encodings = [tokenizer.encode(text, max_length=longest) for text in given]
    padding = config.pad_token_id
    real = sum(
        offset is not None and piece != padding
        for encoding in encodings
        for piece, offset in zip(encoding.input_ids, encoding.offsets, strict=True)
    )
    if real < _LEAST_TOKENS:
        raise InputError(
            f"the calibration texts hold {real} tokens, at least {_LEAST_TOKENS} are needed: give "
            "some dozens of texts like those that the model will read, one a line."
        )
    return [
        {"input_ids": encoding.input_ids, "token_type_ids": encoding.token_type_ids}
        for encoding in encodings
    ]


def _first(texts: Iterable[str]) -> Iterable[str]:
    for count, text in enumerate(texts):
        if count == MOST_TEXTS:
            return
        yield text


def _ids(texts: Iterable[str] | None, config: AlbertConfig) -> list[list[int]]:
    if texts is None:
        random = np.random.default_rng(0)
        return [random.integers(0, config.vocab_size, n).tolist() for n in (3, 16, 64)]
    try:
        rows = [[int(word) for word in text.split()] for text in _first(texts)]
    except ValueError as error:
        raise InputError(
            f"the model has no tokenizer, so calibration takes ids, not text: {error}."
        ) from error
    wrong = [i for row in rows for i in row if not 0 <= i < config.vocab_size]
    if wrong:
        raise InputError(
            f"id {wrong[0]} in the calibration data is not in [0, {config.vocab_size})."
        )
    if sum(i != config.pad_token_id for row in rows for i in row) < _LEAST_TOKENS:
        raise InputError(
            f"the calibration data hold less than {_LEAST_TOKENS} ids that are not padding: give "
            "some dozens of rows like those that the model will read, one a line."
        )
    return [row for row in rows if row]
