"""Leave out the pieces of a vocabulary, and the rows of the embedding, that texts do not need.

A third of ALBERT-base is its table of word embeddings, and what an app reads in one language about
one thing needs a part of it.  Abdaoui et al. 2020, arXiv:2010.05609, keep the pieces of a language
by their frequency; here what stays is proved to cut the corpus as before.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from albert_edge.checkpoints.checkpoint import Checkpoint
from albert_edge.errors import CheckpointError, ConfigError, InputError, TokenizerError
from albert_edge.tokenizer import Tokenizer, tokenizer_from_files
from albert_edge.tokenizer.subset import Vocab, open_vocab

__all__ = ["TokenizerDifference", "compare_tokenizers", "match_vocabulary", "trim_vocabulary"]

_TABLES = ("embeddings/word_embeddings", "predictions/bias")  # one row a piece
_TOKENS = ("pad_token_id", "bos_token_id", "eos_token_id")
_SETTINGS = "tokenizer_config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerDifference:
    """How differently two tokenizers cut the same texts.

    Attributes:
        texts: How many there are.
        tokens_before, tokens_after: How many tokens they are cut into.
        tokens_changed: How many tokens of before are not there after, as the same piece of the same
            characters.
        texts_changed: How many texts have such tokens.
        unknown_added: How many more tokens are unknown after than before.
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
    """Leave out the pieces that `texts` do not need.

    Special tokens and single characters stay, so any text can still be cut.  Whatever texts hold
    beside the corpus may be cut into smaller pieces than before, for which the model was trained
    less.

    Args:
        checkpoint: A model with its tokenizer.
        texts: The corpus: such texts as the app will read.  It is read twice, so a list or a
            `TextLines`, not a generator.
        size: How many pieces to keep: the most frequent in the corpus, then the most common by the
            vocabulary's own account.  The corpus may then be cut differently.  None keeps exactly
            those without which it would be.

    Returns:
        The smaller checkpoint.  Its tokenizer's files are a `spiece.model` or a `vocab.txt` and the
        settings, and `changes["vocabulary"]` holds the figures: `pieces_before`, `pieces_after`,
        `float32_bytes_saved` of the tables, `tokenizer_bytes_saved`, and the
        `TokenizerDifference` on the corpus.

    Raises:
        CheckpointError: It has no tokenizer.
        ConfigError: `size` is below what has to stay, or above what there is.
        InputError: There is no text, or it can be read only once.
        TokenizerError: The pieces that are left do not cut the corpus as before, or, with a `size`,
            make something of it unknown.

    Example:
        >>> from albert_edge.checkpoints import read_checkpoint
        >>> trim_vocabulary(read_checkpoint("default"), ["A quiet film!"]).config.vocab_size
        70
    """
    pieces = open_vocab(_tokenizer_of(checkpoint))
    kept = _choose(pieces, _Usage.of(pieces, texts), size, stay=_named(checkpoint, pieces))
    trimmed = pieces.subset(kept)
    difference = compare_tokenizers(pieces.tokenizer, trimmed, texts)
    _check(difference, size)
    smaller = _with_rows(checkpoint, kept, trimmed)
    figures = {
        "pieces_before": checkpoint.config.vocab_size,
        "pieces_after": len(kept),
        "float32_bytes_saved": _bytes_of_tables(checkpoint) - _bytes_of_tables(smaller),
        "tokenizer_bytes_saved": _bytes_of_files(checkpoint) - _bytes_of_files(smaller),
        **dataclasses.asdict(difference),
    }
    return dataclasses.replace(smaller, changes={**checkpoint.changes, "vocabulary": figures})


def compare_tokenizers(
    before: Tokenizer, after: Tokenizer, texts: Iterable[str]
) -> TokenizerDifference:
    """Cut `texts` with a tokenizer and with one of a part of its vocabulary, and compare.

    Raises:
        TokenizerError: The second has a piece that the first lacks.
        InputError: A text cannot be cut.
    """
    place = {old: new for new, old in enumerate(_match(before, after))}
    sums: Counter[str] = Counter()
    first = 0
    for index, text in enumerate(texts, 1):
        ids, spans = before.tokenize(text)
        wanted = [place.get(token_id, -1) for token_id in ids]
        got, got_spans = after.tokenize(text)
        sums.update(texts=1, tokens_before=len(ids), tokens_after=len(got))
        if wanted == got and spans == got_spans:
            continue
        first = first or index
        lost = Counter(zip(wanted, spans, strict=True)) - Counter(zip(got, got_spans, strict=True))
        unknown = got.count(after.unk_id) - ids.count(before.unk_id)
        sums.update(texts_changed=1, tokens_changed=sum(lost.values()), unknown_added=unknown)
    fields = (
        field.name for field in dataclasses.fields(TokenizerDifference) if field.name != "first"
    )
    return TokenizerDifference(**{name: sums[name] for name in fields}, first=first)


def match_vocabulary(checkpoint: Checkpoint, files: Mapping[str, bytes]) -> Checkpoint:
    """Leave out the pieces that a trimmed tokenizer lacks, to compare with what was made from it.

    Args:
        checkpoint: A model with its tokenizer.
        files: The files of a tokenizer with a part of its vocabulary.

    Raises:
        CheckpointError: It has no tokenizer.
        TokenizerError: The files have a piece that the checkpoint lacks.
    """
    trimmed = tokenizer_from_files(files)
    return _with_rows(checkpoint, _match(_tokenizer_of(checkpoint), trimmed), trimmed)


@dataclass(frozen=True, slots=True)
class _Usage:
    """What a corpus uses: how often each id comes out, and the ids that it needs."""

    emitted: Counter[int]
    needed: set[int]

    @classmethod
    def of(cls, pieces: Vocab, texts: Iterable[str]) -> _Usage:
        if isinstance(texts, Iterator):
            raise InputError("the texts are read twice: give a list or a Corpus, not a generator.")
        emitted: Counter[int] = Counter()
        needed: set[int] = set()
        for text in texts:
            emitted.update(pieces.tokenizer.tokenize(text).ids)
            needed.update(pieces.touched(text))
        if not emitted:
            raise InputError("the corpus holds no text; give such texts as the app will read.")
        return cls(emitted, needed | emitted.keys())


def _tokenizer_of(checkpoint: Checkpoint) -> Tokenizer:
    if not checkpoint.tokenizer_files:
        raise CheckpointError(
            f"{checkpoint.source} has no tokenizer, so it cannot be told which rows of its "
            "embedding a corpus needs; put its spiece.model or vocab.txt into the directory."
        )
    return tokenizer_from_files(checkpoint.tokenizer_files, where=checkpoint.source)


def _named(checkpoint: Checkpoint, pieces: Vocab) -> set[int]:
    """Return the ids that the configuration names."""
    ids = {getattr(checkpoint.config, name) for name in _TOKENS}
    return {token_id for token_id in ids if token_id < pieces.tokenizer.vocab_size}


def _choose(pieces: Vocab, usage: _Usage, size: int | None, *, stay: set[int]) -> list[int]:
    always = pieces.always | stay
    if size is None:
        return sorted(always | usage.needed)
    always |= {token_id for token_id in usage.needed if not pieces.spelled(token_id)}
    most = pieces.tokenizer.vocab_size
    if not len(always) <= size <= most:
        raise ConfigError(
            f"the vocabulary's size must be in [{len(always)}, {most}], not {size}: {len(always)} "
            "pieces are special tokens, single characters, or needed for a character of the "
            f"corpus, and there are {most}. Left out, it is what the corpus needs: "
            f"{len(always | usage.needed)}."
        )
    order = sorted(
        set(range(most)) - always,
        key=lambda n: (-usage.emitted[n], n not in usage.needed, -pieces.scores[n], n),
    )
    return sorted([*always, *order[: size - len(always)]])


def _check(difference: TokenizerDifference, size: int | None) -> None:
    if size is None and difference.texts_changed:
        raise TokenizerError(
            f"without the pieces that the corpus does not use, {difference.texts_changed} of its "
            f"{difference.texts} texts, the first of them text {difference.first}, are cut "
            "differently: it is no unigram model (as ALBERT's are), or the corpus changed while it "
            "was read. Keep the whole vocabulary."
        )
    if difference.unknown_added > 0:
        raise TokenizerError(
            f"with {size} pieces {difference.unknown_added} tokens of the corpus would become "
            f"unknown, the first in text {difference.first}; give a larger size, or none to keep "
            "every piece that the corpus needs."
        )


def _match(before: Tokenizer, after: Tokenizer) -> list[int]:
    """Return the id in `before` of every piece of `after`."""
    ids = {before.id_to_piece(token_id): token_id for token_id in range(before.vocab_size)}
    names = [after.id_to_piece(token_id) for token_id in range(after.vocab_size)]
    if foreign := [name for name in names if name not in ids]:
        raise TokenizerError(
            f"the smaller vocabulary has {len(foreign)} pieces that the larger one lacks, such as "
            f"{foreign[0]!r}: it was not made from it."
        )
    return [ids[name] for name in names]


def _with_rows(checkpoint: Checkpoint, rows: Sequence[int], tokenizer: Tokenizer) -> Checkpoint:
    """Return the checkpoint with only these rows of what has a row a piece."""
    place = {old: new for new, old in enumerate(rows)}
    tokens = {name: getattr(checkpoint.config, name) for name in _TOKENS}
    config = dataclasses.replace(
        checkpoint.config,
        vocab_size=len(rows),
        **{name: place.get(token_id, token_id) for name, token_id in tokens.items()},
    )
    tensors = dict(checkpoint.tensors)
    tensors.update({name: tensors[name][list(rows)] for name in _TABLES if name in tensors})
    files = tokenizer.files()
    if _SETTINGS in checkpoint.tokenizer_files:
        files[_SETTINGS] = _settings(checkpoint.tokenizer_files[_SETTINGS], files[_SETTINGS])
    return dataclasses.replace(checkpoint, config=config, tensors=tensors, tokenizer_files=files)


def _settings(old: bytes, new: bytes) -> bytes:
    """Return the settings as the tokenizer has them, with what else the file says but for ids."""
    values = {**json.loads(old), **json.loads(new)}
    values.pop("added_tokens_decoder", None)
    return json.dumps(values, indent=2, sort_keys=True).encode() + b"\n"


def _bytes_of_tables(checkpoint: Checkpoint) -> int:
    return sum(array.nbytes for name, array in checkpoint.tensors.items() if name in _TABLES)


def _bytes_of_files(checkpoint: Checkpoint) -> int:
    return sum(map(len, checkpoint.tokenizer_files.values()))
