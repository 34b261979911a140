"""How text is prepared and what the special tokens are called: `tokenizer_config.json`."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from albert_edge.errors import TokenizerError

__all__ = ["SentencePieceConfig", "WordPieceConfig", "parse_object"]

_ALBERT = ("AlbertTokenizer", "AlbertTokenizerFast", "PreTrainedTokenizerFast")
# An ALBERT's configuration may name ALBERT's tokenizer although its vocabulary is BERT's.
_BERT = ("BertTokenizer", "BertTokenizerFast", *_ALBERT)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentencePieceConfig:
    """The settings of an ALBERT tokenizer, in Hugging Face's names; the defaults are ALBERT's.

    Attributes:
        do_lower_case: Lower the case.
        remove_space: Fold every run of white space to one space, and drop it at both ends.
        keep_accents: Leave compatibility characters (NFKD) and combining marks as they are.
        cls_token, sep_token, pad_token, mask_token: The names of the special tokens.
    """

    do_lower_case: bool = True
    remove_space: bool = True
    keep_accents: bool = False
    cls_token: str = "[CLS]"  # noqa: S105 - no password
    sep_token: str = "[SEP]"  # noqa: S105
    pad_token: str = "<pad>"  # noqa: S105
    mask_token: str = "[MASK]"  # noqa: S105

    @property
    def normalizer(self) -> tuple[bool, ...]:
        """What a `tokenizer.json` says too."""
        return self.do_lower_case, self.keep_accents

    def updated(self, blob: bytes, *, where: str) -> SentencePieceConfig:
        """Return these settings with what a `tokenizer_config.json` says.

        Keys that do not change how text becomes ids are passed over; one that nearly spells one
        that does is refused.

        Args:
            blob: The file's content.
            where: The file's name, for error messages.

        Raises:
            TokenizerError: It is no such file, or asks for what cannot be done.
        """
        return _update(self, blob, where=where, classes=_ALBERT, fixed={"sp_model_kwargs": {}})

    def to_json(self) -> bytes:
        """Return the content of a `tokenizer_config.json`, the same bytes for the same settings."""
        return _to_json(self, _ALBERT[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class WordPieceConfig:
    """The settings of a BERT tokenizer, in Hugging Face's names; the defaults are BERT's.

    Attributes:
        do_lower_case: Lower the case.
        tokenize_chinese_chars: Make every Chinese character a word.
        strip_accents: Drop combining marks; None for when the case is lowered.
        cls_token, sep_token, pad_token, mask_token, unk_token: The names of the special tokens.
    """

    do_lower_case: bool = True
    tokenize_chinese_chars: bool = True
    strip_accents: bool | None = None
    cls_token: str = "[CLS]"  # noqa: S105 - no password
    sep_token: str = "[SEP]"  # noqa: S105
    pad_token: str = "[PAD]"  # noqa: S105
    mask_token: str = "[MASK]"  # noqa: S105
    unk_token: str = "[UNK]"  # noqa: S105

    @property
    def strips_accents(self) -> bool:
        """Whether combining marks are dropped."""
        return self.do_lower_case if self.strip_accents is None else self.strip_accents

    @property
    def normalizer(self) -> tuple[bool, ...]:
        """What a `tokenizer.json` says too."""
        return self.do_lower_case, self.tokenize_chinese_chars, self.strips_accents

    def updated(self, blob: bytes, *, where: str) -> WordPieceConfig:
        """Return these settings with what a `tokenizer_config.json` says; see `Settings.updated`.

        Raises:
            TokenizerError: It is no such file, or asks for what cannot be done.
        """
        fixed = {"do_basic_tokenize": True, "never_split": []}
        return _update(self, blob, where=where, classes=_BERT, fixed=fixed)

    def to_json(self) -> bytes:
        """Return the content of a `tokenizer_config.json`, the same bytes for the same settings."""
        return _to_json(self, _BERT[0])


_Any = TypeVar("_Any", SentencePieceConfig, WordPieceConfig)


def _update(
    settings: _Any, blob: bytes, *, where: str, classes: Sequence[str], fixed: Mapping[str, Any]
) -> _Any:
    stated = parse_object(blob, where=where)
    if (kind := stated.get("tokenizer_class") or classes[0]) not in classes:
        raise TokenizerError(
            f"{where}: tokenizer_class is {kind!r}; this reads {', '.join(classes)}."
        )
    for key, value in fixed.items():
        if stated.get(key) not in (None, value):
            raise TokenizerError(f"{where}: {key} {stated[key]!r} is not supported.")
    known = {field.name: type(field.default) for field in dataclasses.fields(settings)}
    for key in stated.keys() - known.keys():
        if near := difflib.get_close_matches(key, known.keys() - stated.keys(), 1, 0.9):
            raise TokenizerError(f"{where}: unknown key {key!r}; did you mean {near[0]!r}?")
    changes = {key: _plain(stated[key]) for key in known if stated.get(key) is not None}
    for key, value in changes.items():
        kind = str if known[key] is str else bool
        if not isinstance(value, kind):
            raise TokenizerError(f"{where}: {key} must be a {kind.__name__}: {value!r}.")
    return dataclasses.replace(settings, **changes)


def _to_json(settings: SentencePieceConfig | WordPieceConfig, kind: str) -> bytes:
    values = {"tokenizer_class": kind, **dataclasses.asdict(settings)}
    return json.dumps(values, indent=2, sort_keys=True).encode() + b"\n"


def parse_object(blob: bytes, *, where: str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        TokenizerError: It is none.
    """
    try:
        values = json.loads(blob)
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{where} is not JSON: {error}.") from error
    if not isinstance(values, dict):
        raise TokenizerError(f"{where}: expected a JSON object, got {type(values).__name__}.")
    return values


def _plain(value: Any) -> Any:
    # A token is written as its name or as an object that says how it is matched in text.
    return value.get("content") if isinstance(value, dict) else value
