"""Batches of texts of different lengths, with hidden words in half of the texts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import NamedTuple, final

import numpy as np

from albert_edge.tokenizer import Tokenizer
from albert_edge.training.batching import BUCKETS
from albert_edge.training.pretraining.corpus import Document
from albert_edge.training.pretraining.masking import Arrays, EpochBatches

_SPECIAL = 2  # the special tokens of a text: [CLS] and [SEP]
_SHORT, _LEAST = 0.35, 8  # the share of texts that are short, and their least length
_HIDING, _HIDDEN = 0.5, 0.15  # the share of texts with hidden words, and of the words in them


class _Part(NamedTuple):
    # A batch of texts: its padded length, and the places of their tokens, int64 [B, 2].
    length: int
    spans: np.ndarray


@final
class TextBatches(EpochBatches):
    """Endless batches of texts, which are cut anew in every epoch.

    A text consists of consecutive sentences of one document.  A third of the texts are short, so
    that a student learns all lengths.  A batch has texts of similar length, and the fewer the
    longer they are.  It maps names to int32 arrays [B, T]: `input_ids`; `hidden_ids`, where 15% of
    the words of half of the texts are `[MASK]`; and `attention_mask`.

    Args:
        documents: The encoded texts.
        tokenizer: The tokenizer that encoded them.
        batch_size: B of texts of `max_length` tokens; a multiple of it for shorter ones.
        max_length: The most tokens of a text, special ones included.
        seed: The random seed.
    """

    unit = "texts"

    def __init__(
        self,
        documents: Sequence[Document],
        tokenizer: Tokenizer,
        *,
        batch_size: int,
        max_length: int,
        seed: int,
    ) -> None:
        self._size, self._length, self.seed = batch_size, max_length, seed
        self._lengths = [*(one for one in BUCKETS if one < max_length), max_length]
        self._tokenizer = tokenizer
        self._tokens = np.concatenate([[0], *chain.from_iterable(documents)]).astype(np.int32)
        sizes = [[len(sentence) for sentence in document] for document in documents]
        self._ends = np.cumsum(list(chain([1], *sizes)))  # of sentences; that of none before them
        self._documents = np.cumsum([1, *map(sum, sizes)])

    def _plan(self, epoch: int) -> list[_Part]:
        random = np.random.default_rng([self.seed, epoch])
        spans = self._cut(random)
        buckets = np.searchsorted(self._lengths, spans[:, 1] - spans[:, 0] + _SPECIAL)
        parts: list[_Part] = []
        left = spans[:0]  # texts that fill no batch: they are padded to the next length
        for bucket, length in enumerate(self._lengths):
            found = np.concatenate([left, random.permutation(spans[buckets == bucket])])
            size = self._size * (self._length // length)
            whole = len(found) // size * size
            parts += [_Part(length, found[at : at + size]) for at in range(0, whole, size)]
            left = found[whole:]
        return [parts[index] for index in random.permutation(len(parts))]

    def _cut(self, random: np.random.Generator) -> np.ndarray:
        """Return the first token of each text, and the one after its last: int64 [n, 2]."""
        spans = []
        for at, end in pairwise(self._documents.tolist()):
            while at < end:
                most = self._length
                if random.random() < _SHORT:
                    most = int(random.integers(min(_LEAST, most), most + 1))
                stop = min(at + most - _SPECIAL, end)
                whole = int(self._ends[np.searchsorted(self._ends, stop, side="right") - 1])
                stop = whole if whole > at else stop  # a long sentence is cut
                spans.append((at, stop))
                at = stop
        return np.array(spans, np.int64).reshape(-1, 2)

    def _batch(self, rows: _Part, random: np.random.Generator) -> Arrays:
        tokenizer, (length, spans) = self._tokenizer, rows
        place = np.arange(length)
        last = (spans[:, 1] - spans[:, 0] + 1)[:, None]  # the place of [SEP], [B, 1]
        words = (place > 0) & (place < last)  # [B, T]
        where = np.where(words, spans[:, :1] + place - 1, 0)
        ids = np.where(words, self._tokens[where], tokenizer.pad_id)
        ids = np.where(place == last, tokenizer.sep_id, ids)
        ids[:, 0] = tokenizer.cls_id
        hiding = random.random((len(spans), 1)) < _HIDING
        hidden = words & hiding & (random.random(words.shape) < _HIDDEN)
        return {
            "input_ids": ids.astype(np.int32),
            "hidden_ids": np.where(hidden, tokenizer.mask_id, ids).astype(np.int32),
            "attention_mask": (place <= last).astype(np.int32),
        }
