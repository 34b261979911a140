"""Make a model smaller, and say what that costs."""

from __future__ import annotations
