"""Rounding to integers: bounds, GPTQ against its textbook form, the gain of each part."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.errors import ConversionError
from albert_edge.quantization import gptq
from albert_edge.quantization.gptq import quantize_weight


def _weight(out: int = 24, width: int = 192) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.05, (out, width)).astype(np.float32)


def _inputs(width: int = 192, rows: int = 2000) -> np.ndarray:
    """Inputs like a transformer's: related to each other, a few far larger than the rest."""
    rng = np.random.default_rng(2)
    mixed = rng.normal(size=(rows, width // 4)) @ rng.normal(size=(width // 4, width))
    size = np.where(rng.random(width) < 0.05, 20.0, 1.0)
    return (mixed + 3 * rng.normal(size=(rows, width))) * size


def _error(weight: np.ndarray, inputs: np.ndarray, **options: object) -> float:
    """The product's relative error."""
    rounded = quantize_weight(weight, **options).weight()  # type: ignore[arg-type]
    return float(np.linalg.norm(inputs @ (weight - rounded).T) / np.linalg.norm(inputs @ weight.T))


def _textbook(
    weight: np.ndarray, scales: np.ndarray, hessian: np.ndarray, damping: float
) -> np.ndarray:
    """Algorithm 1 of arXiv:2210.17323, column by column through the inverse Hessian."""
    order = np.argsort(-np.diag(hessian), kind="stable")
    left, scales = weight[:, order].astype(np.float64), scales[:, order]
    hessian = hessian[np.ix_(order, order)] + damping * np.mean(np.diag(hessian)) * np.eye(
        len(order)
    )
    upper = np.linalg.cholesky(np.linalg.inv(hessian)).T
    codes = np.zeros_like(left)
    for k in range(len(order)):
        codes[:, k] = np.clip(np.round(left[:, k] / scales[:, k]), -7, 7)
        error = (left[:, k] - codes[:, k] * scales[:, k]) / upper[k, k]
        left[:, k:] -= error[:, None] * upper[k, k:]
    return codes[:, np.argsort(order)]


def test_example() -> None:
    tests = doctest.testmod(gptq)
    assert tests.attempted
    assert not tests.failed


@pytest.mark.parametrize("block", [None, 32])
def test_gptq_is_that_of_the_paper(block: int | None) -> None:
    # 192 columns: the errors also cross from one panel into the next.
    weight, inputs = _weight(), _inputs()
    hessian = inputs.T @ inputs
    ours = quantize_weight(weight, bits=4, block=block, hessian=hessian)
    scales = np.repeat(ours.scales.reshape(24, -1), block or 192, axis=1)
    theirs = _textbook(weight, scales, hessian, 0.01)
    # We keep errors in float32: a value between two codes may be rounded to the other one, which
    # changes the rest of its row.
    assert (ours.codes == theirs).mean() > 0.995


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("block", [None, 32])
def test_nearest_is_within_half_a_step(bits: int, block: int | None) -> None:
    weight = _weight()
    rounded = quantize_weight(weight, bits=bits, block=block)
    assert rounded.codes.dtype == np.int8
    assert rounded.scales.shape == ((24,) if block is None else (24, 192 // 32))
    scale = np.repeat(rounded.scales.reshape(24, -1), block or 192, axis=1)
    # A block's scale is rounded to 8 bits: its largest weight may lie up to 2^-8 of it further off.
    slack = 0 if block is None else np.abs(weight) / 256
    assert (np.abs(weight - rounded.weight()) <= scale * 0.5001 + slack).all()


@given(st.integers(-16, 4), st.integers(0, 2**32 - 1), st.booleans())
def test_what_is_stored_is_what_the_kernels_use(exponent: int, seed: int, compensate: bool) -> None:
    rng = np.random.default_rng(seed)
    weight = (rng.normal(size=(3, 64)) * 2.0**exponent).astype(np.float32)
    weight[0], weight[1, :32] = 0, 0  # nothing to scale by
    hessian = np.eye(64) if compensate else None
    rounded = quantize_weight(weight, bits=4, block=32, hessian=hessian, clip=True)
    assert (rounded.scales > 0).all()
    assert (np.abs(rounded.codes) <= 7).all()
    assert not rounded.codes[0].any()
    assert (rounded.scales.astype(np.float16).astype(np.float32) == rounded.scales).all()
    # bfloat16 is the upper half of a float32.
    assert not (rounded.scales.view(np.uint32) & 0xFFFF).any()


def test_a_row_of_zeros_has_a_scale() -> None:
    rounded = quantize_weight(np.zeros((2, 32), np.float32), bits=4, clip=True)
    assert (rounded.scales > 0).all()
    assert not rounded.codes.any()


def test_each_part_gains_on_inputs_not_seen() -> None:
    weight, inputs = _weight(), _inputs()
    seen, unseen = inputs[:1500], inputs[1500:]
    hessian = seen.T @ seen
    nearest = _error(weight, unseen, bits=4)
    clipped = _error(weight, unseen, bits=4, hessian=hessian, clip=True, compensate=False)
    compensated = _error(weight, unseen, bits=4, hessian=hessian)
    both = _error(weight, unseen, bits=4, hessian=hessian, clip=True)
    blocks = _error(weight, unseen, bits=4, hessian=hessian, clip=True, block=32)
    assert clipped < nearest
    assert both < compensated < nearest
    assert blocks < both < clipped


def test_a_float32_hessian_serves_as_well() -> None:
    weight, inputs = _weight(), _inputs()
    hessian = inputs.T @ inputs
    double = _error(weight, inputs, bits=4, hessian=hessian)
    single = _error(weight, inputs, bits=4, hessian=hessian.astype(np.float32))
    assert single == pytest.approx(double, rel=0.02)  # a few codes fall to the other side


def test_arguments_are_left_as_they_were() -> None:
    weight, hessian = _weight(), np.diag(np.arange(192.0))
    before = weight.copy(), hessian.copy()
    quantize_weight(weight, bits=4, hessian=hessian, clip=True)
    assert (weight == before[0]).all()
    assert (hessian == before[1]).all()


@pytest.mark.parametrize(
    ("weight", "options", "message"),
    [
        (np.full((2, 4), np.nan, np.float32), {}, "finite"),
        (np.zeros(4, np.float32), {}, r"shape \(4,\)"),
        (np.zeros((0, 4), np.float32), {}, r"shape \(0, 4\)"),
        (_weight(), {"bits": 1}, "2 to 8 bits, not 1"),
        (_weight(), {"block": 36}, "blocks of 36 do not divide rows of 192"),
        (_weight(), {"block": 0}, "blocks of 0"),
        (_weight(), {"damping": 0.0}, "damping above 0"),
        (_weight(), {"hessian": np.eye(4)}, r"needs a Hessian \[192, 192\], not \[4, 4\]"),
        (_weight(), {"hessian": np.zeros((192, 192))}, "only zeros"),
        (_weight(), {"hessian": np.full((192, 192), np.inf)}, "not finite"),
        (_weight(), {"hessian": 5 - 4 * np.eye(192)}, "not positive definite"),
    ],
)
def test_bad_input_is_refused(weight: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        quantize_weight(weight, **{"bits": 4, **options})
