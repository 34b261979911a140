"""Try many ways to compress one model, on one machine or on a Ray cluster, and show the best."""

from __future__ import annotations
