"""The shape of a student, and options that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from albert_edge.config import AlbertConfig
from albert_edge.errors import TrainingError
from albert_edge.training.distillation.options import STUDENTS, StudentShape, Teaching
from training.distillation.samples import bert


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (STUDENTS["small"], (256, 6, 128, 4, 1024)),
        (STUDENTS["medium"], (512, 8, 128, 8, 2048)),
        (StudentShape(hidden_size=96, num_attention_heads=3), (96, 6, 96, 3, 384)),
        (StudentShape(hidden_size=32, intermediate_size=48), (32, 6, 32, 1, 48)),
    ],
)
def test_the_rest_follows_from_the_width(shape: StudentShape, expected: tuple[int, ...]) -> None:
    config = shape.of(bert().config)
    names = ("hidden_size", "num_hidden_layers", "embedding_size", "num_attention_heads")
    assert tuple(getattr(config, name) for name in (*names, "intermediate_size")) == expected
    assert (config.family, config.num_hidden_groups, config.inner_group_num) == ("albert", 1, 1)
    assert config.vocab_size == bert().config.vocab_size
    assert config.max_position_embeddings == 48


def test_heads_divide_the_width() -> None:
    with pytest.raises(TrainingError, match="size of 30 cannot be divided among 4 attention heads"):
        StudentShape(hidden_size=30, num_attention_heads=4).of(AlbertConfig())


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (StudentShape, {"hidden_size": 0}, "hidden_size must be at least 1, not 0"),
        (StudentShape, {"embedding_size": 0}, "embedding_size must be at least 1"),
        (Teaching, {"teacher_weight": 0.0}, r"teacher_weight must be in \(0, 1\], not 0.0"),
        (Teaching, {"temperature": float("nan")}, r"temperature must be in \(0, 100\], not nan"),
    ],
)
def test_an_option_that_cannot_be_is_named(kind: Any, values: Any, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        kind(**values)
