"""Methods and their options: which values are allowed."""

from __future__ import annotations

import pytest

from albert_edge.config import AlbertConfig
from albert_edge.errors import TrainingError
from albert_edge.quantization.recipes import RECIPES
from albert_edge.training.compression.methods import (
    METHODS,
    OPTIONS,
    TRAINABLE,
    Cluster,
    Narrow,
    Prune,
    Qat,
    default_options,
)


@pytest.mark.parametrize("sparsity", [0.0, 1.0, -0.5, float("nan")])
def test_impossible_sparsities(sparsity: float) -> None:
    with pytest.raises(TrainingError, match=r"sparsity must be in \(0, 1\)"):
        Prune(sparsity=sparsity)


def test_impossible_patterns() -> None:
    with pytest.raises(
        TrainingError, match="pattern must be one of unstructured, 2:4, block, not '4:2'"
    ):
        Prune(pattern="4:2")
    with pytest.raises(TrainingError, match=r"2:4 is a sparsity of 0.5, not 0.7"):
        Prune(pattern="2:4", sparsity=0.7)


@pytest.mark.parametrize("clusters", [1, 0, 256])
def test_impossible_numbers_of_clusters(clusters: int) -> None:
    with pytest.raises(TrainingError, match=rf"clusters must be in \[2, 255\], not {clusters}"):
        Cluster(clusters=clusters)


def test_impossible_centroids() -> None:
    message = r"centroids must be one of linear, density, kmeans\+\+, not 'random'"
    with pytest.raises(TrainingError, match=message):
        Cluster(centroids="random")


@pytest.mark.parametrize(
    ("heads", "ffn_channels", "sizes"),
    [("6", None, (6, 3072)), ("50%", "50%", (6, 1536)), ("12", "33.3%", (12, 1023))],
)
def test_sizes_are_numbers_or_percentages(
    heads: str, ffn_channels: str | None, sizes: tuple[int, int]
) -> None:
    assert Narrow(heads=heads, ffn_channels=ffn_channels).sizes(AlbertConfig()) == sizes


@pytest.mark.parametrize("text", ["half", "-1", "0x8", "1.5", "%", "", " 2", "٣"])
def test_impossible_sizes(text: str) -> None:
    with pytest.raises(TrainingError, match="heads must be a number such as 6, or a percentage"):
        Narrow(heads=text)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Narrow(heads="13"), "heads must be from 1 to the 12 that the model has, not 13"),
        (Narrow(heads="0"), "heads must be from 1 to the 12 that the model has, not 0"),
        (Narrow(heads="4%"), "heads of 4% must be from 1 to the 12 that the model has, not 0"),
        (Narrow(ffn_channels="101%"), "ffn_channels of 101% must be from 1 to the 3072"),
        (Narrow(heads="100%"), "12 heads and 3072 FFN channels, and all of them are kept; give"),
        (Narrow(), "all of them are kept"),
    ],
)
def test_sizes_that_a_model_does_not_have(method: Narrow, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        method.sizes(AlbertConfig())


def test_methods_are_found_by_their_names() -> None:
    assert {name: kind.name for name, kind in METHODS.items()} == {
        "prune": "prune",
        "cluster": "cluster",
        "qat": "qat",
        "narrow": "narrow",
    }
    assert set(TRAINABLE) <= set(RECIPES)
    assert {Prune.quantize, Cluster.quantize} <= set(RECIPES)


def test_impossible_recipes() -> None:
    for quantize in TRAINABLE:
        assert Qat(quantize=quantize).quantize == quantize
    with pytest.raises(TrainingError, match="quantize must be one of int8-full, int4, not 'int8'"):
        Qat(quantize="int8")


def test_rounding_is_trained_more_gently() -> None:
    assert default_options(Prune()) == default_options(Cluster) == OPTIONS
    gentle = default_options(Qat)
    assert gentle == default_options(Qat(quantize="int4"))
    assert gentle.learning_rate == pytest.approx(OPTIONS.learning_rate / 10)
    assert gentle.weight_decay == 0
    assert gentle.epochs == OPTIONS.epochs
