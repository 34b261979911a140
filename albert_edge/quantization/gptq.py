"""Quantize a float32 weight to integers and scales: to the nearest code, or by GPTQ.

A weight is [out, in], as FULLY_CONNECTED stores it, or an embedding table, [V, E].  Codes
are symmetric and within ±(2^(bits-1) - 1): TFLite's plain 4-bit kernel miscomputes a code of -8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from albert_edge.errors import ConversionError

__all__ = ["TABLE_BLOCK", "block_size"]

Float32 = npt.NDArray[np.float32]
Floats = npt.NDArray[np.floating[Any]]
# Fractions of a group's range to try.  At 4 bits the best is mostly between 0.7 and 1.
_RATIOS = np.linspace(1.0, 0.5, 26, dtype=np.float32)
# Rows whose scales are searched at once: limits the temporaries to some MB.
_ROWS = 512
# Columns that are rounded one by one before one matrix product applies their errors to the rest.
_PANEL = 128
# TFLite stores the scales of blocks as float16, XNNPACK keeps them as bfloat16, with 8 significant
# bits.  With scales that both represent exactly, all kernels compute the same.  From this scale up,
# float16 has the 8 bits.
_LEAST_SCALE = np.float32(2.0**-17)
# Rows of a table have no Hessian to be rounded by: more scales instead.
TABLE_BLOCK = 32
_LEAST_BLOCK = 32  # the shortest that XNNPACK supports


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedWeight:
    """A weight as integers times scales.

    Attributes:
        codes: int8 [out, in], within ±(2^(bits-1) - 1).
        scales: float32, above 0: [out]; blockwise [out, in/block], exact in float16 and bfloat16.
    """

    codes: npt.NDArray[np.int8]
    scales: Float32

    def weight(self) -> Float32:
        """Dequantize to float32 [out, in]."""
        scales = self.scales.reshape(len(self.codes), -1)  # [out, groups]
        groups = self.codes.reshape(*scales.shape, -1) * scales[..., None]
        return groups.reshape(self.codes.shape)


def block_size(width: int, *, wanted: int) -> int | None:
    """Return how many neighbours in a row of int4 weights share a scale; None for the whole row."""
    sizes = (wanted, _LEAST_BLOCK) if wanted else ()
    return next((size for size in sizes if width % size == 0), None)


def quantize_weight(
    weight: Float32,
    *,
    bits: int,
    block: int | None = None,
    hessian: Floats | None = None,
    clip: bool = False,
    compensate: bool = True,
    damping: float = 0.01,
) -> QuantizedWeight:
    """Quantize a weight, with one scale a row or a block of a row.

    With a Hessian this is GPTQ (Frantar et al. 2022, arXiv:2210.17323): columns are rounded one
    after the other, those with the largest inputs first, each to compensate the errors of those
    before.  For a kernel that all passes share, one Hessian sums up the inputs of all of them.
    We differ in that scales are fixed beforehand, and that a factor of the Hessian itself takes the
    place of its inverse: rounding to w[k] + (sum over j < k of error[j] R[j, k]) / R[k, k], where
    H = R Rᵀ and R is upper triangular, picks the same codes.

    Args:
        weight: float32 [out, in].
        bits: 2 to 8.
        block: How many neighbours of a row share a scale, a divisor of `in` (FULLY_CONNECTED
            supports multiples of 32); the whole row if left out.
        hessian: float32 or float64 [in, in], the sum of x xᵀ over the product's inputs x.
        clip: Whether a scale may clip the largest weights where that reduces the squared error.
            The Hessian weights the errors by their inputs; without it, clipping costs more than
            it gains.
        compensate: Whether to use the Hessian for more than clipping.
        damping: The number to add to the Hessian's diagonal, as a fraction of its mean, above 0.

    Raises:
        ConversionError: A shape or an option is invalid, or a number is not finite.

    Example:
        >>> quantized = quantize_weight(np.array([[0.7, -0.2, 0.0]], np.float32), bits=4)
        >>> quantized.codes, quantized.scales
        (array([[ 7, -2,  0]], dtype=int8), array([0.1], dtype=float32))
    """
    _check(weight, bits, block, hessian, damping)
    width = weight.shape[1]
    importance = None if hessian is None else np.diag(hessian).astype(np.float32)
    scales = _scales(weight, bits, block, importance, _RATIOS if clip else _RATIOS[:1])
    every = np.repeat(scales, width // scales.shape[1], axis=1)  # [out, in]
    if hessian is None or not compensate:
        codes = _nearest(weight, every, bits)
    else:
        codes = _gptq_rows(weight, every, bits, hessian, damping)
    return QuantizedWeight(
        codes=codes.astype(np.int8), scales=scales[:, 0] if block is None else scales
    )


def _check(
    weight: Float32, bits: int, block: int | None, hessian: Floats | None, damping: float
) -> None:
    if weight.ndim != 2 or not weight.size or not np.isfinite(weight).all():
        raise ConversionError(
            f"expected a weight of finite numbers [out, in]; got one of shape {weight.shape}, or "
            "with infinities or NaN in it: check the checkpoint."
        )
    width = weight.shape[1]
    if not 2 <= bits <= 8:
        raise ConversionError(f"weights are stored in 2 to 8 bits, not {bits}.")
    if block is not None and (block < 1 or width % block):
        raise ConversionError(f"blocks of {block} do not divide rows of {width} weights.")
    if damping <= 0:
        raise ConversionError(f"expected a damping above 0, got {damping}.")
    if hessian is None:
        return
    if hessian.shape != (width, width):
        raise ConversionError(
            f"a weight of {width} inputs needs a Hessian [{width}, {width}], not "
            f"{list(hessian.shape)}."
        )
    if not np.isfinite(hessian).all() or not np.trace(hessian) > 0:
        raise ConversionError(
            "the calibrated activations are only zeros, or not finite: calibrate on other texts."
        )


def _scales(
    weight: Float32, bits: int, block: int | None, importance: Float32 | None, ratios: Float32
) -> Float32:
    """Return the scales, [out, groups], with the least error among `ratios` of the range."""
    parts = [
        _search(part, bits, block, importance, ratios)
        for part in np.split(weight, range(_ROWS, len(weight), _ROWS))
    ]
    return np.concatenate(parts)


def _search(
    weight: Float32, bits: int, block: int | None, importance: Float32 | None, ratios: Float32
) -> Float32:
    width = weight.shape[1]
    groups = weight.reshape(len(weight), -1, block or width)  # [out, groups, block]
    weighting = np.ones(width, np.float32) if importance is None else importance
    weighting = weighting.reshape(groups.shape[1:])
    full = np.abs(groups).max(axis=-1) / np.float32(_qmax(bits))
    scales = _storable(full, block)
    least = np.full(full.shape, np.inf, np.float32)
    for ratio in ratios:
        trial = _storable(full * ratio, block)
        rounded = _nearest(groups, trial[..., None], bits) * trial[..., None]
        error = np.einsum("ogb,gb->og", (groups - rounded) ** 2, weighting)
        scales = np.where(error < least, trial, scales)
        least = np.minimum(error, least)
    return scales


def _storable(scales: Float32, block: int | None) -> Float32:
    """Round scales to those that the file and the kernels represent exactly, above 0."""
    if block is None:
        return np.where(scales > 0, scales, np.float32(1))
    bits = np.maximum(scales, _LEAST_SCALE).view(np.uint32)
    # A bfloat16 is the upper half of a float32.
    upper: npt.NDArray[np.uint32] = (bits + np.uint32(0x8000)) & np.uint32(0xFFFF0000)
    return upper.view(np.float32)


def _qmax(bits: int) -> int:
    return int(2 ** (bits - 1) - 1)


def _nearest(values: Float32, scales: Float32, bits: int) -> Float32:
    return np.clip(np.round(values / scales), -_qmax(bits), _qmax(bits))


def _gptq_rows(
    weight: Float32, scales: Float32, bits: int, hessian: Floats, damping: float
) -> Float32:
    order = np.argsort(-np.diag(hessian), kind="stable")
    factor = _factor(hessian[order][:, order], damping)
    wanted, scales = weight.T[order], scales.T[order]  # [in, out]: a column's errors are contiguous
    codes, errors = np.empty_like(wanted), np.empty_like(wanted)
    for start in range(0, len(order), _PANEL):
        panel = slice(start, start + _PANEL)
        carried = factor[:start, panel].T @ errors[:start]  # [panel, out]
        for index in range(start, min(start + _PANEL, len(order))):
            near = factor[start:index, index] @ errors[start:index]  # [out]
            target = wanted[index] + carried[index - start] + near
            codes[index] = _nearest(target, scales[index], bits)
            errors[index] = wanted[index] - codes[index] * scales[index]
    restored: Float32 = codes[np.argsort(order)].T
    return restored


def _factor(hessian: Floats, damping: float) -> Float32:
    """Return the upper triangular R, its diagonal made 1, of H + damping = R Rᵀ."""
    diagonal = np.diag_indices(len(hessian))
    hessian[diagonal] += damping * np.mean(hessian[diagonal])
    try:
        # The Cholesky factor of the matrix turned by 180 degrees is lower triangular.
        factor = np.linalg.cholesky(hessian[::-1, ::-1])[::-1, ::-1]
    except np.linalg.LinAlgError as error:
        raise ConversionError(
            "the Hessian is not positive definite: sum x xᵀ in float64, or raise the damping."
        ) from error
    return (factor / np.diag(factor)).astype(np.float32)
