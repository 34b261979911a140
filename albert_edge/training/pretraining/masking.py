"""Mask whole words, and make pre-training batches of masked pairs of segments."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import tensorflow as tf

from albert_edge.tokenizer import Tokenizer, WordPieceTokenizer
from albert_edge.training.pretraining.corpus import SPECIAL, Document, SegmentPair, make_pairs

_SHARE = 0.15  # of the tokens are masked
_NGRAM = 3  # the most words that are masked together
_RANDOM_FROM = 5  # the ids below are special tokens
# Thai, Lao, Burmese, Khmer, Japanese and Chinese have no space between words.
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Masking:
    """The properties of a vocabulary for masking.

    Attributes:
        mask_id: The id of `[MASK]`.
        vocab_size: V.
        starts: bool [V], whether a piece begins a word; in a script without spaces between words,
            every piece does.
    """

    mask_id: int
    vocab_size: int
    starts: np.ndarray

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Masking:
        """Return the properties of a tokenizer's vocabulary."""
        pieces = [tokenizer.id_to_piece(index) for index in range(tokenizer.vocab_size)]
        begins = _begins_bert if isinstance(tokenizer, WordPieceTokenizer) else _begins
        starts = [begins(piece) for piece in pieces]
        return cls(tokenizer.mask_id, tokenizer.vocab_size, np.array(starts))


def mask_words(
    ids: np.ndarray, special: np.ndarray, masking: Masking, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mask 15% of the tokens, in n-grams of one to three whole words.

    Lan et al. 2020, arXiv:1909.11942, sec. 4.1: an n-gram has n words with a probability
    proportional to 1/n.  80% of the n-grams become `[MASK]`, 10% random pieces, 10% are unchanged
    (Devlin et al. 2019, arXiv:1810.04805, sec. 3.1).

    Args:
        ids: int32 [T], in [0, V).
        special: bool [T], the positions that are never masked.
        masking: The properties of the vocabulary.
        random: The generator.

    Returns:
        The masked ids, int32 [T], and the masked positions, int64 [M], ascending, with M at most
        `ceil(0.15 T)`.
    """
    words = _words(ids, special, masking.starts)
    budget = max(1, round(_SHARE * int((~special).sum())))
    masked = ids.copy()
    taken: set[int] = set()
    weights = 1 / np.arange(1, _NGRAM + 1)
    sizes = random.choice(_NGRAM, size=len(words), p=weights / weights.sum()) + 1
    for first in random.permutation(len(words)).tolist():
        group = [place for word in words[first : first + sizes[first]] for place in word]
        if len(taken) + len(group) > budget:
            group = list(words[first])
        if len(taken) + len(group) > budget or taken & set(group):
            continue
        taken.update(group)
        draw = random.random()
        if draw < 0.8:
            masked[group] = masking.mask_id
        elif draw < 0.9:
            masked[group] = random.integers(_RANDOM_FROM, masking.vocab_size, len(group))
        if len(taken) == budget:
            break
    return masked, np.array(sorted(taken), np.int64)


def _words(ids: np.ndarray, special: np.ndarray, starts: np.ndarray) -> list[range]:
    """Return the positions of every word."""
    open_at = np.flatnonzero(~special & (starts[ids] | np.roll(special, 1)))
    closed = np.flatnonzero(special)
    ends = np.union1d(open_at, closed)
    following = np.append(ends, len(ids))[np.searchsorted(ends, open_at, side="right")]
    return [range(a, b) for a, b in zip(open_at.tolist(), following.tolist(), strict=True)]


def _begins_bert(piece: str) -> bool:
    return not piece.startswith("##")


def _begins(piece: str) -> bool:
    return piece.startswith("▁") or bool(_SPACELESS.match(piece))


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in the batches: `index` batches of epoch number `epoch` are done."""

    epoch: int = 0
    index: int = 0


class EpochBatches(ABC):
    """Endless batches, each determined by its position and the seed alone.

    Attributes:
        seed: The random seed.
        unit: The word for what is in a row.
    """

    seed: int
    unit: ClassVar[str]

    @abstractmethod
    def _plan(self, epoch: int) -> Sequence[Any]:
        """Return what each batch of epoch number `epoch` consists of."""

    @abstractmethod
    def _batch(self, rows: Any, random: np.random.Generator) -> Arrays:
        """Return the batch of an entry of the plan."""

    @final
    def count(self, epoch: int = 0) -> int:
        """Return the number of batches in epoch number `epoch`."""
        return len(self._plan(epoch))

    @final
    def after(self, cursor: Cursor) -> Iterator[tuple[Cursor, Arrays]]:
        """Yield every batch after a position, with the position after it."""
        epoch, index = cursor.epoch, cursor.index
        while True:
            plan = self._plan(epoch)
            for at in range(index, len(plan)):
                random = np.random.default_rng([self.seed, epoch, at])
                yield Cursor(epoch, at + 1), self._batch(plan[at], random)
            epoch, index = epoch + 1, 0


@final
class PretrainBatches(EpochBatches):
    """Endless batches of masked pairs, each determined by its position and the seed alone.

    A batch maps names to arrays of B rows: `input_ids`, `token_type_ids`, `attention_mask` int32
    [B, T]; `places` int32 [B, M], the masked positions, padded with 0; `targets` int32 [B, M], the
    tokens there; `weights` float32 [B, M], 0 for padding; `order` int32 [B], 1 for swapped
    segments.

    Args:
        documents: The encoded texts.
        tokenizer: The tokenizer that encoded them.
        batch_size: B.
        max_length: T.
        seed: The random seed.
    """

    unit = "pairs"

    def __init__(
        self,
        documents: Sequence[Document],
        tokenizer: Tokenizer,
        *,
        batch_size: int,
        max_length: int,
        seed: int,
    ) -> None:
        self._documents = documents
        self._tokenizer = tokenizer
        self._masking = Masking.of(tokenizer)
        self._size, self._length, self.seed = batch_size, max_length, seed

    def _plan(self, epoch: int) -> list[list[SegmentPair]]:
        random = np.random.default_rng([self.seed, epoch])
        pairs = make_pairs(self._documents, max_length=self._length, random=random)
        whole = len(pairs) // self._size * self._size
        return [pairs[at : at + self._size] for at in range(0, whole, self._size)]

    def _batch(self, pairs: Sequence[SegmentPair], random: np.random.Generator) -> Arrays:
        most = int(np.ceil(0.15 * self._length))
        wide, narrow = (len(pairs), self._length), (len(pairs), most)
        batch = {
            "input_ids": np.full(wide, self._tokenizer.pad_id, np.int32),
            "token_type_ids": np.zeros(wide, np.int32),
            "attention_mask": np.zeros(wide, np.int32),
            "places": np.zeros(narrow, np.int32),
            "targets": np.zeros(narrow, np.int32),
            "weights": np.zeros(narrow, np.float32),
            "order": np.array([pair.swapped for pair in pairs], np.int32),
        }
        for row, pair in enumerate(pairs):
            ids, special = self._join(pair)
            masked, places = mask_words(ids, special, self._masking, random)
            batch["input_ids"][row, : len(ids)] = masked
            batch["token_type_ids"][row, len(pair.first) + 2 : len(ids)] = 1
            batch["attention_mask"][row, : len(ids)] = 1
            batch["places"][row, : len(places)] = places
            batch["targets"][row, : len(places)] = ids[places]
            batch["weights"][row, : len(places)] = 1
        return batch

    def _join(self, pair: SegmentPair) -> tuple[np.ndarray, np.ndarray]:
        cls_id, sep_id = [self._tokenizer.cls_id], [self._tokenizer.sep_id]
        ids = np.concatenate([cls_id, pair.first, sep_id, pair.second, sep_id]).astype(np.int32)
        special = np.zeros(len(pair.first) + len(pair.second) + SPECIAL, bool)
        special[[0, len(pair.first) + 1, -1]] = True
        return ids, special


def as_dataset(batches: Iterator[tuple[Cursor, Arrays]], like: Mapping[str, np.ndarray]) -> Any:
    """Return a `tf.data.Dataset` that makes batches ahead in the background; `like` is a sample."""
    signature = {
        name: tf.TensorSpec([None] * array.ndim, array.dtype) for name, array in like.items()
    }
    position = tf.TensorSpec([2], tf.int64)

    def generate() -> Iterator[tuple[np.ndarray, Arrays]]:
        for cursor, batch in batches:
            yield np.array([cursor.epoch, cursor.index]), batch

    dataset = tf.data.Dataset.from_generator(generate, output_signature=(position, signature))
    return dataset.prefetch(8)
