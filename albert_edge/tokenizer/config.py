"""The configuration of a tokenizer, and the names of its files.

`SentencePieceConfig` and `WordPieceConfig` have the entries of a `tokenizer_config.json` that
change how text becomes ids.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from albert_edge.errors import TokenizerError
from albert_edge.files import parse_json

__all__ = [
    "CONFIG_FILE",
    "JSON_FILE",
    "SPIECE_FILE",
    "TOKENIZER_FILES",
    "VOCABULARY_FILES",
    "VOCAB_FILE",
    "SentencePieceConfig",
    "WordPieceConfig",
]

SPIECE_FILE = "spiece.model"
VOCAB_FILE = "vocab.txt"
JSON_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
# In order of preference: `tokenizer.json` was made from one of the others.
VOCABULARY_FILES = (SPIECE_FILE, VOCAB_FILE, JSON_FILE)
TOKENIZER_FILES = (*VOCABULARY_FILES, CONFIG_FILE)

_ALBERT = ("AlbertTokenizer", "AlbertTokenizerFast", "PreTrainedTokenizerFast")
# The configuration of an ALBERT with a WordPiece vocabulary can name ALBERT's tokenizer.
_BERT = ("BertTokenizer", "BertTokenizerFast", *_ALBERT)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentencePieceConfig:
    """The options of ALBERT's tokenizer, with Hugging Face's names and the defaults of ALBERT.

    Attributes:
        do_lower_case: Whether to convert text to lower case.
        remove_space: Whether to replace runs of white space by one space, and to strip both ends.
        keep_accents: Whether to keep compatibility characters (NFKD) and combining marks.
        cls_token, sep_token, pad_token, mask_token: The names of the special tokens.
    """

    do_lower_case: bool = True
    remove_space: bool = True
    keep_accents: bool = False
    cls_token: str = "[CLS]"  # noqa: S105 - not a password
    sep_token: str = "[SEP]"  # noqa: S105
    pad_token: str = "<pad>"  # noqa: S105
    mask_token: str = "[MASK]"  # noqa: S105

    @property
    def normalizer(self) -> tuple[bool, ...]:
        """The options that a `tokenizer.json` has too."""
        return self.do_lower_case, self.keep_accents

    def updated_from_json(self, blob: bytes, *, where: str) -> SentencePieceConfig:
        """Return a copy with the options of a `tokenizer_config.json`.

        Keys that do not change how text becomes ids are ignored; a likely misspelling of one that
        does is an error.

        Args:
            blob: The content of the file.
            where: The name of the file, for error messages.

        Raises:
            TokenizerError: The file is invalid, or has an option that is not supported.
        """
        return _update(self, blob, where=where, classes=_ALBERT, fixed={"sp_model_kwargs": {}})

    def to_json(self) -> bytes:
        """Return the content of a `tokenizer_config.json`, deterministically."""
        return _to_json(self, _ALBERT[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class WordPieceConfig:
    """The options of BERT's tokenizer, with Hugging Face's names and the defaults of BERT.

    Attributes:
        do_lower_case: Whether to convert text to lower case.
        tokenize_chinese_chars: Whether to treat every Chinese character as a word.
        strip_accents: Whether to remove combining marks; None for the value of `do_lower_case`.
        cls_token, sep_token, pad_token, mask_token, unk_token: The names of the special tokens.
    """

    do_lower_case: bool = True
    tokenize_chinese_chars: bool = True
    strip_accents: bool | None = None
    cls_token: str = "[CLS]"  # noqa: S105 - not a password
    sep_token: str = "[SEP]"  # noqa: S105
    pad_token: str = "[PAD]"  # noqa: S105
    mask_token: str = "[MASK]"  # noqa: S105
    unk_token: str = "[UNK]"  # noqa: S105

    @property
    def strips_accents(self) -> bool:
        """Whether to remove combining marks."""
        return self.do_lower_case if self.strip_accents is None else self.strip_accents

    @property
    def normalizer(self) -> tuple[bool, ...]:
        """The options that a `tokenizer.json` has too."""
        return self.do_lower_case, self.tokenize_chinese_chars, self.strips_accents

    def updated_from_json(self, blob: bytes, *, where: str) -> WordPieceConfig:
        """Return a copy with the options of a `tokenizer_config.json`.

        See `SentencePieceConfig.updated_from_json`.
        """
        fixed = {"do_basic_tokenize": True, "never_split": []}
        return _update(self, blob, where=where, classes=_BERT, fixed=fixed)

    def to_json(self) -> bytes:
        """Return the content of a `tokenizer_config.json`, deterministically."""
        return _to_json(self, _BERT[0])


_Config = TypeVar("_Config", SentencePieceConfig, WordPieceConfig)


def _update(
    config: _Config, blob: bytes, *, where: str, classes: Sequence[str], fixed: Mapping[str, Any]
) -> _Config:
    stated = parse_json(blob, where=where, error=TokenizerError)
    if (kind := stated.get("tokenizer_class") or classes[0]) not in classes:
        raise TokenizerError(
            f"{where}: tokenizer_class is {kind!r}, expected one of {', '.join(classes)}."
        )
    for key, value in fixed.items():
        if stated.get(key) not in (None, value):
            raise TokenizerError(f"{where}: {key} {stated[key]!r} is not supported.")
    known = {field.name: type(field.default) for field in dataclasses.fields(config)}
    for key in stated.keys() - known.keys():
        if near := difflib.get_close_matches(key, known.keys() - stated.keys(), 1, 0.9):
            raise TokenizerError(f"{where}: unknown key {key!r}; did you mean {near[0]!r}?")
    changes = {key: _token_name(stated[key]) for key in known if stated.get(key) is not None}
    for key, value in changes.items():
        kind = str if known[key] is str else bool
        if not isinstance(value, kind):
            raise TokenizerError(f"{where}: {key} must be a {kind.__name__}: {value!r}.")
    return dataclasses.replace(config, **changes)


def _to_json(config: SentencePieceConfig | WordPieceConfig, kind: str) -> bytes:
    values = {"tokenizer_class": kind, **dataclasses.asdict(config)}
    return json.dumps(values, indent=2, sort_keys=True).encode() + b"\n"


def _token_name(value: Any) -> Any:
    # The value of a token is its name, or an object with its name and how it matches text.
    return value.get("content") if isinstance(value, dict) else value
