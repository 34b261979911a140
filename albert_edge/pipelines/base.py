"""The base class of all pipelines: it encodes a text, or ids, as one input of the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, final

from albert_edge.early_exit import EarlyExit
from albert_edge.errors import InputError
from albert_edge.runtime import Model
from albert_edge.tokenizer import Encoding, Tokenizer


class Pipeline(ABC):
    """A model and its tokenizer as one function; a subclass interprets the model's outputs.

    Attributes:
        model: The open model.
        tokenizer: Its tokenizer; None if the file carries none, then only ids are accepted.
    """

    def __init__(self, model: Model, tokenizer: Tokenizer | None) -> None:
        self.model = model
        self.tokenizer = tokenizer

    @abstractmethod
    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Run the task on one text; return a plain dict, ready for JSON but for feature arrays."""

    @property
    @final
    def max_tokens(self) -> int:
        """The number of tokens to which a text is truncated, special ones included."""
        limit = self.tokenizer.model_max_length if self.tokenizer else None
        return min(self.model.max_tokens, limit or self.model.max_tokens)

    @final
    def text_tokenizer(self) -> Tokenizer:
        """Return the tokenizer.

        Raises:
            InputError: The file carries none.
        """
        if self.tokenizer is None:
            raise InputError(
                "this file carries no tokenizer, so it does not accept text; give input_ids "
                "instead, or convert the checkpoint together with its spiece.model."
            )
        return self.tokenizer

    @final
    def early_exit_rule(self, **overrides: float | None) -> EarlyExit | None:
        """Return the file's early-exit rule, with those of `overrides` that are not None.

        Raises:
            ConfigError: A value is out of range.
            InputError: There is one, and the file does not support early exit.
        """
        default = self.model.bundle.early_exit
        changes: dict[str, Any] = {k: value for k, value in overrides.items() if value is not None}
        if changes:
            self.model.require_early_exit()
        return replace(default, **changes) if default else None

    @final
    def encode(
        self,
        text: str | None,
        pair: str | None,
        input_ids: Sequence[int] | None,
        token_type_ids: Sequence[int] | None,
        *,
        allow_special: bool = False,
    ) -> tuple[Encoding, bool]:
        """Encode one text or two, or wrap ids that are given.

        Args:
            text: The first text, or None for ids.
            pair: The second text, if there is one.
            input_ids: T token ids, or None for text.
            token_type_ids: T types, 0 or 1; all 0 if left out.
            allow_special: Whether the names of special tokens in the text become those tokens.

        Returns:
            The encoding, and whether the text was cut at its end because it is longer than the
            model takes.  The offsets of ids are all None.

        Raises:
            InputError: There is neither text nor ids, or both, or the text is empty, or the file
                carries no tokenizer.
        """
        if text is None:
            if input_ids is None or pair is not None:
                raise InputError("give a text or input_ids.")
            ids = list(input_ids)  # the model checks them
            types = [0] * len(ids) if token_type_ids is None else list(token_type_ids)
            return Encoding(ids, types, [None] * len(ids)), False
        if input_ids is not None:
            raise InputError("give a text or input_ids, not both.")
        tokenizer, most = self.text_tokenizer(), self.max_tokens
        longer = tokenizer.encode(text, pair, max_length=most + 1, allow_special=allow_special)
        check_not_empty(longer, paired=pair is not None)
        if len(longer.input_ids) <= most:
            return longer, False
        cut = tokenizer.encode(text, pair, max_length=most, allow_special=allow_special)
        return cut, True


def check_not_empty(encoding: Encoding, *, paired: bool) -> None:
    """Check that the first text of an encoding, and the second if there are two, has tokens.

    Raises:
        InputError: There is nothing between two special tokens.
    """
    if encoding.offsets[1] is None or (paired and encoding.offsets[-2] is None):
        which = "second" if encoding.offsets[1] is not None else "first" if paired else ""
        raise InputError(f"the {which + ' ' if which else ''}text is empty: it contains no tokens.")
