"""Parameters: those of the published checkpoints, and the paper's."""

from __future__ import annotations

import pytest

from albert_edge.checkpoints.init import count_parameters, count_unshared
from albert_edge.config import PRESETS, preset

# As torch counts them: sum(p.numel() for p in AlbertModel(config).parameters()).
TORCH = {"base": 11683584, "large": 17683968, "xlarge": 58724864, "xxlarge": 222595584}
# Lan et al. 2020, table 1, in millions.  base and large are what the shapes give, rounded.  For the
# two others the paper says more than the shapes it gives add up to, by 2% and by 5%.
PAPER = {"base": (12, 0.03), "large": (18, 0.03), "xlarge": (60, 0.03), "xxlarge": (235, 0.06)}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_published_counts(name: str) -> None:
    size = name.split("-")[1]
    count = count_parameters(preset(name))
    assert count == TORCH[size]
    millions, tolerance = PAPER[size]
    assert count / 1e6 == pytest.approx(millions, rel=tolerance)
    if size in ("base", "large"):
        assert round(count / 1e6) == millions


@pytest.mark.parametrize(("size", "millions"), [("base", 108), ("large", 334)])
def test_unshared_is_bert(size: str, millions: int) -> None:
    """The paper's BERTs have ALBERT's vocabulary, and it counts them without their poolers."""
    config = preset(f"albert-{size}-v2")
    pooler = config.hidden_size**2 + config.hidden_size
    assert round((count_unshared(config) - pooler) / 1e6) == millions


def test_unshared_is_transformers_bert_model() -> None:
    # sum(p.numel() for p in BertModel(BertConfig(vocab_size=30000)).parameters())
    assert count_unshared(preset("albert-base-v2")) == 109081344


def test_heads_count() -> None:
    config = preset("albert-base-v2")
    features = count_parameters(config)
    assert count_parameters(config, "classification") == features + 2 * 768 + 2
    pooler = 768 * 768 + 768
    assert count_parameters(config, "question-answering") == features - pooler + 2 * 768 + 2
