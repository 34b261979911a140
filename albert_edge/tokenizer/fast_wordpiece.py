"""Hugging Face's `tokenizer.json` of a BERT → `vocab.txt` and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from albert_edge.errors import TokenizerError
from albert_edge.tokenizer.settings import WordPieceSettings

__all__ = ["convert_wordpiece"]


def convert_wordpiece(values: Mapping[str, Any]) -> tuple[bytes, WordPieceSettings]:
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
    settings = WordPieceSettings(
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
