"""Texts for the embedded model, and how its outputs on a rig are compared with LiteRT's."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

# The rule of the early exit: patience, threshold, and the most layers.
RULES = ((99, 2.0, 99), (1, 2.0, 99), (99, 0.9, 99), (99, 2.0, 2))
SAME_ARITHMETIC = 1e-6  # other kernels sum in another order
SAME_WEIGHTS = 1e-5


def texts(length: int) -> list[dict[str, np.ndarray]]:
    """Random texts of a length, one for each of `RULES`."""
    drawn = np.random.default_rng(length)
    made = []
    for patience, threshold, most in RULES:
        ids = drawn.integers(5, 4000, (1, length), np.int32)
        made.append(
            {
                "input_ids": ids,
                "token_type_ids": (ids % 2).astype(np.int32),
                "patience": np.int32([patience]),
                "threshold": np.float32([threshold]),
                "max_layers": np.int32([most]),
            }
        )
    return made


@cache
def in_litert(path: Path, length: int) -> list[dict[str, np.ndarray]]:
    runner = Interpreter(str(path)).get_signature_runner()
    return [runner(**text) for text in texts(length)]


def errors(outputs, expected) -> float:
    """The root mean square of the logits' differences, over that of the expected logits."""
    ours, theirs = (np.stack([o["logits"] for o in each]) for each in (outputs, expected))
    return float(np.sqrt(np.mean((ours - theirs) ** 2) / np.mean(theirs**2)))


def check(outputs, path: Path, floats: Path, length: int, *, most: float) -> None:
    """Compare with LiteRT: of floats the numbers, of integers what they differ from the floats."""
    expected = in_litert(path, length)
    assert len(outputs) == len(expected)
    layers = [int(o["layers_used"][0]) for o in expected]
    assert [int(o["layers_used"][0]) for o in outputs] == layers
    ours, theirs = (np.stack([o["logits"] for o in each]) for each in (outputs, expected))
    assert (ours.argmax(-1) == theirs.argmax(-1)).all()
    if "int8" in path.name:
        right = in_litert(floats, length)
        assert errors(outputs, right) <= 2 * max(errors(expected, right), 1e-3)
    else:
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=most)
