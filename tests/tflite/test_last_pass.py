"""The last pass computes the row that a head of one token reads, and nothing else changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from albert_edge import convert
from albert_edge.bundle.bundle import model_bytes
from albert_edge.quantization.recipes import RECIPES
from albert_edge.runtime import open_model
from albert_edge.tflite import last_pass
from albert_edge.tflite.graph import OPERATOR_NAMES, builtin_code, parse

LENGTHS = (1, 2, 40, 7, 40)
WIDE = {"hidden_size": 64, "intermediate_size": 96, "embedding_size": 64}  # of blocks of int4


def body_operators(blob: bytes) -> Counter[str]:
    """Count the operators of the last loop's body."""
    model = parse(model_bytes(blob))
    return Counter(
        OPERATOR_NAMES[builtin_code(model, one)] for one in model.subgraphs[-1].operators
    )


def chooses_rows(blob: bytes) -> bool:
    """Return whether a loop's next pass may compute fewer rows."""
    graphs = parse(model_bytes(blob)).subgraphs
    return any(tensor.name.endswith(b"/next_rows") for graph in graphs for tensor in graph.tensors)


@pytest.mark.parametrize("quantize", RECIPES)
@pytest.mark.parametrize("task", ["classification", "sentence-order"])
def test_the_answers_are_those_of_whole_passes(
    tiny_albert: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    task: str,
    quantize: str,
) -> None:
    model = tiny_albert(task, **WIDE)
    chosen = convert(model, quantize=quantize).blob
    monkeypatch.setattr(last_pass, "reads_first_row", lambda head: False)
    whole = convert(model, quantize=quantize).blob
    assert chooses_rows(chosen)
    assert not chooses_rows(whole)
    assert body_operators(chosen)["FULLY_CONNECTED"] == body_operators(whole)["FULLY_CONNECTED"] + 2
    files = open_model(chosen), open_model(whole)
    for length in LENGTHS:
        ids = np.random.default_rng(length).integers(5, 60, length)
        one, other = (file.run(ids) for file in files)
        for name in other:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize(
    ("task", "how"),
    [
        ("question-answering", {}),
        ("fill-mask", {}),
        ("feature-extraction", {}),
        ("pretraining", {}),
        ("classification", {"num_hidden_layers": 1}),
        ("classification", {"inner_group_num": 2}),
        ("classification", {"early_exit": True}),
        ("classification", {"seq_len": 16}),
    ],
    ids=str,
)
def test_every_row_is_computed_where_one_is_not_enough(
    tiny_tflite: Callable[..., bytes], task: str, how: dict[str, Any]
) -> None:
    assert not chooses_rows(tiny_tflite(task, **how))


def test_older_runtimes_get_a_loop_of_one_shape(tiny_albert: Callable[..., Any]) -> None:
    blob = convert(tiny_albert("classification"), target="android").blob
    assert not chooses_rows(blob)


def test_only_the_last_group_chooses(tiny_tflite: Callable[..., bytes]) -> None:
    blob = tiny_tflite("classification", num_hidden_layers=5, num_hidden_groups=2)
    model = parse(model_bytes(blob))
    next_rows = [
        any(tensor.name.endswith(b"/next_rows") for tensor in graph.tensors)
        for graph in model.subgraphs
    ]
    assert next_rows == [False, False, False, False, True]  # a condition and a body each
