"""Compression of a classifier during training, and its effect on size and accuracy."""

from __future__ import annotations
