"""The configuration of a tokenizer, and the names of its files.

`SentencePieceConfig` and `WordPieceConfig` have the entries of a `tokenizer_config.json` that
change how text becomes ids.  They are read with the other files that can add or rename tokens,
`special_tokens_map.json`, `added_tokens.json` and `tokenizer.json`, in the order of the slow
tokenizers of transformers 4: `added_tokens_decoder`, if there is one, replaces all three.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from albert_edge.errors import TokenizerError
from albert_edge.files import dump_json, parse_json

__all__ = ["SPIECE_FILE", "TOKENIZER_FILES"]

SPIECE_FILE = "spiece.model"
VOCAB_FILE = "vocab.txt"
JSON_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
_ADDED_FILE = "added_tokens.json"
_SPECIAL_FILE = "special_tokens_map.json"
# In order of preference: `tokenizer.json` was made from one of the others.
VOCABULARY_FILES = (SPIECE_FILE, VOCAB_FILE, JSON_FILE)
CONFIG_FILES = (CONFIG_FILE, _ADDED_FILE, _SPECIAL_FILE)
TOKENIZER_FILES = (*VOCABULARY_FILES, *CONFIG_FILES)

_ALBERT = ("AlbertTokenizer", "AlbertTokenizerFast", "PreTrainedTokenizerFast")
# The configuration of an ALBERT with a WordPiece vocabulary can name ALBERT's tokenizer.
_BERT = ("BertTokenizer", "BertTokenizerFast", *_ALBERT)
# Keys that change the ids in transformers, and the values with which they do not.
_FIXED: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "split_special_tokens": (None, False),
        "truncation_side": (None, "right", "left"),
        "padding_side": (None, "right"),  # otherwise padding moves the positions of the tokens
    }
)
_EXTRA = "additional_special_tokens"
_LEAST_LENGTH = 5  # of two texts, with three special tokens
_MAX_ADDED_ID = 2**31 - 1  # ids are int32 in a model


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedToken:
    """A token that is found in text before the text is split into pieces.

    Attributes:
        content: Its name in text.
        id: Its id, or None for the id of the piece of this name, or else the next free one.
        special: Whether `decode` omits it.
        named: Whether `additional_special_tokens` has it.
        normalized: As in transformers; see `keeps_case`.
        lstrip, rstrip: Whether it includes the white space before it, or behind it.
        single_word: Whether it matches only between spaces.
    """

    content: str
    id: int | None = None
    special: bool = False
    named: bool = False
    normalized: bool = True
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False

    @property
    def keeps_case(self) -> bool:
        """Whether the name in text is not converted to lower case.

        If it is, a name with capitals is never found by a tokenizer with `do_lower_case`.
        """
        return self.named or (self.normalized and not self.special)

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of `added_tokens_decoder` for this token."""
        entry = dataclasses.asdict(self)
        return {key: value for key, value in entry.items() if key not in ("id", "named")}


@dataclass(frozen=True, slots=True, kw_only=True)
class SentencePieceConfig:
    """The options of ALBERT's tokenizer, with Hugging Face's names and the defaults of ALBERT.

    Attributes:
        do_lower_case: Whether to convert text to lower case.
        remove_space: Whether to replace runs of white space by one space, and to strip both ends.
        keep_accents: Whether to keep compatibility characters (NFKD) and combining marks.
        cls_token, sep_token, pad_token, mask_token: The names of the special tokens.
        bos_token, eos_token: The names of two more, which no input of the model contains.
        truncation_side: The end at which a text that is too long is cut, "left" or "right".
        model_max_length: The number of tokens to which a text is truncated, special ones included;
            None for as many as the model has positions.
        added_tokens: The tokens that are found in text.
    """

    do_lower_case: bool = True
    remove_space: bool = True
    keep_accents: bool = False
    cls_token: str = "[CLS]"  # noqa: S105 - not a password
    sep_token: str = "[SEP]"  # noqa: S105
    pad_token: str = "<pad>"  # noqa: S105
    mask_token: str = "[MASK]"  # noqa: S105
    bos_token: str = "[CLS]"  # noqa: S105
    eos_token: str = "[SEP]"  # noqa: S105
    truncation_side: str = "right"
    model_max_length: int | None = None
    added_tokens: tuple[AddedToken, ...] = ()

    @property
    def normalizer(self) -> tuple[bool, ...]:
        """The options that a `tokenizer.json` has too."""
        return self.do_lower_case, self.keep_accents

    def updated_from_files(self, files: Mapping[str, bytes], *, where: str) -> SentencePieceConfig:
        """Return a copy with the options of a `tokenizer_config.json` and the files beside it.

        Keys that do not change how text becomes ids are ignored; a likely misspelling of one that
        does is an error.

        Args:
            files: Contents by name; only those of JSON files are read.
            where: The source of the files, for error messages.

        Raises:
            TokenizerError: A file is invalid, or has an option that is not supported.
        """
        return _update(self, files, where=where, classes=_ALBERT, fixed={"sp_model_kwargs": {}})

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
        bos_token, eos_token, truncation_side, model_max_length, added_tokens: As in
            `SentencePieceConfig`; BERT has neither of the first two.
    """

    do_lower_case: bool = True
    tokenize_chinese_chars: bool = True
    strip_accents: bool | None = None
    cls_token: str = "[CLS]"  # noqa: S105 - not a password
    sep_token: str = "[SEP]"  # noqa: S105
    pad_token: str = "[PAD]"  # noqa: S105
    mask_token: str = "[MASK]"  # noqa: S105
    unk_token: str = "[UNK]"  # noqa: S105
    bos_token: str | None = None
    eos_token: str | None = None
    truncation_side: str = "right"
    model_max_length: int | None = None
    added_tokens: tuple[AddedToken, ...] = ()

    @property
    def strips_accents(self) -> bool:
        """Whether to remove combining marks."""
        return self.do_lower_case if self.strip_accents is None else self.strip_accents

    @property
    def normalizer(self) -> tuple[bool, ...]:
        """The options that a `tokenizer.json` has too."""
        return self.do_lower_case, self.tokenize_chinese_chars, self.strips_accents

    def updated_from_files(self, files: Mapping[str, bytes], *, where: str) -> WordPieceConfig:
        """Return a copy with the options of files; see `SentencePieceConfig`."""
        fixed = {"do_basic_tokenize": True, "never_split": []}
        return _update(self, files, where=where, classes=_BERT, fixed=fixed)

    def to_json(self) -> bytes:
        """Return the content of a `tokenizer_config.json`, deterministically."""
        return _to_json(self, _BERT[0])


_Config = TypeVar("_Config", SentencePieceConfig, WordPieceConfig)


def _update(
    config: _Config,
    files: Mapping[str, bytes],
    *,
    where: str,
    classes: Sequence[str],
    fixed: Mapping[str, Any],
) -> _Config:
    stated = _read(files, CONFIG_FILE, where)
    place = f"{CONFIG_FILE} in {where}"
    if (kind := stated.get("tokenizer_class") or classes[0]) not in classes:
        raise TokenizerError(
            f"{place}: tokenizer_class is {kind!r}, expected one of {', '.join(classes)}."
        )
    for key, values in {**{k: (None, v) for k, v in fixed.items()}, **_FIXED}.items():
        if stated.get(key) not in values:
            known_values = " or ".join(repr(value) for value in values if value is not None)
            raise TokenizerError(
                f"{place}: {key} {stated[key]!r} is not supported, only {known_values}."
            )
    inputs = stated.get("model_input_names")
    if isinstance(inputs, list) and "token_type_ids" not in inputs:
        raise TokenizerError(
            f"{place}: model_input_names without token_type_ids is not supported: ALBERT's second "
            "text is of type 1."
        )
    known = {field.name: field.default for field in dataclasses.fields(config)}
    for key in stated.keys() - known.keys():
        if near := difflib.get_close_matches(key, known.keys() - stated.keys(), 1, 0.9):
            raise TokenizerError(f"{place}: unknown key {key!r}; did you mean {near[0]!r}?")
    decoder = stated.get("added_tokens_decoder")
    if decoder is None:
        _merge_special_tokens(stated, _read(files, _SPECIAL_FILE, where))
    extra = _additional_tokens(stated, place)
    changes: dict[str, Any] = {}
    if (length := stated.get("model_max_length", stated.get("max_len"))) is not None:
        changes["model_max_length"] = _max_length(length, place)
    for key in known.keys() - {"added_tokens", "model_max_length"}:
        if (value := _token_name(stated.get(key))) is not None:
            changes[key] = _checked(key, value, str if _is_text(key, known[key]) else bool, place)
    if decoder is None:
        names = {str(value) for key, value in changes.items() if key.endswith("_token")}
        added = _legacy_added(files, where, names | extra.keys())
    else:
        added = _added_by_id(decoder, place)
    if len({token.content for token in added}) < len(added):
        raise TokenizerError(f"{where}: two added tokens have the same name.")
    # An entry with an id determines how the token matches.
    added = [dataclasses.replace(token, named=token.content in extra) for token in added]
    tokens = {**extra, **{token.content: token for token in added}}
    return dataclasses.replace(config, **changes, added_tokens=tuple(tokens.values()))


def _read(files: Mapping[str, bytes], name: str, where: str) -> dict[str, Any]:
    if name not in files:
        return {}
    return parse_json(files[name], where=f"{name} in {where}", error=TokenizerError)


def _is_text(key: str, default: Any) -> bool:
    return isinstance(default, str) or key in ("bos_token", "eos_token")


def _checked(key: str, value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, kind):
        raise TokenizerError(f"{where}: {key} must be a {kind.__name__}: {value!r}.")
    return value


def _max_length(value: Any, where: str) -> int | None:
    """Return a `model_max_length`; None for one without a limit, 1e30 in transformers."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= _LEAST_LENGTH:
        raise TokenizerError(
            f"{where}: model_max_length must be a number of at least {_LEAST_LENGTH}, the special "
            f"tokens included: {value!r}."
        )
    return int(value) if value < _MAX_ADDED_ID else None


def _merge_special_tokens(stated: dict[str, Any], special: Mapping[str, Any]) -> None:
    """Let the tokens of a `special_tokens_map.json` replace those of `tokenizer_config.json`."""
    for key, value in special.items():
        if key == _EXTRA and isinstance(value, list):
            before = stated.get(_EXTRA) or []
            value = [*before, *(token for token in value if token not in before)]
        stated[key] = value


def _additional_tokens(stated: Mapping[str, Any], where: str) -> dict[str, AddedToken]:
    names = stated.get(_EXTRA) or []
    extra = stated.get("extra_special_tokens") or {}
    if not isinstance(names, list) or not isinstance(extra, dict):
        raise TokenizerError(f"{where}: {_EXTRA} must be a list: {names or extra!r}.")
    tokens = [_added(token, None, where, special=True) for token in (*names, *extra.values())]
    return {token.content: dataclasses.replace(token, named=True) for token in tokens}


def _added_by_id(decoder: Any, where: str) -> list[AddedToken]:
    if not isinstance(decoder, dict):
        raise TokenizerError(f"{where}: added_tokens_decoder must be an object: {decoder!r}.")
    tokens = [_added(token, _token_id(key, where), where) for key, token in decoder.items()]
    return list({token.id: token for token in tokens}.values())


def _legacy_added(files: Mapping[str, bytes], where: str, special: set[str]) -> list[AddedToken]:
    """Return the tokens of `added_tokens.json` and those that `tokenizer.json` repeats."""
    found: dict[int, AddedToken] = {}
    for name, value in _read(files, _ADDED_FILE, where).items():
        place = f"{_ADDED_FILE} in {where}"
        token_id = _token_id(value, place)
        if token_id in found:
            raise TokenizerError(f"{place}: two tokens have the id {token_id}.")
        found[token_id] = _added(name, token_id, place, special=name in special)
    for entry in _json_added_tokens(files, where):
        place = f"{JSON_FILE} in {where}"
        token_id = _token_id(entry.get("id") if isinstance(entry, dict) else None, place)
        found[token_id] = _added(entry, token_id, place)
    return list(found.values())


def _json_added_tokens(files: Mapping[str, bytes], where: str) -> Iterable[Any]:
    """Return the `added_tokens` of a `tokenizer.json` beside the vocabulary that is used.

    Only this part of the file is parsed: the whole one takes longer than loading the vocabulary.
    """
    if JSON_FILE not in files or files.keys().isdisjoint((SPIECE_FILE, VOCAB_FILE)):
        return []
    text = files[JSON_FILE].decode(errors="replace")
    if not (found := re.search(r'"added_tokens"\s*:\s*(?=\[)', text)):
        return []
    try:
        tokens: list[Any] = json.JSONDecoder().raw_decode(text, found.end())[0]
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{JSON_FILE} in {where} is not JSON: {error}.") from error
    return tokens


def _token_id(value: Any, where: str) -> int:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 11:
        value = int(value)
    if type(value) is not int or not 0 <= value <= _MAX_ADDED_ID:
        raise TokenizerError(f"{where}: {value!r} is not the id of an added token.")
    return value


def _added(value: Any, token_id: int | None, where: str, *, special: bool = False) -> AddedToken:
    """Return the token with an entry: its name, or an object with its name and how it matches."""
    values = value if isinstance(value, dict) else {"content": value}
    name = _checked("the name of an added token", values.get("content"), str, where)
    if not name:
        raise TokenizerError(f"{where}: an added token has an empty name.")
    special = special or bool(values.get("special"))
    flags = {key: bool(values.get(key)) for key in ("lstrip", "rstrip", "single_word")}
    normalized = values.get("normalized")
    if normalized is None:
        normalized = not special
    return AddedToken(content=name, id=token_id, special=special, normalized=normalized, **flags)


def _to_json(config: SentencePieceConfig | WordPieceConfig, kind: str) -> bytes:
    values = {"tokenizer_class": kind, **dataclasses.asdict(config)}
    # Older files do not have these.
    for key in ("bos_token", "eos_token", "truncation_side", "model_max_length"):
        if values[key] == getattr(type(config)(), key):
            del values[key]
    del values["added_tokens"]
    if config.added_tokens:
        values["added_tokens_decoder"] = {
            str(token.id): token.to_dict() for token in config.added_tokens
        }
    if names := [token.content for token in config.added_tokens if token.named]:
        values[_EXTRA] = names
    return dump_json(values, indent=2, sort_keys=True).encode() + b"\n"


def _token_name(value: Any) -> Any:
    # The value of a token is its name, or an object with its name and how it matches text.
    return value.get("content") if isinstance(value, dict) else value
