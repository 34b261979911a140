"""Why the library runs files of any length without XNNPACK, which phones use by default."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from albert_edge import convert, load_keras
from rigs.gpu_delegate import ANDROID
from rigs.install import SHORT_JVM, call
from rigs.kotlin import KOTLIN, android_options, class_path

LENGTHS = (3, 24, 3, 7)


@pytest.fixture(scope="module")
def run(built_once):
    """A function that returns the logits of every length, or None where it is refused."""
    ANDROID.require()
    KOTLIN.require()

    def build(path: Path) -> None:
        convert(load_keras("default"), target="android", quantize="float32").save(path)

    file = built_once("embedded_android_float32.tflite", build)

    def run_lengths(xnnpack: str, lengths: tuple[int, ...] = LENGTHS) -> list[np.ndarray | None]:
        program = Path(__file__).with_name("Lengths.java")
        words = [program, file, xnnpack, *map(str, lengths)]
        printed = call("java", *SHORT_JVM, *android_options(), "-cp", class_path("android"), *words)
        return [
            None if line == "refused" else np.float32(line.split()) for line in printed.splitlines()
        ]

    return run_lengths


def test_without_xnnpack_every_length_gets_its_own_answer(run):
    alone = {length: run("off", (length,))[0] for length in sorted(set(LENGTHS))}
    for length, logits in zip(LENGTHS, run("off"), strict=True):
        np.testing.assert_allclose(logits, alone[length], rtol=0, atol=1e-6)


@pytest.mark.parametrize("xnnpack", ["default", "on"])
def test_with_xnnpack_a_second_length_is_refused_and_the_next_gets_an_earlier_answer(run, xnnpack):
    # As on phones.  If a newer runtime mends it, the library can leave XNNPACK on.
    right, (first, second, _, last) = run("off"), run(xnnpack)
    np.testing.assert_allclose(first, right[0], rtol=0, atol=1e-5)
    assert second is None
    np.testing.assert_allclose(last, first, rtol=0, atol=1e-5)
    assert np.abs(last - right[3]).max() > 0.01
