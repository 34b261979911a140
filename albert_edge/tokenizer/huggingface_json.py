"""Convert a `tokenizer.json` of Hugging Face to the `spiece.model` or `vocab.txt` behind it.

The normalizer and the other steps of the file must be those of ALBERT or BERT; they determine the
configuration that is returned with the vocabulary.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from albert_edge.errors import TokenizerError
from albert_edge.files import parse_json
from albert_edge.tokenizer.config import JSON_FILE, SentencePieceConfig, WordPieceConfig
from albert_edge.tokenizer.protobuf import encode_bytes, encode_varint

# ModelProto.SentencePiece.Type
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED = 1, 2, 3, 4


def from_tokenizer_json(
    blob: bytes, *, where: str = JSON_FILE
) -> tuple[bytes, SentencePieceConfig | WordPieceConfig]:
    """Convert a `tokenizer.json` to the vocabulary that it was made from.

    Args:
        blob: The content of the file.
        where: The name of the file, for error messages.

    Returns:
        The content of a `spiece.model` with a `SentencePieceConfig`, or that of a `vocab.txt` with
        a `WordPieceConfig`.

    Raises:
        TokenizerError: The file is invalid, or its tokenizer is not one of ALBERT or BERT.
    """
    values = parse_json(blob, where=where, error=TokenizerError)
    try:
        convert: Callable[[Mapping[str, Any]], tuple[bytes, SentencePieceConfig | WordPieceConfig]]
        wordpiece = values["model"].get("type") == "WordPiece"
        convert = _convert_wordpiece if wordpiece else _convert_unigram
        vocabulary, config = convert(values)
        if (values.get("truncation") or {}).get("direction") == "Left":
            config = replace(config, truncation_side="left")
        return vocabulary, config
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise TokenizerError(f"{where} is not a valid tokenizer.json: {error!r}.") from error
    except TokenizerError as error:
        raise TokenizerError(f"{where}: {error}") from error


def _convert_unigram(values: Mapping[str, Any]) -> tuple[bytes, SentencePieceConfig]:
    pieces = _read_pieces(values)
    config, charsmap, folds_space = _read_normalizer(values)
    prefix = _has_dummy_prefix(values)
    return _model_proto(pieces, charsmap=charsmap, prefix=prefix, folds_space=folds_space), config


def _flatten_sequence(step: Mapping[str, Any] | None, name: str) -> Iterator[Mapping[str, Any]]:
    if step is None:
        return
    if step["type"] == "Sequence":
        for part in step[name]:
            yield from _flatten_sequence(part, name)
    else:
        yield step


def _read_normalizer(values: Mapping[str, Any]) -> tuple[SentencePieceConfig, bytes, bool]:
    steps = []
    charsmap = b""
    for step in _flatten_sequence(values["normalizer"], "normalizers"):
        name = step["type"]
        if name == "Replace":
            name = f"{next(iter(step['pattern'].values()))} → {step['content']}"
        elif name == "Precompiled":
            charsmap = base64.b64decode(step["precompiled_charsmap"] or "", validate=True)
        steps.append(name)
    quotes = ['`` → "', "'' → \""]
    accents = ["NFKD", "StripAccents"] if "NFKD" in steps else []
    optional = [name for name in ("Lowercase", "Precompiled", " {2,} →  ") if name in steps]
    if steps != quotes + accents + optional:
        raise TokenizerError(
            f"the normalizer's steps are {steps}; ALBERT's are {quotes} and then, in this order "
            "and each optional, NFKD with StripAccents, Lowercase, Precompiled, and ' {2,}' → ' '."
        )
    config = SentencePieceConfig(do_lower_case="Lowercase" in steps, keep_accents=not accents)
    return config, charsmap, optional[-1:] == [" {2,} →  "]


def _has_dummy_prefix(values: Mapping[str, Any]) -> bool:
    steps = list(_flatten_sequence(values["pre_tokenizer"], "pretokenizers"))
    kinds = [step["type"] for step in steps]
    if kinds not in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]):
        raise TokenizerError(f"the pre-tokenizer's steps are {kinds}; ALBERT's is Metaspace.")
    step = steps[-1]
    if step["replacement"] != "\u2581":
        raise TokenizerError(
            f"Metaspace replaces a space by {step['replacement']!r}, expected '\u2581'."
        )
    return bool(
        step.get("prepend_scheme", "always") != "never" and step.get("add_prefix_space", True)
    )


def _read_pieces(values: Mapping[str, Any]) -> list[tuple[str, float, int]]:
    """Return the text, score and type of each piece."""
    model = values["model"]
    if (kind := model.get("type", "Unigram")) != "Unigram" or not isinstance(model["vocab"], list):
        raise TokenizerError(f"the model is {kind}, expected Unigram or WordPiece.")
    if model.get("byte_fallback"):
        raise TokenizerError("byte_fallback is not supported; ALBERT's models do not use it.")
    vocab = [(str(piece), float(score)) for piece, score in model["vocab"]]
    # A trained piece has a log probability below 0; one that a user defined has 0.
    kinds = [_NORMAL if score else _USER_DEFINED for _, score in vocab]
    for token in values["added_tokens"]:
        name, token_id = token["content"], token["id"]
        if not 0 <= token_id < len(vocab) or vocab[token_id][0] != name:
            raise TokenizerError(
                f"the added token {name!r} (id {token_id}) is not in the model's vocabulary; "
                "a SentencePiece model cannot represent it."
            )
        kinds[token_id] = _CONTROL if token["special"] else _USER_DEFINED
    if not 0 <= model["unk_id"] < len(vocab):
        raise TokenizerError(f"unk_id {model['unk_id']} is not in [0, {len(vocab)}).")
    kinds[model["unk_id"]] = _UNKNOWN
    return [
        (piece, _original_score(piece, score), kind)
        for (piece, score), kind in zip(vocab, kinds, strict=True)
    ]


def _original_score(piece: str, score: float) -> float:
    # Hugging Face's converter reduces the scores of pieces such as `9,` by 100, so that they are
    # never used; the original uses them, and splits them afterwards.  No real score is near -50.
    lowered = piece[-1:] == "," and piece[-2:-1].isdigit() and score < -50
    return score + 100 if lowered else score


def _model_proto(
    pieces: list[tuple[str, float, int]], *, charsmap: bytes, prefix: bool, folds_space: bool
) -> bytes:
    """Return an encoded ModelProto (sentencepiece_model.proto)."""
    unknown = next(index for index, (_, _, kind) in enumerate(pieces) if kind == _UNKNOWN)
    records = (
        encode_bytes(1, piece.encode())
        + b"\x15"  # field 2, 32 bits
        + struct.pack("<f", score)
        + (b"" if kind == _NORMAL else encode_varint(3, kind))  # SentencePiece omits the default
        for piece, score, kind in pieces
    )
    trainer = encode_varint(3, 1) + encode_varint(4, len(pieces))  # model_type: UNIGRAM, vocab_size
    trainer += encode_varint(40, unknown) + encode_bytes(45, pieces[unknown][0].encode())
    normalizer = encode_bytes(1, b"tokenizer.json") + encode_bytes(2, charsmap)
    normalizer += encode_varint(3, prefix) + encode_varint(4, folds_space)
    proto = b"".join(encode_bytes(1, record) for record in records)
    return proto + encode_bytes(2, trainer) + encode_bytes(3, normalizer)


def _convert_wordpiece(values: Mapping[str, Any]) -> tuple[bytes, WordPieceConfig]:
    model, normalizer, splitter = values["model"], values["normalizer"], values["pre_tokenizer"]
    _check_step("normalizer", normalizer, {"type": "BertNormalizer", "clean_text": True})
    _check_step("pre-tokenizer", splitter, {"type": "BertPreTokenizer"})
    _check_step(
        "model", model, {"continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    )
    config = WordPieceConfig(
        do_lower_case=_flag(normalizer["lowercase"]),
        tokenize_chinese_chars=_flag(normalizer["handle_chinese_chars"]),
        strip_accents=None if (strip := normalizer["strip_accents"]) is None else _flag(strip),
        unk_token=str(model["unk_token"]),
    )
    return _vocab_txt(model["vocab"], values["added_tokens"]), config


def _check_step(name: str, step: Mapping[str, Any] | None, expected: Mapping[str, Any]) -> None:
    for key, value in expected.items():
        if (got := (step or {}).get(key)) != value:
            raise TokenizerError(f"the {name}'s {key} is {got!r}; BERT's is {value!r}.")


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, got {value!r}")
    return value


def _vocab_txt(vocab: Mapping[str, int], added: list[Mapping[str, Any]]) -> bytes:
    pieces = sorted(vocab, key=vocab.__getitem__)
    if [vocab[piece] for piece in pieces] != list(range(len(pieces))):
        raise TokenizerError(f"the ids of the {len(pieces)} pieces are not 0 to {len(pieces) - 1}.")
    for token in added:
        if vocab.get(token["content"]) != token["id"]:
            raise TokenizerError(
                f"the added token {token['content']!r} (id {token['id']}) is not in the model's "
                "vocabulary; a vocab.txt cannot represent it."
            )
    for piece in pieces:
        if "\n" in piece or "\r" in piece:
            raise TokenizerError(
                f"the piece {piece!r} has a line break; a vocab.txt cannot represent it."
            )
    return "".join(f"{piece}\n" for piece in pieces).encode()
