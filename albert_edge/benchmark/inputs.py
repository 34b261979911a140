"""The inputs of a measurement: fixed texts, cut to an exact number of tokens.

A file without a tokenizer gets random ids instead, the same ones every time.
"""

from __future__ import annotations

from dataclasses import dataclass

from albert_edge.benchmark.worker import random_ids
from albert_edge.bundle.bundle import Bundle
from albert_edge.tokenizer import Tokenizer, tokenizer_from_files

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The inputs of one file at one length.

    Attributes:
        ids: Rows of token ids, each in [0, V).  Only the first, of length T, is timed; the other
            two, of lengths T and T / 2, are run once, so that an error in masking shows too.
        text: Arguments of the task's pipeline, at most T tokens; None without a tokenizer, or if
            T is too short for a text.
        text_tokens: Number of tokens of `text`.
        description: What the ids are, for reports.
    """

    ids: tuple[tuple[int, ...], ...]
    text: dict[str, str] | None
    text_tokens: int | None
    description: str


def make_inputs(bundle: Bundle, seq_len: int) -> Inputs:
    """Make the inputs of a file at T = `seq_len`.

    Raises:
        TokenizerError: The tokenizer in the file cannot be used.
    """
    lengths = (seq_len, seq_len, max(1, seq_len // 2))
    if not bundle.tokenizer_files:
        vocab_size = bundle.config.vocab_size
        rows = tuple(
            tuple(random_ids(vocab_size, length, seed=seed).tolist())
            for seed, length in enumerate(lengths)
        )
        description = f"{len(rows)} rows of random ids"
        return Inputs(ids=rows, text=None, text_tokens=None, description=description)
    tokenizer = tokenizer_from_files(bundle.tokenizer_files)
    rows = tuple(
        _exact_ids(tokenizer, passage, length)
        for passage, length in zip(_PASSAGES, lengths, strict=True)
    )
    text, text_tokens = _longest_text(tokenizer, bundle.task, seq_len)
    return Inputs(ids=rows, text=text, text_tokens=text_tokens, description=f"{len(rows)} texts")


def _exact_ids(tokenizer: Tokenizer, passage: str, length: int) -> tuple[int, ...]:
    # Every word has at least one token, so the repeated passage is long enough to be cut.
    text = passage * (1 + length // len(passage.split()))
    ids = tokenizer.encode(text, max_length=max(length, 3)).input_ids
    return tuple(ids[:length])


def _longest_text(
    tokenizer: Tokenizer, task: str, seq_len: int
) -> tuple[dict[str, str] | None, int | None]:
    # Bisect for the largest number of words that fit into T tokens.
    words = (_PASSAGES[0] * (1 + seq_len // len(_PASSAGES[0].split()))).split(" ")
    fitting, too_many = 0, len(words) + 1
    while too_many - fitting > 1:
        middle = (fitting + too_many) // 2
        arguments = _pipeline_arguments(tokenizer, task, words[:middle])
        if _count_tokens(tokenizer, arguments) <= seq_len:
            fitting = middle
        else:
            too_many = middle
    if not fitting:
        return None, None
    arguments = _pipeline_arguments(tokenizer, task, words[:fitting])
    return arguments, _count_tokens(tokenizer, arguments)


def _pipeline_arguments(tokenizer: Tokenizer, task: str, words: list[str]) -> dict[str, str]:
    text = " ".join(words)
    if task == "question-answering":
        return {"question": _QUESTION, "context": text}
    if task == "sentence-order":
        return {"text": text, "pair": _QUESTION}
    if task in ("fill-mask", "pretraining"):
        return {"text": f"{text} {tokenizer.id_to_piece(tokenizer.mask_id)}"}
    return {"text": text}


def _count_tokens(tokenizer: Tokenizer, arguments: dict[str, str]) -> int:
    return len(tokenizer.encode(*arguments.values(), allow_special=True).input_ids)
