"""Hugging Face's `tokenizer.json` of an ALBERT → the file that it was made from, and settings."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from albert_edge.errors import TokenizerError
from albert_edge.tokenizer.fast_wordpiece import convert_wordpiece
from albert_edge.tokenizer.settings import Settings, WordPieceSettings, parse_object
from albert_edge.tokenizer.wire import block, number

__all__ = ["convert_fast"]

# ModelProto.SentencePiece.Type
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED = 1, 2, 3, 4


def convert_fast(
    blob: bytes, *, where: str = "tokenizer.json"
) -> tuple[bytes, Settings | WordPieceSettings]:
    """Turn a `tokenizer.json` back into the vocabulary that it was made from.

    Args:
        blob: The file's content.
        where: The file's name, for error messages.

    Returns:
        The content of a `spiece.model` or of a `vocab.txt`, and the settings, which tell the two
        apart, that the file's normalizer amounts to.

    Raises:
        TokenizerError: It is no `tokenizer.json`, or not one that was made from an ALBERT's.
    """
    values = parse_object(blob, where=where)
    try:
        if values["model"].get("type") == "WordPiece":
            return convert_wordpiece(values)
        return _convert_unigram(values)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise TokenizerError(f"{where} is not a tokenizer.json: {error!r}.") from error
    except TokenizerError as error:
        raise TokenizerError(f"{where}: {error}") from error


def _convert_unigram(values: Mapping[str, Any]) -> tuple[bytes, Settings]:
    pieces = _pieces(values)
    settings, charsmap, folds_space = _normalizer(values)
    prefix = _dummy_prefix(values)
    return _model_proto(pieces, charsmap=charsmap, prefix=prefix, folds_space=folds_space), settings


def _steps(stage: Mapping[str, Any] | None, name: str) -> Iterator[Mapping[str, Any]]:
    if stage is None:
        return
    if stage["type"] == "Sequence":
        for step in stage[name]:
            yield from _steps(step, name)
    else:
        yield stage


def _normalizer(values: Mapping[str, Any]) -> tuple[Settings, bytes, bool]:
    done = []
    charsmap = b""
    for step in _steps(values["normalizer"], "normalizers"):
        name = step["type"]
        if name == "Replace":
            name = f"{next(iter(step['pattern'].values()))} → {step['content']}"
        elif name == "Precompiled":
            charsmap = base64.b64decode(step["precompiled_charsmap"] or "", validate=True)
        done.append(name)
    quotes = ['`` → "', "'' → \""]
    accents = ["NFKD", "StripAccents"] if "NFKD" in done else []
    optional = [name for name in ("Lowercase", "Precompiled", " {2,} →  ") if name in done]
    if done != quotes + accents + optional:
        raise TokenizerError(
            f"the normalizer does {done}; ALBERT's does {quotes}, then, in this order and if at "
            "all, NFKD with StripAccents, Lowercase, Precompiled, and two spaces or more → one."
        )
    settings = Settings(do_lower_case="Lowercase" in done, keep_accents=not accents)
    return settings, charsmap, optional[-1:] == [" {2,} →  "]


def _dummy_prefix(values: Mapping[str, Any]) -> bool:
    steps = list(_steps(values["pre_tokenizer"], "pretokenizers"))
    kinds = [step["type"] for step in steps]
    if kinds not in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]):
        raise TokenizerError(f"the pre-tokenizer does {kinds}; ALBERT's does Metaspace.")
    step = steps[-1]
    if step["replacement"] != "\u2581":
        raise TokenizerError(
            f"Metaspace writes {step['replacement']!r}; SentencePiece writes '\u2581'."
        )
    return bool(
        step.get("prepend_scheme", "always") != "never" and step.get("add_prefix_space", True)
    )


def _pieces(values: Mapping[str, Any]) -> list[tuple[str, float, int]]:
    """Return each piece's text, score and kind."""
    model = values["model"]
    if (kind := model.get("type", "Unigram")) != "Unigram" or not isinstance(model["vocab"], list):
        raise TokenizerError(f"the model is {kind}; this reads Unigram and WordPiece.")
    if model.get("byte_fallback"):
        raise TokenizerError("the model spells unknown characters in bytes; ALBERT's do not.")
    vocab = [(str(piece), float(score)) for piece, score in model["vocab"]]
    # A learned piece has a log probability below 0; one that was defined has 0.
    kinds = [_NORMAL if score else _USER_DEFINED for _, score in vocab]
    for token in values["added_tokens"]:
        name, token_id = token["content"], token["id"]
        if not 0 <= token_id < len(vocab) or vocab[token_id][0] != name:
            raise TokenizerError(
                f"the added token {name!r} (id {token_id}) is not in the model's vocabulary; "
                "a SentencePiece model cannot hold it."
            )
        kinds[token_id] = _CONTROL if token["special"] else _USER_DEFINED
    if not 0 <= model["unk_id"] < len(vocab):
        raise TokenizerError(f"unk_id {model['unk_id']} is not in [0, {len(vocab)}).")
    kinds[model["unk_id"]] = _UNKNOWN
    return [
        (piece, _score(piece, score), kind)
        for (piece, score), kind in zip(vocab, kinds, strict=True)
    ]


def _score(piece: str, score: float) -> float:
    # Hugging Face's converter lowers pieces such as `9,` by 100 so that they are never chosen; the
    # original chooses them, then cuts them. No log probability comes near to -50 by itself.
    lowered = piece[-1:] == "," and piece[-2:-1].isdigit() and score < -50
    return score + 100 if lowered else score


def _model_proto(
    pieces: list[tuple[str, float, int]], *, charsmap: bytes, prefix: bool, folds_space: bool
) -> bytes:
    """Write a ModelProto (sentencepiece_model.proto)."""
    unknown = next(index for index, (_, _, kind) in enumerate(pieces) if kind == _UNKNOWN)
    records = (
        block(1, piece.encode()) + b"\x15" + struct.pack("<f", score) + _kind(kind)
        for piece, score, kind in pieces
    )
    trainer = number(3, 1) + number(4, len(pieces))  # model_type: UNIGRAM, vocab_size
    trainer += number(40, unknown) + block(45, pieces[unknown][0].encode())
    normalizer = block(1, b"tokenizer.json") + block(2, charsmap)
    normalizer += number(3, prefix) + number(4, folds_space)
    proto = b"".join(block(1, record) for record in records)
    return proto + block(2, trainer) + block(3, normalizer)


def _kind(kind: int) -> bytes:
    return b"" if kind == _NORMAL else number(3, kind)  # left out, as SentencePiece leaves it out
