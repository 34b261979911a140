"""The matrices that are worth compressing, and the int8 codes that the converter makes of them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

__all__ = [
    "INT8_QMAX",
    "channel_axis",
    "describe_matrix",
    "folded_scale",
    "int8_codes",
    "is_compressible",
]

INT8_QMAX = 127  # of the largest number of a channel, or of a table; or it is the negative
_PARTS = ("embeddings/", "encoder/", "pooler/")
_FEW = "embeddings/token_type_embeddings"


def is_compressible(name: str) -> bool:
    """Tell whether the tensor of this canonical name is a large matrix.

    Left alone are vectors, the two token types and the head's last product: few numbers, each of
    which the answer depends on.
    """
    matrix = name.endswith(("/kernel", "_embeddings"))
    return matrix and name.startswith(_PARTS) and name != _FEW


def channel_axis(name: str) -> int | None:
    """Return the axis that int8 numbers of one scale lie along; None if a table has one scale."""
    return 0 if name.endswith("/kernel") else None  # a kernel is [inputs, outputs]


def folded_scale(name: str) -> str | None:
    """Name the normalization's `gamma`, if any, that the converter multiplies a kernel's rows by.

    It does so where the normalization and the product are in one piece: (n * gamma + beta) @ kernel
    becomes n @ (gamma * kernel) + beta @ kernel, whoever else needs n * gamma + beta.
    """
    if name == "embeddings/projection/kernel":
        return "embeddings/layer_norm/gamma"
    if name.endswith("/ffn/intermediate/kernel"):
        return name.removesuffix("ffn/intermediate/kernel") + "attention/layer_norm/gamma"
    first = re.fullmatch(
        r"(encoder/group_\d+/layer_)(\d+)/attention/(query|key|value)/kernel", name
    )
    if first and first[2] != "0":
        return f"{first[1]}{int(first[2]) - 1}/ffn/layer_norm/gamma"
    return None


def int8_codes(tensors: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """Return the codes that the TFLite converter's dynamic-range quantization stores.

    Args:
        tensors: A model's, float32, by canonical name.
        name: Which: a kernel [inputs, outputs] or a table [rows, size].

    Returns:
        int8, of the same shape.
    """
    values, scale = tensors[name], folded_scale(name)
    if scale is not None:
        values = values * tensors[scale][:, None]
    largest = np.abs(values).max(axis=channel_axis(name), keepdims=True)
    steps = np.where(largest > 0, largest, 1) / np.float32(INT8_QMAX)
    codes: np.ndarray = np.round(values / steps).astype(np.int8)
    return codes


def describe_matrix(tensors: Mapping[str, np.ndarray], name: str) -> dict[str, float | int]:
    """Return how many numbers there are, the share of zeros, and the number of int8 codes."""
    values = tensors[name]
    return {
        "numbers": values.size,
        "sparsity": round(float((values == 0).mean()), 4),
        "int8_codes": len(np.unique(int8_codes(tensors, name))),
    }
