"""`albert_edge.benchmark.outputs`: encoding, and comparison."""

from __future__ import annotations

import base64
import hashlib
import io
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.benchmark.outputs import (
    compare_outputs,
    decode_outputs,
    digest,
    encode_outputs,
    worst,
)

RNG = np.random.default_rng(3)
WANT = [{"logits": RNG.normal(size=(1, 4)).astype(np.float32)} for _ in range(3)]


def test_small_outputs_come_back_as_they_were() -> None:
    outputs = {"a": RNG.normal(size=(1, 5, 7)).astype(np.float32), "b": np.arange(3)}
    back = decode_outputs(encode_outputs(outputs))
    assert back.keys() == outputs.keys()
    for name, values in outputs.items():
        np.testing.assert_array_equal(back[name], values)
        assert back[name].dtype == values.dtype


def test_of_large_outputs_the_same_values_are_kept_and_the_whole_is_hashed() -> None:
    one = RNG.normal(size=(1, 300, 300)).astype(np.float32)
    back = decode_outputs(encode_outputs({"a": one}))["a"]
    assert back.shape == (2**16,)
    assert np.isin(back, one).all()
    np.testing.assert_array_equal(decode_outputs(encode_outputs({"a": 2 * one}))["a"], 2 * back)
    assert digest({"a": one}) == {"a": hashlib.sha256(one.tobytes()).hexdigest()}


def test_equal_outputs_pass_any_limit() -> None:
    compared = compare_outputs(WANT, WANT, limit=0)
    assert compared["passed"]
    assert compared["agreement"] == 1.0
    logits = compared["outputs"]["logits"]
    assert (logits["error"], logits["max_difference"]) == (0, 0)
    assert logits["cosine"] == pytest.approx(1)


def test_an_error_is_a_share_of_the_reference() -> None:
    got = [{"logits": 1.1 * one["logits"]} for one in WANT]
    assert compare_outputs(got, WANT, limit=0.2)["outputs"]["logits"]["error"] == pytest.approx(0.1)
    assert compare_outputs(got, WANT, limit=0.2)["passed"]
    assert not compare_outputs(got, WANT, limit=0.09)["passed"]


def test_another_argmax_is_a_disagreement() -> None:
    got = [dict(one) for one in WANT]
    got[1] = {"logits": -WANT[1]["logits"]}
    assert compare_outputs(got, WANT, limit=9)["agreement"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_values_that_are_not_finite_never_pass(broken: float) -> None:
    got = [{"logits": np.where(one["logits"] > 0, broken, one["logits"])} for one in WANT]
    compared = compare_outputs(got, WANT, limit=1e9)
    assert not compared["passed"]
    assert compared["outputs"]["logits"] == {"error": None, "max_difference": None, "cosine": None}


def test_another_shape_never_passes() -> None:
    got = [{"logits": one["logits"][:, :3]} for one in WANT]
    assert not compare_outputs(got, WANT, limit=1e9)["passed"]


def test_a_row_of_one_value_has_no_argmax() -> None:
    values = [{"logits": np.ones((1, 1), np.float32)}]
    assert compare_outputs(values, values, limit=0)["agreement"] is None


def test_the_worse_of_two_is_kept_and_nothing_is_worse_than_no_number() -> None:
    good, bad, broken = (
        compare_outputs([{"logits": factor * WANT[0]["logits"]}], WANT[:1], limit=1)
        for factor in (1, 1.5, np.nan)
    )
    assert worst(good, bad) is bad
    assert worst(bad, good) is bad
    assert worst(bad, broken) is broken


def _archive(**arrays: Any) -> str:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize(
    "text",
    [
        *("", "!", "AAAA", "UEsDBA==", _archive(a=np.zeros(5))[:-8], "\udcff"),
        _archive(bomb=np.zeros(3_000_000)),
        _archive(text=np.array(["a"])),
        _archive(picked=np.array([{}], dtype=object)),
    ],
)
def test_outputs_that_are_damaged_or_too_large_are_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="output"):
        decode_outputs(text)


@given(st.binary(max_size=30), st.integers(0, 200))
def test_damaged_outputs_are_read_or_are_an_error(junk: bytes, at: int) -> None:
    content = base64.b64decode(_archive(a=np.zeros(5, np.float32)))
    damaged = content[:at] + junk + content[at + len(junk) :]
    with suppress(ValueError):
        decode_outputs(base64.b64encode(damaged).decode())
