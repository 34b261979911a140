"""The heading `Example:` of our docstrings, as the reader of Google's sections knows it."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Shows the examples of a docstring as code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section of an object that was read."""
        if obj.docstring:
            obj.docstring.value = re.sub(
                r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE
            )
