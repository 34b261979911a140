"""Mixed precision: the dtype of matrix products in training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from albert_edge.modeling.layers import keras_settings

__all__ = ["mixed_precision"]


@contextmanager
def mixed_precision(mixed: str) -> Iterator[None]:
    """Build layers that multiply in the dtype of an option, with float32 weights.

    Args:
        mixed: One of `options.PRECISIONS`; `auto` is bfloat16 where the hardware supports it.
    """
    wanted = {"off": "float32", "bfloat16": "mixed_bfloat16"}
    name = wanted[mixed] if mixed in wanted else wanted["bfloat16" if _has_bfloat16() else "off"]
    with keras_settings(name):
        yield


def _has_bfloat16() -> bool:
    """Return whether this machine multiplies bfloat16 faster than float32."""
    if tf.config.list_physical_devices("GPU"):
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return " amx_bf16" in flags
