"""What a file is given on a rig, and how its outputs are compared with the CPU's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from .gpu_delegate import Result

# Makers of the GPUs of phones and tablets.
PHONES = ("adreno", "mali", "powervr", "intel")
# Other kernels sum up in another order: of the largest output, in float32 arithmetic.
ROUNDING = 1e-5
# A lookup of a row, and what makes floats of it, or of constants, which is done once.
LOOKUPS = {"GATHER", "CAST", "DEQUANTIZE"}

Arrays = dict[str, np.ndarray]


def make_inputs(
    path: Path, *, signature: str = "serving_default", vocab_size: int = 60, kinds: int = 2
) -> list[Arrays]:
    """Draw inputs of a file's length: full, half padding, and of two segments."""
    details = Interpreter(str(path)).get_signature_runner(signature).get_input_details()
    length = int(details["input_ids"]["shape"][1])
    drawn, at = np.random.default_rng(length), np.arange(length)[None]
    forms = (
        (at < length, at < 0),
        (at < length // 2, at < 0),
        (at < length * 3 // 4, (at >= length // 3) & (at < length * 3 // 4)),
    )
    return [
        {
            "input_ids": drawn.integers(0, vocab_size, (1, length), np.int32),
            "attention_mask": mask.astype(np.int32),
            "token_type_ids": types.astype(np.int32) % kinds,
        }
        for mask, types in forms
    ]


def run_on_cpu(
    content: bytes, every: Iterable[Arrays], *, signature: str = "serving_default"
) -> list[Arrays]:
    """Run inputs in LiteRT's interpreter."""
    runner = Interpreter(model_content=content).get_signature_runner(signature)
    return [runner(**one) for one in every]


def largest_error(outputs: list[Arrays], expected: list[Arrays]) -> float:
    """Return the largest difference of an output, over its largest value; of all inputs."""
    assert len(outputs) == len(expected)
    worst = []
    for ours, theirs in zip(outputs, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for name, right in theirs.items():
            assert ours[name].shape == right.shape
            assert np.isfinite(ours[name]).all()
            worst.append(float(np.abs(ours[name] - right).max() / np.abs(right).max()))
    return max(worst)


def check_delegation(result: Result, *, lengths: int = 1) -> None:
    """Check that all but the lookups ran on the GPU, in one part for each length of the file."""
    assert not result.error, result.log
    assert LOOKUPS.issuperset(result.left), result.left
    assert result.left.count("GATHER") == 4 * lengths
    assert result.delegated == result.nodes - len(result.left)
    assert result.partitions == lengths
    assert result.launched > 20
