"""Hugging Face's `tokenizer.json` of an ALBERT → `spiece.model` and its settings."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from albert_edge.errors import MissingExtraError, TokenizerError
from albert_edge.tokenizer.settings import Settings, parse_object

__all__ = ["convert_fast"]


def convert_fast(blob: bytes, *, where: str = "tokenizer.json") -> tuple[bytes, Settings]:
    """Turn a `tokenizer.json` back into the SentencePiece model that it was made from.

    Args:
        blob: The file's content.
        where: The file's name, for error messages.

    Returns:
        The content of a `spiece.model`, and the settings that the file's normalizer amounts to.

    Raises:
        TokenizerError: It is no `tokenizer.json`, or not one that was made from an ALBERT's model.
        MissingExtraError: protobuf is not installed.
    """
    values = parse_object(blob, where=where)
    try:
        settings, charsmap, folds_space = _normalizer(values)
        prefix = _dummy_prefix(values)
        pieces, unk_id = _pieces(values)
        model = _model_proto(
            pieces, unk_id=unk_id, charsmap=charsmap, prefix=prefix, folds_space=folds_space
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise TokenizerError(f"{where} is not a tokenizer.json: {error!r}.") from error
    except TokenizerError as error:
        raise TokenizerError(f"{where}: {error}") from error
    return model, settings


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


def _pieces(values: Mapping[str, Any]) -> tuple[list[tuple[str, float, bool]], int]:
    """Return each piece's text, score, and whether it is special; and which one is unknown."""
    model = values["model"]
    if (kind := model.get("type", "Unigram")) != "Unigram" or not isinstance(model["vocab"], list):
        raise TokenizerError(f"the model is {kind}; this reads Unigram, the SentencePiece kind.")
    if model.get("byte_fallback"):
        raise TokenizerError("the model spells unknown characters in bytes; ALBERT's do not.")
    vocab = [(str(piece), float(score)) for piece, score in model["vocab"]]
    special = set()
    for token in values["added_tokens"]:
        name, token_id = token["content"], token["id"]
        if not token["special"] or token_id >= len(vocab) or vocab[token_id][0] != name:
            raise TokenizerError(
                f"the added token {name!r} (id {token_id}) is not a special token of the "
                "vocabulary; a SentencePiece model cannot hold it."
            )
        special.add(token_id)
    learned = [score for piece, score in vocab if not _ends_in_number_comma(piece)]
    lowest = min(learned)
    # Hugging Face's converter lowers pieces such as `9,` by 100 so that they are never chosen.
    restored = [
        (piece, score + 100 if _ends_in_number_comma(piece) and score < lowest - 50 else score)
        for piece, score in vocab
    ]
    return [(*pair, index in special) for index, pair in enumerate(restored)], int(model["unk_id"])


def _ends_in_number_comma(piece: str) -> bool:
    return len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit()


def _model_proto(
    pieces: list[tuple[str, float, bool]],
    *,
    unk_id: int,
    charsmap: bytes,
    prefix: bool,
    folds_space: bool,
) -> bytes:
    try:
        from sentencepiece import sentencepiece_model_pb2 as schema
    except ImportError as error:
        raise MissingExtraError("protobuf", "convert") from error
    proto = schema.ModelProto()
    kinds = schema.ModelProto.SentencePiece
    for index, (piece, score, special) in enumerate(pieces):
        kind = kinds.NORMAL
        if index == unk_id:
            kind = kinds.UNKNOWN
        elif special:
            kind = kinds.CONTROL
        elif score == 0:  # a learned piece has a log probability below 0; a defined symbol has 0
            kind = kinds.USER_DEFINED
        proto.pieces.add(piece=piece, score=score, type=kind)
    proto.trainer_spec.model_type = schema.TrainerSpec.UNIGRAM
    proto.trainer_spec.vocab_size = len(pieces)
    proto.trainer_spec.unk_id = unk_id
    proto.normalizer_spec.name = "tokenizer.json"
    proto.normalizer_spec.precompiled_charsmap = charsmap
    proto.normalizer_spec.add_dummy_prefix = prefix
    proto.normalizer_spec.remove_extra_whitespaces = folds_space
    blob: bytes = proto.SerializeToString(deterministic=True)
    return blob
