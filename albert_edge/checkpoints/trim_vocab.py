"""Remove the pieces of a vocabulary, and their rows of the embedding, that a corpus does not need.

A third of ALBERT-base is its table of word embeddings, and an app for one language and one subject
needs only a part of it.  Abdaoui et al. 2020, arXiv:2010.05609, keep the most frequent pieces of a
language; here the smaller vocabulary is checked to tokenize the corpus in the same way.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.errors import CheckpointError, ConfigError, InputError, TokenizerError
from albert_edge.files import dump_json
from albert_edge.tokenizer import CONFIG_FILE, Tokenizer, tokenizer_from_files
from albert_edge.tokenizer.subset import Vocab, open_vocab

__all__ = ["match_vocabulary", "trim_vocabulary"]

_TABLES = ("embeddings/word_embeddings", "predictions/bias")  # one row per piece
_TOKEN_IDS = ("pad_token_id", "bos_token_id", "eos_token_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerDifference:
    """The differences between the tokens of two tokenizers on the same texts.

    Attributes:
        texts: The number of texts.
        tokens_before, tokens_after: The numbers of tokens.
        tokens_changed: The number of tokens of the first tokenizer that the second one lacks, as
            the same piece of the same characters.
        texts_changed: The number of texts with such tokens.
        unknown_added: The increase in unknown tokens.
        first: The number of the first text that changed, from 1; 0 for none.
    """

    texts: int
    tokens_before: int
    tokens_after: int
    tokens_changed: int
    texts_changed: int
    unknown_added: int
    first: int


def trim_vocabulary(
    checkpoint: Checkpoint, texts: Iterable[str], *, size: int | None = None
) -> Checkpoint:
    """Remove the pieces that `texts` do not need from a checkpoint's vocabulary.

    Special tokens and single characters stay, so that any text can still be tokenized.  Text unlike
    the corpus can be split into smaller pieces than before, on which the model was trained less.

    Args:
        checkpoint: A model with its tokenizer.
        texts: The corpus: texts like those that the app will process.  It is read twice, so it must
            be a list or a `TextLines`, not a generator.
        size: The number of pieces to keep: the most frequent in the corpus, then those with the
            highest scores.  The tokens of the corpus may change.  None keeps exactly the pieces
            without which they would change.

    Returns:
        The smaller checkpoint.  Its tokenizer's files are a `spiece.model` or a `vocab.txt` and the
        configuration.  `changes["vocabulary"]` has the figures `pieces_before`, `pieces_after`,
        `float32_bytes_saved` of the tables, `tokenizer_bytes_saved`, `unknown_share`, the share of
        the corpus's tokens that are unknown, and the `TokenizerDifference` on the corpus.

    Raises:
        CheckpointError: The checkpoint has no tokenizer.
        ConfigError: `size` is less than the pieces that must stay, or more than there are.
        InputError: There is no text, or it can be read only once.
        TokenizerError: The tokens of the corpus change or, with a `size`, more of them are unknown.

    Example:
        >>> from albert_edge.checkpoints import read_checkpoint
        >>> trim_vocabulary(read_checkpoint("default"), ["A quiet film!"]).config.vocab_size
        70
    """
    vocab = open_vocab(_tokenizer_of(checkpoint))
    usage = _Usage.of(vocab, texts)
    kept = _select_ids(vocab, usage, size, named_ids=_named_ids(checkpoint, vocab))
    trimmed = vocab.subset(kept)
    difference = compare_tokenizers(vocab.tokenizer, trimmed, texts)
    _check_difference(difference, size)
    smaller = _with_rows(checkpoint, kept, trimmed)
    figures = {
        "pieces_before": checkpoint.config.vocab_size,
        "pieces_after": len(kept),
        "float32_bytes_saved": _table_bytes(checkpoint) - _table_bytes(smaller),
        "tokenizer_bytes_saved": _tokenizer_bytes(checkpoint) - _tokenizer_bytes(smaller),
        "unknown_share": round(usage.unknown_share, 4),
        **dataclasses.asdict(difference),
    }
    return dataclasses.replace(smaller, changes={**checkpoint.changes, "vocabulary": figures})


def compare_tokenizers(
    before: Tokenizer, after: Tokenizer, texts: Iterable[str]
) -> TokenizerDifference:
    """Compare the tokens of a tokenizer with those of another with a part of its vocabulary.

    Raises:
        TokenizerError: The second tokenizer has a piece that the first lacks.
        InputError: A text cannot be tokenized.
    """
    new_ids = {old: new for new, old in enumerate(_original_ids(before, after))}
    sums: Counter[str] = Counter()
    first = 0
    for index, text in enumerate(texts, 1):
        ids, spans = before.tokenize(text)
        expected = [new_ids.get(token_id, -1) for token_id in ids]
        got, got_spans = after.tokenize(text)
        sums.update(texts=1, tokens_before=len(ids), tokens_after=len(got))
        if expected == got and spans == got_spans:
            continue
        first = first or index
        lost = Counter(zip(expected, spans, strict=True))
        lost -= Counter(zip(got, got_spans, strict=True))
        unknown = got.count(after.unk_id) - ids.count(before.unk_id)
        sums.update(texts_changed=1, tokens_changed=sum(lost.values()), unknown_added=unknown)
    fields = (
        field.name for field in dataclasses.fields(TokenizerDifference) if field.name != "first"
    )
    return TokenizerDifference(**{name: sums[name] for name in fields}, first=first)


def match_vocabulary(checkpoint: Checkpoint, files: Mapping[str, bytes]) -> Checkpoint:
    """Remove the pieces that a trimmed tokenizer lacks, to verify a model converted with it.

    Args:
        checkpoint: A model with its tokenizer.
        files: The files of a tokenizer with a part of its vocabulary.

    Raises:
        CheckpointError: The checkpoint has no tokenizer.
        TokenizerError: The files have a piece that the checkpoint's vocabulary lacks.
    """
    trimmed = tokenizer_from_files(files)
    return _with_rows(checkpoint, _original_ids(_tokenizer_of(checkpoint), trimmed), trimmed)


@dataclass(frozen=True, slots=True)
class _Usage:
    """The count of each id in the tokens of a corpus, and the ids that the corpus needs.

    `unknown_share` is the share of unknown tokens among those that cover a part of the texts.
    """

    counts: Counter[int]
    needed: set[int]
    unknown_share: float

    @classmethod
    def of(cls, vocab: Vocab, texts: Iterable[str]) -> _Usage:
        if isinstance(texts, Iterator):
            raise InputError("the texts are read twice: pass a list or TextLines, not a generator.")
        counts: Counter[int] = Counter()
        needed: set[int] = set()
        unknown = total = 0
        for text in texts:
            ids, offsets = vocab.tokenizer.tokenize(text)
            counts.update(ids)
            found = vocab.tokenizer.count_unknown(ids, offsets)
            unknown, total = unknown + found[0], total + found[1]
            needed.update(vocab.used_ids(text))
        if not counts:
            raise InputError("the corpus has no text; give texts like those the app will process.")
        return cls(counts, needed | counts.keys(), unknown / max(total, 1))


def _tokenizer_of(checkpoint: Checkpoint) -> Tokenizer:
    if not checkpoint.tokenizer_files:
        raise CheckpointError(
            f"{checkpoint.source} has no tokenizer, which determines the rows of the embedding "
            "that a corpus needs; put its spiece.model or vocab.txt into the directory."
        )
    return tokenizer_from_files(checkpoint.tokenizer_files, where=checkpoint.source)


def _named_ids(checkpoint: Checkpoint, vocab: Vocab) -> set[int]:
    """Return the ids that the configuration names."""
    ids = {getattr(checkpoint.config, name) for name in _TOKEN_IDS}
    return {token_id for token_id in ids if token_id < vocab.tokenizer.vocab_size}


def _select_ids(vocab: Vocab, usage: _Usage, size: int | None, *, named_ids: set[int]) -> list[int]:
    required = vocab.required_ids | named_ids
    if size is None:
        return sorted(required | usage.needed)
    required |= {token_id for token_id in usage.needed if not vocab.char_coverable(token_id)}
    total = vocab.tokenizer.vocab_size
    if not len(required) <= size <= total:
        raise ConfigError(
            f"the vocabulary's size must be in [{len(required)}, {total}], not {size}: "
            f"{len(required)} pieces are special tokens, single characters, or needed for a "
            f"character of the corpus, and there are {total}. Without a size, the corpus needs "
            f"{len(required | usage.needed)}."
        )
    ranked = sorted(
        set(range(total)) - required,
        key=lambda n: (-usage.counts[n], n not in usage.needed, -vocab.scores[n], n),
    )
    return sorted([*required, *ranked[: size - len(required)]])


def _check_difference(difference: TokenizerDifference, size: int | None) -> None:
    if size is None and difference.texts_changed:
        raise TokenizerError(
            f"without the pieces that the corpus does not use, the tokens of "
            f"{difference.texts_changed} of its {difference.texts} texts change, first those of "
            f"text {difference.first}: the tokenizer is not a unigram model (as ALBERT's are), or "
            "the corpus changed while it was read. Keep the whole vocabulary."
        )
    if difference.unknown_added > 0:
        raise TokenizerError(
            f"with {size} pieces, {difference.unknown_added} tokens of the corpus would become "
            f"unknown, first in text {difference.first}; give a larger size, or none to keep every "
            "piece that the corpus needs."
        )


def _original_ids(before: Tokenizer, after: Tokenizer) -> list[int]:
    """Return the id in `before` of every piece of `after`."""
    ids = {before.id_to_piece(token_id): token_id for token_id in range(before.vocab_size)}
    names = [after.id_to_piece(token_id) for token_id in range(after.vocab_size)]
    if others := [name for name in names if name not in ids]:
        raise TokenizerError(
            f"the smaller vocabulary has {len(others)} pieces that the larger one lacks, such as "
            f"{others[0]!r}: it is not a part of it."
        )
    return [ids[name] for name in names]


def _with_rows(checkpoint: Checkpoint, rows: Sequence[int], tokenizer: Tokenizer) -> Checkpoint:
    """Return the checkpoint with only these rows of the tables with one row per piece."""
    new_ids = {old: new for new, old in enumerate(rows)}
    tokens = {name: getattr(checkpoint.config, name) for name in _TOKEN_IDS}
    config = dataclasses.replace(
        checkpoint.config,
        vocab_size=len(rows),
        **{name: new_ids.get(token_id, token_id) for name, token_id in tokens.items()},
    )
    tensors = dict(checkpoint.tensors)
    tensors.update({name: tensors[name][list(rows)] for name in _TABLES if name in tensors})
    files = tokenizer.files()
    if CONFIG_FILE in checkpoint.tokenizer_files:
        files[CONFIG_FILE] = _merge_configs(
            checkpoint.tokenizer_files[CONFIG_FILE], files[CONFIG_FILE]
        )
    return dataclasses.replace(checkpoint, config=config, tensors=tensors, tokenizer_files=files)


def _merge_configs(old: bytes, new: bytes) -> bytes:
    """Return the tokenizer's configuration with the other entries of the old file, except ids."""
    values = json.loads(old)
    values.pop("added_tokens_decoder", None)
    values.update(json.loads(new))
    return dump_json(values, indent=2, sort_keys=True).encode() + b"\n"


def _table_bytes(checkpoint: Checkpoint) -> int:
    return sum(array.nbytes for name, array in checkpoint.tensors.items() if name in _TABLES)


def _tokenizer_bytes(checkpoint: Checkpoint) -> int:
    return sum(map(len, checkpoint.tokenizer_files.values()))
