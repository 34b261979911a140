"""Compile ALBERT's text rules into a `spiece.model`, for libraries that only run SentencePiece.

MediaPipe Tasks and Task Library give a text to SentencePiece as it is, but for lower case in ASCII.
ALBERT's tokenizer normalizes it first (`sentencepiece.preprocess`) and splits pieces such as `9,`
afterwards.  SentencePiece itself can do the first: its normalizer replaces the longest known
sequence of characters by another, by a table that it compiles from rules (the precompiled charsmap;
Kudo and Richardson 2018, arXiv:1808.06226, sec. 3.2).  For the second, such pieces are marked as
unused.  That is not always the same: without them, another segmentation may be the best.
"""

from __future__ import annotations

import tempfile
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

import sentencepiece

from albert_edge.tokenizer.config import SPIECE_FILE, SentencePieceConfig
from albert_edge.tokenizer.protobuf import encode_bytes, encode_varint, parse_fields
from albert_edge.tokenizer.sentencepiece import is_split_again, preprocess

__all__ = ["library_files"]

# Fields of ModelProto, SentencePiece and NormalizerSpec (sentencepiece_model.proto).
_PIECES, _NORMALIZER, _SELF_TEST = 1, 3, 4
_PIECE, _TYPE, _UNUSED = 1, 3, 5
_NAME, _CHARSMAP, _REMOVE_SPACE = 1, 2, 4
_NO_CHARACTERS = ("Cn", "Co", "Cs")  # unassigned, for private use, half of a surrogate pair
# Parts of Korean syllables: 11,172 rules of 140 kB for syllables that a text spells in parts.
_SYLLABLE_PARTS = range(0x1100, 0x1200)


def library_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return a tokenizer's files, with text rules that SentencePiece alone follows.

    This project's tokenizer makes the same of them, but for what the module's docstring says.

    Args:
        files: Contents by name.  Without a `spiece.model` they are returned as they are.
    """
    if SPIECE_FILE not in files:
        return dict(files)
    model = files[SPIECE_FILE]
    config = SentencePieceConfig().updated_from_files(files, where="the tokenizer")
    charsmap = _compile_charsmap(dict(_rules(model, config)))
    parts = []
    for field in parse_fields(model):
        if field.number == _PIECES and isinstance(field.value, bytes):
            parts.append(_without_resplit(field.value, field.raw))
        elif field.number == _NORMALIZER and isinstance(field.value, bytes):
            spec = _normalizer_spec(field.value, charsmap, config)
            parts.append(encode_bytes(_NORMALIZER, spec))
        elif field.number != _SELF_TEST:  # sentences with the tokens of the former rules
            parts.append(field.raw)
    return {**files, SPIECE_FILE: b"".join(parts)}


def _rules(model: bytes, config: SentencePieceConfig) -> Iterator[tuple[str, str]]:
    """Yield what is to be replaced by what: the tokenizer's rules, then the model's own."""
    own = sentencepiece.SentencePieceNormalizer(
        model_proto=model,
        add_dummy_prefix=False,
        escape_whitespaces=False,
        remove_extra_whitespaces=False,
    )
    normalize = own.Normalize
    for char in map(chr, range(1, 0x110000)):
        if unicodedata.category(char) in _NO_CHARACTERS:
            continue
        folded = preprocess(f"a{char}a", config).text[1:-1]  # not at an end, where space is removed
        if (normal := normalize(folded)) != char:
            yield char, normal
        composed = len(folded) > 1 and normal != "".join(map(normalize, folded))
        if composed and ord(folded[0]) not in _SYLLABLE_PARTS:  # the model undoes what we decompose
            yield folded, normal
    for pair in ("``", "''"):
        yield pair, preprocess(pair, config).text


def _compile_charsmap(rules: Mapping[str, str]) -> bytes:
    sentencepiece.set_min_log_level(2)
    lines = (f"{_hex(source)}\t{_hex(target)}\n" for source, target in sorted(rules.items()))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rules.tsv")
        path.write_text("".join(lines), encoding="ascii")
        compiled = sentencepiece.SentencePieceNormalizer(rule_tsv=str(path))
    fields = {
        field.number: field.value for field in parse_fields(compiled.serialized_model_proto())
    }
    spec = {field.number: field.value for field in parse_fields(bytes(fields[_NORMALIZER]))}
    return bytes(spec[_CHARSMAP])


def _hex(text: str) -> str:
    return " ".join(f"{ord(char):X}" for char in text)


def _normalizer_spec(spec: bytes, charsmap: bytes, config: SentencePieceConfig) -> bytes:
    parts = [encode_bytes(_NAME, b"albert_edge"), encode_bytes(_CHARSMAP, charsmap)]
    if config.remove_space:
        parts.append(encode_varint(_REMOVE_SPACE, 1))
    replaced = (_NAME, _CHARSMAP, *((_REMOVE_SPACE,) if config.remove_space else ()))
    parts += [field.raw for field in parse_fields(spec) if field.number not in replaced]
    return b"".join(parts)


def _without_resplit(record: bytes, raw: bytes) -> bytes:
    """Mark a piece as unused if the tokenizer would split it again; return the encoded field."""
    fields = list(parse_fields(record))
    text = b"".join(bytes(one.value) for one in fields if one.number == _PIECE).decode()
    if not is_split_again(text):
        return raw
    kept = b"".join(one.raw for one in fields if one.number != _TYPE)
    return encode_bytes(_PIECES, kept + encode_varint(_TYPE, _UNUSED))
