"""Compressible matrices, and their int8 codes in a converted file."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

INT8_QMAX = 127  # the largest code in absolute value, of every channel or table
_PARTS = ("embeddings/", "encoder/", "pooler/")
_TYPE_EMBEDDINGS = "embeddings/token_type_embeddings"


def is_compressible(name: str) -> bool:
    """Return whether the tensor of this canonical name is a large matrix.

    Vectors, the token type embeddings and the head's last kernel are not: they have few weights,
    on each of which the output depends.
    """
    matrix = name.endswith(("/kernel", "_embeddings"))
    return matrix and name.startswith(_PARTS) and name != _TYPE_EMBEDDINGS


def channel_axis(name: str) -> int | None:
    """Return the axis along which weights share a scale; None if the whole matrix has one."""
    return 0 if name.endswith("/kernel") else None  # a kernel is [inputs, outputs]


def folded_scale(name: str) -> str | None:
    """Return the name of the `gamma` that the converter folds into a kernel's rows, if any.

    It does so where the normalization and the product are in one stage model: (n * gamma + beta) @
    kernel becomes n @ (gamma * kernel) + beta @ kernel, even if n * gamma + beta has other uses.
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
    """Return the codes of a matrix in a file with dynamic-range quantization.

    Args:
        tensors: The tensors of a model, float32, by canonical name.
        name: The name of a kernel [inputs, outputs] or a table [rows, size].

    Returns:
        int8, of the same shape, in [-127, 127].
    """
    values, scale = tensors[name], folded_scale(name)
    if scale is not None:
        values = values * tensors[scale][:, None]
    largest = np.abs(values).max(axis=channel_axis(name), keepdims=True)
    scales = largest / np.float32(INT8_QMAX)
    # A scale below the normal numbers has too few bits, and may be 0: such weights count as zeros.
    scales = np.where(scales >= np.finfo(np.float32).tiny, scales, np.float32(1))
    codes: np.ndarray = np.round(values / scales).astype(np.int8)
    return codes


def describe_matrix(tensors: Mapping[str, np.ndarray], name: str) -> dict[str, float | int]:
    """Return the number of weights, the share of zeros, and the number of int8 codes."""
    values = tensors[name]
    return {
        "numbers": values.size,
        "sparsity": round(float((values == 0).mean()), 4),
        "int8_codes": len(np.unique(int8_codes(tensors, name))),
    }
