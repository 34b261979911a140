"""Pairs of segments become batches of one shape, masked anew every time they are seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from albert_edge.tokenizer import Tokenizer
from albert_edge.training.pretraining.masking import Masking, mask_words
from albert_edge.training.pretraining.pairs import SPECIAL, Pair, make_pairs
from albert_edge.training.pretraining.texts import Document

__all__ = ["Batches", "Position", "as_dataset"]

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a training is in its texts: `index` batches of pass number `epoch`, from 0, are done."""

    epoch: int = 0
    index: int = 0


class Batches:
    """Endless batches, each of them known by its position and the seed alone.

    A batch maps names to arrays of B rows: `input_ids`, `token_type_ids`, `attention_mask` int32
    [B, T]; `places` int32 [B, M], the hidden places, filled up with 0; `targets` int32 [B, M], what
    stood there; `weights` float32 [B, M], 0 where filled up; `order` int32 [B], 1 for swapped
    segments.

    Args:
        documents: The texts.
        tokenizer: What encoded them.
        batch_size: B.
        max_length: T.
        seed: The same seed gives the same batches.
    """

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
        self._size, self._length, self._seed = batch_size, max_length, seed

    def count(self, epoch: int = 0) -> int:
        """Return how many whole batches pass number `epoch` over the texts has."""
        return len(self._pairs(epoch)) // self._size

    def tokens(self) -> int:
        """Return how many tokens the texts have."""
        return sum(len(sentence) for document in self._documents for sentence in document)

    def after(self, position: Position) -> Iterator[tuple[Position, Arrays]]:
        """Yield every batch behind a position, and the position behind it."""
        epoch, index = position.epoch, position.index
        while True:
            pairs = self._pairs(epoch)
            for at in range(index, len(pairs) // self._size):
                rows = pairs[at * self._size : (at + 1) * self._size]
                random = np.random.default_rng([self._seed, epoch, at])
                yield Position(epoch, at + 1), self._batch(rows, random)
            epoch, index = epoch + 1, 0

    def _pairs(self, epoch: int) -> list[Pair]:
        random = np.random.default_rng([self._seed, epoch])
        return make_pairs(self._documents, max_length=self._length, random=random)

    def _batch(self, pairs: Sequence[Pair], random: np.random.Generator) -> Arrays:
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
            hidden, places = mask_words(ids, special, self._masking, random)
            batch["input_ids"][row, : len(ids)] = hidden
            batch["token_type_ids"][row, len(pair.first) + 2 : len(ids)] = 1
            batch["attention_mask"][row, : len(ids)] = 1
            batch["places"][row, : len(places)] = places
            batch["targets"][row, : len(places)] = ids[places]
            batch["weights"][row, : len(places)] = 1
        return batch

    def _join(self, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
        cls_id, sep_id = [self._tokenizer.cls_id], [self._tokenizer.sep_id]
        ids = np.concatenate([cls_id, pair.first, sep_id, pair.second, sep_id]).astype(np.int32)
        special = np.zeros(len(pair.first) + len(pair.second) + SPECIAL, bool)
        special[[0, len(pair.first) + 1, -1]] = True
        return ids, special


def as_dataset(batches: Iterator[tuple[Position, Arrays]], like: Mapping[str, np.ndarray]) -> Any:
    """Make batches in the background, a few ahead; `like` is one of them."""
    signature = {name: tf.TensorSpec(array.shape, array.dtype) for name, array in like.items()}
    place = tf.TensorSpec([2], tf.int64)

    def generate() -> Iterator[tuple[np.ndarray, Arrays]]:
        for position, batch in batches:
            yield np.array([position.epoch, position.index]), batch

    dataset = tf.data.Dataset.from_generator(generate, output_signature=(place, signature))
    return dataset.prefetch(8)
