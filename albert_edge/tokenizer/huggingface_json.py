"""Hugging Face's `tokenizer.json` of an ALBERT → the file that it was made from, and settings."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from albert_edge.errors import TokenizerError
from albert_edge.tokenizer.config import SentencePieceConfig, WordPieceConfig, parse_object
from albert_edge.tokenizer.protobuf import encode_bytes, encode_varint

__all__ = ["from_tokenizer_json", "wordpiece_from_json"]

# ModelProto.SentencePiece.Type
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED = 1, 2, 3, 4


def from_tokenizer_json(
    blob: bytes, *, where: str = "tokenizer.json"
) -> tuple[bytes, SentencePieceConfig | WordPieceConfig]:
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
            return wordpiece_from_json(values)
        return _convert_unigram(values)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise TokenizerError(f"{where} is not a tokenizer.json: {error!r}.") from error
    except TokenizerError as error:
        raise TokenizerError(f"{where}: {error}") from error


def _convert_unigram(values: Mapping[str, Any]) -> tuple[bytes, SentencePieceConfig]:
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


def _normalizer(values: Mapping[str, Any]) -> tuple[SentencePieceConfig, bytes, bool]:
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
    settings = SentencePieceConfig(do_lower_case="Lowercase" in done, keep_accents=not accents)
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
        encode_bytes(1, piece.encode()) + b"\x15" + struct.pack("<f", score) + _kind(kind)
        for piece, score, kind in pieces
    )
    trainer = encode_varint(3, 1) + encode_varint(4, len(pieces))  # model_type: UNIGRAM, vocab_size
    trainer += encode_varint(40, unknown) + encode_bytes(45, pieces[unknown][0].encode())
    normalizer = encode_bytes(1, b"tokenizer.json") + encode_bytes(2, charsmap)
    normalizer += encode_varint(3, prefix) + encode_varint(4, folds_space)
    proto = b"".join(encode_bytes(1, record) for record in records)
    return proto + encode_bytes(2, trainer) + encode_bytes(3, normalizer)


def _kind(kind: int) -> bytes:
    return (
        b"" if kind == _NORMAL else encode_varint(3, kind)
    )  # left out, as SentencePiece leaves it out


# Hugging Face's `tokenizer.json` of a BERT → `vocab.txt` and its settings.


def wordpiece_from_json(values: Mapping[str, Any]) -> tuple[bytes, WordPieceConfig]:
    """Turn the content of a `tokenizer.json` back into the vocabulary that it was made from.

    Returns:
        The content of a `vocab.txt`, and the settings that the file's normalizer amounts to.

    Raises:
        TokenizerError: It does not work as BERT's does.
        LookupError, TypeError, ValueError, AttributeError: It is not of the form that it should be.
    """
    model, normalizer, splitter = values["model"], values["normalizer"], values["pre_tokenizer"]
    _check("normalizer", normalizer, {"type": "BertNormalizer", "clean_text": True})
    _check("pre-tokenizer", splitter, {"type": "BertPreTokenizer"})
    _check("model", model, {"continuing_subword_prefix": "##", "max_input_chars_per_word": 100})
    settings = WordPieceConfig(
        do_lower_case=_flag(normalizer["lowercase"]),
        tokenize_chinese_chars=_flag(normalizer["handle_chinese_chars"]),
        strip_accents=None if (strip := normalizer["strip_accents"]) is None else _flag(strip),
        unk_token=str(model["unk_token"]),
    )
    return _lines(model["vocab"], values["added_tokens"]), settings


def _check(stage: str, stated: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> None:
    for key, value in wanted.items():
        if (stated or {}).get(key) != value:
            raise TokenizerError(
                f"the {stage}'s {key} is {(stated or {}).get(key)!r}; BERT's is {value!r}."
            )


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _lines(vocab: Mapping[str, int], added: list[Mapping[str, Any]]) -> bytes:
    pieces = sorted(vocab, key=vocab.__getitem__)
    if [vocab[piece] for piece in pieces] != list(range(len(pieces))):
        raise TokenizerError(f"the ids of the {len(pieces)} pieces are not 0 to {len(pieces) - 1}.")
    for token in added:
        if vocab.get(token["content"]) != token["id"]:
            raise TokenizerError(
                f"the added token {token['content']!r} (id {token['id']}) is not in the model's "
                "vocabulary; a vocab.txt cannot hold it."
            )
    for piece in pieces:
        if "\n" in piece or "\r" in piece:
            raise TokenizerError(
                f"the piece {piece!r} is not one line; a vocab.txt cannot hold it."
            )
    return "".join(f"{piece}\n" for piece in pieces).encode()
