"""Feature extraction: hidden states, pooled embeddings, and invalid options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from albert_edge.conversion import convert
from albert_edge.errors import ConversionError, InputError
from albert_edge.modeling import Albert
from albert_edge.pipelines import Pipeline, load
from albert_edge.pipelines.feature_extraction import FeatureExtraction

TEXT = "nobody knows"


@pytest.mark.parametrize("seq_len", [None, 24])
def test_a_text(pipe: Callable[..., Pipeline], seq_len: int | None) -> None:
    embed = pipe("feature-extraction", seq_len=seq_len)
    found = embed(TEXT)
    tokenizer = embed.text_tokenizer()
    ids = tokenizer.encode(TEXT).input_ids
    assert found["tokens"] == [tokenizer.id_to_piece(token) for token in ids]
    assert found["tokens"][0] == "[CLS]"
    assert found["last_hidden_state"].shape == (len(ids), 32)
    assert found["pooler_output"].shape == (32,)
    np.testing.assert_array_equal(found["mean"], found["last_hidden_state"].mean(axis=0))
    assert found["truncated"] is False
    assert embed("river " * 99)["truncated"] is True


def test_pooled_embeddings(pipe: Callable[..., Pipeline]) -> None:
    embed = pipe("feature-extraction")
    found = embed(TEXT)
    assert "embedding" not in found
    wanted = {
        "mean": found["mean"],
        "cls": found["last_hidden_state"][0],
        "pooler": found["pooler_output"],
    }
    for pooling, vector in wanted.items():
        np.testing.assert_array_equal(embed(TEXT, pooling=pooling)["embedding"], vector)
        unit = embed(TEXT, pooling=pooling, normalize=True)["embedding"]
        assert unit.dtype == np.float32
        np.testing.assert_allclose(unit, vector / np.linalg.norm(vector), rtol=1e-6)
    with pytest.raises(InputError, match="choose from mean, cls, pooler"):
        embed(TEXT, pooling="max")
    with pytest.raises(InputError, match="normalize needs a pooling"):
        embed(TEXT, normalize=True)


def test_padding_is_not_in_the_mean(pipe: Callable[..., Pipeline]) -> None:
    free = pipe("feature-extraction")(TEXT)
    padded = pipe("feature-extraction", seq_len=24)(TEXT)
    # Sums of 24 terms round differently from sums of a few.
    np.testing.assert_allclose(padded["mean"], free["mean"], atol=2e-5)


def test_no_tokenizer_and_no_pooler(tiny_albert: Callable[..., Any]) -> None:
    config = tiny_albert("feature-extraction").config
    blob = convert(Albert(config, pooler=False), quantize="float32").blob
    embed = load(blob)
    assert isinstance(embed, FeatureExtraction)
    found = embed(input_ids=[2, 9, 3])
    assert found["tokens"] == [2, 9, 3]
    assert "pooler_output" not in found
    with pytest.raises(InputError, match="this model has no pooler; choose the pooling mean"):
        embed(input_ids=[2, 9, 3], pooling="pooler")
    with pytest.raises(InputError, match="carries no tokenizer"):
        embed(TEXT)


def test_a_file_for_libraries_has_one_vector(tiny_albert: Any) -> None:
    model = tiny_albert("feature-extraction")
    pipe = load(convert(model, target="mediapipe", quantize="float32").blob)
    usual = load(convert(model, quantize="float32").blob)
    ids = [2, 9, 3, 7, 3]
    found = pipe(input_ids=ids, pooling="mean", normalize=True)
    expected = usual(input_ids=ids, pooling="mean", normalize=True)
    np.testing.assert_allclose(found["embedding"], expected["embedding"], atol=1e-6)
    np.testing.assert_array_equal(found["embedding"], found["sentence_embedding"])
    with pytest.raises(InputError, match="--target mediapipe: its vectors are means"):
        pipe(input_ids=ids, pooling="cls")
    with pytest.raises(InputError, match="--target mediapipe and has no vector for each token"):
        load(convert(model, target="mediapipe").blob, task="summarize")


@pytest.mark.parametrize("layout", ["loop", "unrolled", "split"])
@pytest.mark.parametrize("quantize", ["float32", "int8"])
def test_a_file_may_pool_and_normalize(tiny_albert: Any, layout: str, quantize: str) -> None:
    model = tiny_albert("feature-extraction")
    made = convert(model, layout=layout, quantize=quantize, sentence_embedding=True)
    assert "sentence_embedding" in made.report["verification"]["outputs"]
    pipe = load(made.blob)
    for ids in ([2, 3], [2, 9, 3, 7, 3]):
        found = pipe(input_ids=ids, pooling="mean", normalize=True)
        np.testing.assert_array_equal(found["embedding"], found["sentence_embedding"])
        mean = found["last_hidden_state"].mean(axis=0)
        np.testing.assert_allclose(found["embedding"], mean / np.linalg.norm(mean), atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(found["embedding"]), 1, atol=1e-6)
        assert pipe(input_ids=ids, pooling="cls")["embedding"].shape == mean.shape


@pytest.mark.parametrize(
    ("task", "given", "message"),
    [
        ("classification", {}, "contradicts --task classification: only an encoder"),
        ("feature-extraction", {"seq_len": 8}, "needs --seq-len any"),
        ("feature-extraction", {"target": "gpu"}, "no --target that pads texts"),
        ("feature-extraction", {"target": "mediapipe"}, "mediapipe files return it"),
        ("feature-extraction", {"quantize": "int8-full"}, "contradicts --quantize int8-full"),
    ],
)
def test_where_a_file_cannot_pool(
    tiny_albert: Any, task: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(tiny_albert(task), sentence_embedding=True, **given)


def test_the_embedded_file_pools_and_normalizes() -> None:
    found = load("embeddings")(TEXT, pooling="mean", normalize=True)
    np.testing.assert_array_equal(found["embedding"], found["sentence_embedding"])
