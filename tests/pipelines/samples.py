"""A text of the tokenizer's own words."""

from __future__ import annotations

TEXT = "a storm took the roof"
