"""How text is prepared and what the special tokens are called: `tokenizer_config.json`."""

from __future__ import annotations

import dataclasses
import difflib
import json
from dataclasses import dataclass
from typing import Any

from albert_edge.errors import TokenizerError

__all__ = ["Settings", "parse_object"]

_CLASSES = ("AlbertTokenizer", "AlbertTokenizerFast", "PreTrainedTokenizerFast")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
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

    def updated(self, blob: bytes, *, where: str) -> Settings:
        """Return these settings with what a `tokenizer_config.json` says.

        Keys that do not change how text becomes ids are passed over; one that nearly spells one
        that does is refused.

        Args:
            blob: The file's content.
            where: The file's name, for error messages.

        Raises:
            TokenizerError: It is no such file, or asks for what cannot be done.
        """
        stated = parse_object(blob, where=where)
        if (kind := stated.get("tokenizer_class") or _CLASSES[0]) not in _CLASSES:
            raise TokenizerError(
                f"{where}: tokenizer_class is {kind!r}; this reads {', '.join(_CLASSES)}."
            )
        if stated.get("sp_model_kwargs"):
            raise TokenizerError(
                f"{where}: sp_model_kwargs {stated['sp_model_kwargs']!r} is not supported."
            )
        known = {field.name: type(field.default) for field in dataclasses.fields(self)}
        for key in stated.keys() - known.keys():
            if near := difflib.get_close_matches(key, known.keys() - stated.keys(), 1, 0.9):
                raise TokenizerError(f"{where}: unknown key {key!r}; did you mean {near[0]!r}?")
        changes = {key: _plain(stated[key]) for key in known if stated.get(key) is not None}
        for key, value in changes.items():
            if not isinstance(value, known[key]):
                raise TokenizerError(f"{where}: {key} must be a {known[key].__name__}: {value!r}.")
        return dataclasses.replace(self, **changes)

    def to_json(self) -> bytes:
        """Return the content of a `tokenizer_config.json`, the same bytes for the same settings."""
        values = {"tokenizer_class": _CLASSES[0], **dataclasses.asdict(self)}
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
