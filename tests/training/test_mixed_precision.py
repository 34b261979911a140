"""Layers that are built within `mixed_precision` multiply in its type, and others do not."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf
import tf_keras

from albert_edge.training.mixed_precision import mixed_precision


def policy() -> str:
    return str(tf_keras.mixed_precision.global_policy().name)


def test_products_are_bfloat16_and_weights_float32() -> None:
    with mixed_precision("bfloat16"):
        mixed = tf_keras.layers.Dense(2)
    plain = tf_keras.layers.Dense(2)
    values = tf.ones([1, 3])
    assert (mixed(values).dtype, mixed.kernel.dtype) == (tf.bfloat16, tf.float32)
    assert plain(values).dtype == tf.float32


@pytest.mark.parametrize("option", ["off", "bfloat16", "auto"])
def test_what_was_set_before_is_set_again(option: str) -> None:
    before = policy()
    with pytest.raises(KeyboardInterrupt), mixed_precision(option):
        raise KeyboardInterrupt
    assert policy() == before


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ("flags : sse2 amx_bf16 avx", "mixed_bfloat16"),
        ("flags : avx512_bf16", "float32"),
        (None, "float32"),
    ],
)
def test_auto_asks_the_processor(
    flags: str | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_text(path: Path, encoding: str) -> str:
        assert str(path) == "/proc/cpuinfo"
        if flags is None:
            raise FileNotFoundError
        return flags

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: [])
    with mixed_precision("auto"):
        assert policy() == name
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: ["GPU:0"])
    with mixed_precision("auto"):
        assert policy() == "mixed_bfloat16"
