"""Find the names of special tokens in text, for those who ask for it."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["find_special"]


def find_special(
    text: str, names: Mapping[str, int], *, do_lower_case: bool
) -> list[tuple[int, int, int]]:
    """Find the names of special tokens as Hugging Face's slow tokenizers do.

    Args:
        text: Any text.
        names: The tokens' ids by name.
        do_lower_case: Whether the tokenizer lowers the case.  All but the names is lowered before
            they are looked for, so a name in small letters is found in capitals too, as `<PAD>`;
            `[mask]` is not `[MASK]`.

    Returns:
        (start, end, id) of each name in `text`, in code points, from left to right.

    Example:
        >>> find_special("a [MASK] <PAD>", {"[MASK]": 4, "<pad>": 0}, do_lower_case=True)
        [(2, 8, 4), (9, 14, 0)]
    """
    any_name = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    if do_lower_case:
        text = re.sub(
            f"({any_name})|.", lambda match: match[1] or _lower(match[0]), text, flags=re.DOTALL
        )
    return [(*match.span(), names[match[0]]) for match in re.finditer(any_name, text)]


def _lower(char: str) -> str:
    lower = char.lower()
    return lower if len(lower) == 1 else char  # places must stay; only U+0130 has two
