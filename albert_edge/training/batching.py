"""Encode texts, augment them, and batch them by length, so that there is little padding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import sentencepiece

from albert_edge.errors import TrainingError
from albert_edge.tokenizer import SentencePieceConfig, Tokenizer, preprocess
from albert_edge.training.options import FinetuneOptions

__all__ = ["concat_mixup", "encode_pairs", "sample_pairs", "token_dropout"]

# A text is padded to the next of these lengths; the factor between them bounds the padding.
BUCKETS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)

_SAMPLING = 0.3  # exponent of subword regularization, unless another is chosen
_UNKNOWN_PENALTY = 10.0  # of an unknown character, below the least likely piece


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """The examples of one step.

    Attributes:
        rows: int64 [B], the indices of the examples.
        input_ids: int32 [B, T], in [0, V), padded at the end.
        token_type_ids: int32 [B, T], 0 or 1.
        attention_mask: int32 [B, T], 1 for tokens, 0 for padding.
    """

    rows: np.ndarray
    input_ids: np.ndarray
    token_type_ids: np.ndarray
    attention_mask: np.ndarray


def encode_texts(
    texts: Sequence[str], tokenizer: Tokenizer, *, max_length: int | None
) -> list[list[int]]:
    """Encode texts as on a device; `max_length`, if given, is where they are cut."""
    return [tokenizer.encode(text, max_length=max_length).input_ids for text in texts]


def subword_regularization(
    texts: Sequence[str], tokenizer: Tokenizer, *, max_length: int | None, alpha: float, seed: int
) -> list[list[int]]:
    """Encode texts in sampled segmentations; the same seed gives the same ones.

    Subword regularization (Kudo 2018, arXiv:1804.10959, sec. 3): a segmentation is sampled with a
    probability proportional to its likelihood to the power of `alpha`.

    SentencePiece's own sampling also depends on the process, whatever its seed is.

    Raises:
        TrainingError: The tokenizer is not SentencePiece.
    """
    files = tokenizer.files()
    if "spiece.model" not in files:
        raise TrainingError(
            "subword regularization needs a spiece.model; turn it off with --sampling 1."
        )
    settings = SentencePieceConfig().updated_from_files(files, where="the tokenizer")
    processor = sentencepiece.SentencePieceProcessor(model_proto=files["spiece.model"])
    known = {
        processor.id_to_piece(index): (index, alpha * processor.get_score(index))
        for index in range(processor.get_piece_size())
        if not (
            processor.is_control(index)
            or processor.is_unknown(index)
            or processor.is_unused(index)
            or processor.is_byte(index)
        )
    }
    prefixes = {piece[:length] for piece in known for length in range(1, len(piece))}
    least = min((score for _, score in known.values()), default=0.0)
    unknown = processor.unk_id(), least - alpha * _UNKNOWN_PENALTY
    random = np.random.default_rng(seed)

    def sample(part: int | str) -> list[int]:
        if isinstance(part, int):
            return [part]
        pieces: list[str] = processor.encode(preprocess(part, settings).text, out_type=str)
        return _sample("".join(pieces), known, prefixes, unknown, random)

    found = [[n for part in tokenizer.parts(text) for n in sample(part)] for text in texts]
    if max_length is not None:
        left = tokenizer.truncation_side == "left"
        room = max_length - 2
        found = [ids[max(len(ids) - room, 0) :] if left else ids[:room] for ids in found]
    return [[tokenizer.cls_id, *ids, tokenizer.sep_id] for ids in found]


def _sample(
    text: str,
    known: Mapping[str, tuple[int, float]],
    prefixes: Set[str],
    unknown: tuple[int, float],
    random: np.random.Generator,
) -> list[int]:
    """Sample a segmentation: forward filtering, then backward sampling.

    Args:
        text: The normalized text.
        known: The id and the weight of each piece: its logarithmic likelihood times `alpha`.
        prefixes: What longer pieces begin with.
        unknown: The id and the weight of a character that is no piece.
        random: The generator.
    """
    sums = [0.0] * (len(text) + 1)  # of all segmentations' weights up to here, logarithmic
    ends: list[list[tuple[int, int, float]]] = [[] for _ in sums]  # the last piece's start, id, sum
    for start in range(len(text) + 1):
        if last := ends[start]:
            most = max(weight for _, _, weight in last)
            sums[start] = most + math.log(sum(math.exp(weight - most) for _, _, weight in last))
        for end in range(start + 1, len(text) + 1):
            fragment = text[start:end]
            piece = known.get(fragment) or (unknown if end == start + 1 else None)
            if piece is not None:
                ends[end].append((start, piece[0], sums[start] + piece[1]))
            if fragment not in prefixes:
                break
    ids: list[int] = []
    end, draws = len(text), iter(random.random(len(text)).tolist())
    while end:
        shares = accumulate(math.exp(weight - sums[end]) for _, _, weight in ends[end])
        draw = next(draws)
        chosen = next((n for n, share in enumerate(shares) if share > draw), -1)
        end, index, _ = ends[end][chosen]
        if not (ids and ids[-1] == index == unknown[0]):  # unknown characters are joined
            ids.append(index)
    return ids[::-1]


def make_batches(
    sequences: Sequence[Sequence[int]],
    *,
    tokens: int,
    pad_id: int,
    types: Sequence[Sequence[int]] | None = None,
    random: np.random.Generator | None = None,
) -> list[Batch]:
    """Divide sequences of ids into batches of about the same number of tokens.

    Args:
        sequences: Token ids of each example, none longer than the last of `BUCKETS`.
        tokens: B times T of every batch.  A batch of long texts has fewer of them, and every batch
            is one step, so a long text weighs more than a short one.
        pad_id: The id of padding.
        types: The token types of each example, 0 or 1; None if all are 0.
        random: The generator that shuffles examples and batches; None keeps their order.

    Returns:
        The batches; every example is in one of them.
    """
    lengths = np.array([len(sequence) for sequence in sequences])
    buckets = np.searchsorted(BUCKETS, lengths)
    parts = []
    for bucket, length in enumerate(BUCKETS):
        rows = np.flatnonzero(buckets == bucket)
        if random is not None:
            random.shuffle(rows)
        size = max(tokens // length, 1)
        parts += [(length, rows[at : at + size]) for at in range(0, len(rows), size)]
    if random is not None:
        random.shuffle(parts)
    return [
        Batch(
            rows=rows,
            input_ids=pad_rows([sequences[row] for row in rows], length, pad_id),
            token_type_ids=pad_rows([types[row] if types else () for row in rows], length, 0),
            attention_mask=(np.arange(length) < lengths[rows, None]).astype(np.int32),
        )
        for length, rows in parts
    ]


def pad_rows(rows: Sequence[Any], length: int, value: float) -> np.ndarray:
    """Pad rows with a value: [B, length], int32 for a whole number, float32 otherwise."""
    dtype = np.int32 if isinstance(value, int) else np.float32
    padded = np.full((len(rows), length), value, dtype)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return padded


def token_dropout(
    ids: Sequence[int], tokenizer: Tokenizer, *, share: float, random: np.random.Generator
) -> list[int]:
    """Replace a random share of the tokens of one text with `[MASK]`."""
    special = (tokenizer.cls_id, tokenizer.sep_id)
    dropped = random.random(len(ids)) < share
    return [
        tokenizer.mask_id if drop and token not in special else token
        for token, drop in zip(ids, dropped.tolist(), strict=True)
    ]


def concat_mixup(
    sequences: Sequence[Sequence[int]],
    targets: np.ndarray,
    *,
    share: float,
    max_length: int,
    random: np.random.Generator,
) -> tuple[list[list[int]], np.ndarray]:
    """Concatenate random texts, and average their targets weighted by length.

    Mixup (Zhang et al. 2018, arXiv:1710.09412) for text: it reduces overfitting, and gives longer
    texts than there are in the data.

    Args:
        sequences: Token ids `[CLS] ... [SEP]` of n examples.
        targets: float32 [n, num_labels]; rows sum to 1.
        share: The share of the examples that are appended to the one before, in [0, 1).
        max_length: The most tokens of concatenated texts.
        random: The generator of the order and of the concatenations.

    Returns:
        The new token ids of m examples, m at most n, and their targets, float32 [m, num_labels].
    """
    joined: list[list[int]] = []
    mixed: list[np.ndarray] = []  # sums of targets times numbers of tokens
    for row in random.permutation(len(sequences)).tolist():
        ids = sequences[row]
        words = max(len(ids) - 2, 1)
        if joined and random.random() < share and len(joined[-1]) + len(ids) - 2 <= max_length:
            joined[-1] = [*joined[-1][:-1], *ids[1:]]
            mixed[-1] = mixed[-1] + words * targets[row]
        else:
            joined.append(list(ids))
            mixed.append(words * targets[row])
    sums = np.stack(mixed)
    return joined, sums / sums.sum(axis=1, keepdims=True)


class Encoded(NamedTuple):
    """n encoded texts, or pairs.

    Attributes:
        input_ids: n sequences of token ids.
        token_type_ids: The token types of each, 0 or 1; None for single texts, where all are 0.
        truncated: The number of texts or pairs that were cut, for being too long.
    """

    input_ids: list[list[int]]
    token_type_ids: list[list[int]] | None
    truncated: int


def encode_pairs(
    texts: Sequence[str], pairs: Sequence[str] | None, tokenizer: Tokenizer, *, max_length: int
) -> Encoded:
    """Encode texts, or pairs of texts, as on a device."""
    seconds = None if pairs is None else encode_texts(pairs, tokenizer, max_length=None)
    firsts = encode_texts(texts, tokenizer, max_length=None)
    return _truncate(firsts, seconds, max_length, left=tokenizer.truncation_side == "left")


def sample_pairs(
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    tokenizer: Tokenizer,
    *,
    options: FinetuneOptions,
    random: np.random.Generator,
) -> Encoded:
    """Encode texts, or pairs of texts, in sampled segmentations where `options` asks for them."""
    exponent = options.sampling
    if exponent is None:
        exponent = _SAMPLING if "spiece.model" in tokenizer.files() else 1.0
    if exponent == 1:
        return encode_pairs(texts, pairs, tokenizer, max_length=options.max_length)
    firsts, seconds = (
        None
        if side is None
        else subword_regularization(
            side,
            tokenizer,
            max_length=None,
            alpha=exponent,
            seed=int(random.integers(1 << 31)),
        )
        for side in (texts, pairs)
    )
    left = tokenizer.truncation_side == "left"
    return _truncate(firsts or [], seconds, options.max_length, left=left)


def _truncate(
    firsts: list[list[int]], seconds: list[list[int]] | None, most: int, *, left: bool
) -> Encoded:
    """Join `[CLS] a [SEP]` with the b of `[CLS] b [SEP]`, and cut the longer one at one end."""
    if seconds is None:
        cut = [[x[0], *x[1 - most :]] if left else [*x[: most - 1], x[-1]] for x in firsts]
        ids = [one if len(one) <= most else short for one, short in zip(firsts, cut, strict=True)]
        return Encoded(ids, None, sum(len(one) > most for one in firsts))
    joined, types, truncated = [], [], 0
    for first, second in zip(firsts, seconds, strict=True):
        a, b = first[:-1], second[1:-1]
        truncated += len(a) + len(b) + 2 > most
        while len(a) + len(b) + 2 > most:  # [CLS] is a's first
            if len(a) - 1 > len(b):
                a.pop(1 if left else -1)
            else:
                b.pop(0 if left else -1)
        joined.append([*a, first[-1], *b, first[-1]])
        types.append([0] * (len(a) + 1) + [1] * (len(b) + 1))
    return Encoded(joined, types, truncated)
