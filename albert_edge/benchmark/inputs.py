"""What a model is given while it is measured: always the same, and of an exact length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from albert_edge.bundle.bundle import Bundle
from albert_edge.tokenizer import Tokenizer, tokenizer_from_files

__all__ = ["Inputs", "make_inputs"]

_QUESTION = "Where did they meet?"
_PASSAGES = (
    (
        "The ferry left the harbour an hour late, and nobody on board seemed to mind. A boy "
        "counted gulls; his aunt, who had crossed forty times, slept through the swell. When the "
        "island rose out of the haze they met the others on deck, where there was soup for free. "
    ),
    (
        "I bought this lamp because of its price and I kept it because of its light. The switch "
        "is loose, the cable too short, and the manual speaks of a model that does not exist. "
        "Still, on winter evenings it turns my desk into the one place where work gets done. "
    ),
    (
        "In 1871 the committee measured the valley again: 14.5 miles of marsh, two mills, no "
        "bridge. Its report was clear, its budget was not, and the railway went around the hills "
        "instead. Today the marsh is a reserve, and trains stop there twice a day. "
    ),
)
_FIRST_ORDINARY_ID = 5  # 0 to 4 are [PAD], [UNK], [CLS], [SEP] and [MASK] everywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What one file is given at one length.

    Attributes:
        ids: Rows of token ids.  The first, of exactly T, is timed; the others, of T and of half as
            many, are only answered, so that a mask that does not work shows too.
        text: What the task's pipeline takes, of at most T tokens; None without a tokenizer, or if
            T is too few for a text.
        text_tokens: How many tokens it has.
        what: What the ids are, for people.
    """

    ids: tuple[tuple[int, ...], ...]
    text: dict[str, str] | None
    text_tokens: int | None
    what: str


def make_inputs(bundle: Bundle, seq_len: int) -> Inputs:
    """Make the inputs of a file at T = `seq_len`.

    Raises:
        TokenizerError: The tokenizer in the file cannot be used.
    """
    lengths = (seq_len, seq_len, max(1, seq_len // 2))
    if not bundle.tokenizer_files:
        rows = tuple(
            _random_ids(bundle.config.vocab_size, n, seed) for seed, n in enumerate(lengths)
        )
        return Inputs(ids=rows, text=None, text_tokens=None, what=f"{len(rows)} rows of random ids")
    tokenizer = tokenizer_from_files(bundle.tokenizer_files)
    rows = tuple(
        _exact_ids(tokenizer, passage, n) for passage, n in zip(_PASSAGES, lengths, strict=True)
    )
    text, text_tokens = _text(tokenizer, bundle.task, seq_len)
    return Inputs(ids=rows, text=text, text_tokens=text_tokens, what=f"{len(rows)} texts")


def _random_ids(vocab_size: int, length: int, seed: int) -> tuple[int, ...]:
    first = min(_FIRST_ORDINARY_ID, vocab_size - 1)
    return tuple(np.random.default_rng(seed).integers(first, vocab_size, length).tolist())


def _exact_ids(tokenizer: Tokenizer, passage: str, length: int) -> tuple[int, ...]:
    # A word has a token at least, so this is long enough; what is too much is cut off.
    text = passage * (1 + length // len(passage.split()))
    ids = tokenizer.encode(text, max_length=max(length, 3)).input_ids
    return tuple(ids[:length])


def _text(
    tokenizer: Tokenizer, task: str, seq_len: int
) -> tuple[dict[str, str] | None, int | None]:
    # The longest beginning, in words, that has at most T tokens with all that goes with it.
    words = (_PASSAGES[0] * (1 + seq_len // len(_PASSAGES[0].split()))).split(" ")
    least, most = 0, len(words) + 1
    while most - least > 1:
        middle = (least + most) // 2
        fits = _count(tokenizer, _asked(tokenizer, task, words[:middle])) <= seq_len
        least, most = (middle, most) if fits else (least, middle)
    if not least:
        return None, None
    text = _asked(tokenizer, task, words[:least])
    return text, _count(tokenizer, text)


def _asked(tokenizer: Tokenizer, task: str, words: list[str]) -> dict[str, str]:
    text = " ".join(words)
    if task == "question-answering":
        return {"question": _QUESTION, "context": text}
    if task == "sentence-order":
        return {"text": text, "pair": _QUESTION}
    if task in ("fill-mask", "pretraining"):
        return {"text": f"{text} {tokenizer.id_to_piece(tokenizer.mask_id)}"}
    return {"text": text}


def _count(tokenizer: Tokenizer, inputs: dict[str, str]) -> int:
    return len(tokenizer.encode(*inputs.values(), allow_special=True).input_ids)
