"""Hide words, so that they can be predicted."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from albert_edge.tokenizer import Tokenizer
from albert_edge.tokenizer.wordpiece import WordPieceTokenizer

__all__ = ["Masking", "mask_words"]

_SHARE = 0.15  # of the tokens are predicted
_NGRAM = 3  # words that are hidden together, at most
_RANDOM_FROM = 5  # the first ids are special tokens
# Thai, Lao, Burmese, Khmer, Japanese and Chinese have no space between words.
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)


@dataclass(frozen=True, slots=True, eq=False)
class Masking:
    """What hiding words needs to know of a vocabulary.

    Attributes:
        mask_id: The id of `[MASK]`.
        vocab_size: V.
        starts: bool [V], whether a piece begins a word; where a script has no space between
            words, every piece does.
    """

    mask_id: int
    vocab_size: int
    starts: np.ndarray

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Masking:
        """Look at every piece of a tokenizer."""
        pieces = [tokenizer.id_to_piece(index) for index in range(tokenizer.vocab_size)]
        begins = _begins_bert if isinstance(tokenizer, WordPieceTokenizer) else _begins
        starts = [begins(piece) for piece in pieces]
        return cls(tokenizer.mask_id, tokenizer.vocab_size, np.array(starts))


def mask_words(
    ids: np.ndarray, special: np.ndarray, masking: Masking, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Hide 15% of the tokens, in groups of one to three whole words.

    Lan et al. 2020, arXiv:1909.11942, sec. 4.1: a group has n words with a probability in
    proportion to 1/n.  Of the groups 80% become `[MASK]`, 10% random pieces, 10% stay (Devlin et
    al. 2019, arXiv:1810.04805, sec. 3.1).

    Args:
        ids: int32 [T].
        special: bool [T], which places may not be hidden.
        masking: The vocabulary's.
        random: Draws what is hidden.

    Returns:
        The ids with words hidden, int32 [T], and the hidden places, int64 [M] ascending, with M at
        most `ceil(0.15 T)`.
    """
    words = _words(ids, special, masking.starts)
    budget = max(1, round(_SHARE * int((~special).sum())))
    hidden = ids.copy()
    taken: set[int] = set()
    sizes = random.choice(_NGRAM, size=len(words), p=_chances()) + 1
    for first in random.permutation(len(words)).tolist():
        group = [place for word in words[first : first + sizes[first]] for place in word]
        if len(taken) + len(group) > budget:
            group = list(words[first])
        if len(taken) + len(group) > budget or taken & set(group):
            continue
        taken.update(group)
        draw = random.random()
        if draw < 0.8:
            hidden[group] = masking.mask_id
        elif draw < 0.9:
            hidden[group] = random.integers(_RANDOM_FROM, masking.vocab_size, len(group))
        if len(taken) == budget:
            break
    return hidden, np.array(sorted(taken), np.int64)


def _words(ids: np.ndarray, special: np.ndarray, starts: np.ndarray) -> list[range]:
    """Return the places of every word."""
    open_at = np.flatnonzero(~special & (starts[ids] | np.roll(special, 1)))
    closed = np.flatnonzero(special)
    ends = np.union1d(open_at, closed)
    following = np.append(ends, len(ids))[np.searchsorted(ends, open_at, side="right")]
    return [range(a, b) for a, b in zip(open_at.tolist(), following.tolist(), strict=True)]


def _begins_bert(piece: str) -> bool:
    return not piece.startswith("##")


def _begins(piece: str) -> bool:
    return piece.startswith("▁") or bool(_SPACELESS.match(piece))


def _chances() -> np.ndarray:
    weights = 1 / np.arange(1, _NGRAM + 1)
    chances: np.ndarray = weights / weights.sum()
    return chances
