"""Summarization: sentences of the article in its order, and long articles in windows."""

from __future__ import annotations

import doctest
from collections.abc import Callable, Sequence
from itertools import pairwise
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_edge.errors import InputError
from albert_edge.pipelines import Pipeline, load, sentence_windows, summarization
from albert_edge.pipelines.classification import sigmoid
from albert_edge.pipelines.sentence_windows import join_sentences, split_into_windows
from albert_edge.pipelines.summarization import Summarization, centrality, min_max_scale, mmr_select
from albert_edge.tokenizer import tokenizer_from_files

ARTICLE = (
    "The mill by the river was built by a widow.  A storm took the roof!\n\n"
    "Nobody knows who built the bridge 🐦🐦 or why it fell. In the spring her naïve daughter came "
    "back. Who came back to the river? The miller took the road."
)
SENTENCES = [
    "the mill was built by a widow",
    "a storm took the roof",
    "nobody knows who built it",
    "who came back to the river",
]


@pytest.fixture(scope="module")
def summarize(pipe: Callable[..., Pipeline]) -> Pipeline:
    return pipe("summarization")


@pytest.fixture(scope="module")
def encoder(pipe: Callable[..., Pipeline]) -> Pipeline:
    inner = pipe("feature-extraction")
    return Summarization(inner.model, inner.tokenizer)


def scores_by_hand(pipe: Pipeline, sentences: Sequence[str]) -> list[float]:
    # In one window, by plain loops.
    tokenizer = pipe.text_tokenizer()
    ids, types, ends = [tokenizer.cls_id], [0], []
    for turn, sentence in enumerate(sentences):
        for token in [*tokenizer.tokenize(sentence).ids, tokenizer.sep_id]:
            ids.append(token)
            types.append(turn % 2)
        ends.append(len(ids))
    logits = pipe.model.run(ids, types)["sentence_logits"][0].astype(float)
    means = [logits[begin:end].mean() for begin, end in pairwise([1, *ends])]
    return [1 / (1 + np.exp(-mean)) for mean in means]


def test_bullets_are_the_best_sentences_in_their_order(pipe: Callable[..., Pipeline]) -> None:
    summarize = pipe("summarization", max_position_embeddings=128)
    scores = scores_by_hand(summarize, SENTENCES)
    text = " ".join(SENTENCES)
    for count in range(1, 6):
        found = summarize(SENTENCES, bullets=count, redundancy=0)
        best = sorted(np.argsort(scores)[::-1][:count].tolist())
        assert [bullet["text"] for bullet in found["bullets"]] == [SENTENCES[i] for i in best]
        got = [bullet["score"] for bullet in found["bullets"]]
        assert got == pytest.approx([scores[i] for i in best], rel=1e-6)
        assert all(text[b["start"] : b["end"]] == b["text"] for b in found["bullets"])
        assert (found["sentences"], found["truncated"]) == (4, False)


@pytest.mark.parametrize("kind", ["summarize", "encoder"])
def test_places_are_code_points_of_the_article(kind: str, request: pytest.FixtureRequest) -> None:
    found = request.getfixturevalue(kind)(ARTICLE, bullets=6)
    assert found["sentences"] == len(found["bullets"]) == 6
    edges = [edge for b in found["bullets"] for edge in (b["start"], b["end"])]
    assert edges == sorted(edges)
    for bullet in found["bullets"]:
        assert bullet["text"] == ARTICLE[bullet["start"] : bullet["end"]]
        assert bullet["text"].strip() == bullet["text"] != ""
        assert 0 <= bullet["score"] <= 1
    assert found["bullets"][2]["text"].startswith("Nobody knows who built the bridge 🐦🐦")


@settings(max_examples=200)
@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=40),
    room=st.integers(20, 60),
)
def test_every_sentence_is_new_in_one_window(lengths: list[int], room: int) -> None:
    found = list(split_into_windows([[0] * (length - 1) for length in lengths], room + 1))
    new = [i for window in found for i in range(window.first_new, window.stop)]
    assert new == list(range(len(lengths)))
    for window in found:
        assert window.start <= window.first_new < window.stop
        assert sum(lengths[window.start : window.stop]) <= room
        assert sum(lengths[window.start : window.first_new]) <= room // 2
    for before, after in pairwise(found):
        # No more sentences fit, and the new ones have earlier ones before them.
        assert sum(lengths[before.start : before.stop + 1]) > room
        roomy = lengths[after.first_new - 1] + lengths[after.first_new] <= room
        if roomy and lengths[after.first_new - 1] <= room // 2:
            assert after.start < after.first_new


def test_every_window_of_a_long_article_is_read(summarize: Pipeline) -> None:
    article = SENTENCES * 30
    found = summarize(article, bullets=120, redundancy=0)
    assert (found["sentences"], len(found["bullets"])) == (120, 120)
    assert found["truncated"] is False
    # By hand: each sentence's score is from the first window that contains it.
    tokenizer = summarize.text_tokenizer()
    ids = [tokenizer.tokenize(sentence).ids for sentence in article]
    scores = []
    for window in split_into_windows(ids, summarize.model.max_tokens):
        part = article[window.start : window.stop]
        scores += scores_by_hand(summarize, part)[window.first_new - window.start :]
    assert [b["score"] for b in found["bullets"]] == pytest.approx(scores, rel=1e-6)


@pytest.mark.parametrize("seq_len", [None, 24])
def test_a_sentence_that_is_too_long_is_truncated(
    pipe: Callable[..., Pipeline], seq_len: int | None
) -> None:
    for task in ("summarization", "feature-extraction"):
        inner = pipe(task, seq_len=seq_len)
        summarize = Summarization(inner.model, inner.tokenizer)
        long = "the river " * 100
        found = summarize(["a storm", long, "who fell"], bullets=3)
        assert (found["sentences"], found["truncated"]) == (3, True)
        assert found["bullets"][1]["text"] == long
        assert summarize(["a storm", "who fell"])["truncated"] is False


def test_layouts_and_lengths_agree(pipe: Callable[..., Pipeline]) -> None:
    want = pipe("summarization")(SENTENCES, bullets=4)
    for layout in ("unrolled", "split"):
        assert pipe("summarization", layout=layout)(SENTENCES, bullets=4) == want
    fixed = pipe("summarization", seq_len=40)(SENTENCES, bullets=4)
    got = [bullet["score"] for bullet in fixed["bullets"]]
    # Sums of 40 terms are rounded differently: a few float32 steps.
    assert got == pytest.approx([bullet["score"] for bullet in want["bullets"]], abs=1e-5)


def test_no_sentence_is_selected_twice(summarize: Pipeline, encoder: Pipeline) -> None:
    for pipe in (summarize, encoder):
        once = pipe(SENTENCES[:3], bullets=1, redundancy=0)["bullets"][0]["text"]
        again = [once, *SENTENCES[:3]]
        both = pipe(again, bullets=2, redundancy=0.9)["bullets"]
        assert len({bullet["text"] for bullet in both}) == 2


def test_redundancy_trades_relevance_for_difference() -> None:
    relevance = np.array([1.0, 0.9, 0.2, 0.0])
    similarity = np.array(
        [[1.0, 0.8, 0.1, 0.0], [0.8, 1.0, 0.1, 0.0], [0.1, 0.1, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    )
    row = similarity.__getitem__
    selected = [mmr_select(relevance, row, count=2, redundancy=r) for r in (0, 0.4, 0.6, 1)]
    assert selected == [[0, 1], [0, 1], [0, 2], [0, 3]]
    assert mmr_select(relevance, row, count=9, redundancy=0.5) == [0, 1, 2, 3]


def test_the_sentence_most_similar_to_the_others_is_central() -> None:
    # A common part, the topic, and a part of each sentence's own.
    common, topic, *own = np.random.default_rng(0).standard_normal((8, 64))
    weights = [0, 0, 2, 1, 1, 0]  # of the topic in each sentence
    vectors = np.stack([common + a * topic + n for a, n in zip(weights, own, strict=True)])
    scores, row = centrality(vectors)
    similarity = np.stack([row(index) for index in range(6)])
    assert np.diagonal(similarity).tolist() == [0] * 6
    assert (scores.argmax(), scores.min(), scores.max()) == (2, 0, 1)
    assert (similarity.max(), similarity.min()) == (1, 0)
    np.testing.assert_allclose(similarity, similarity.T, atol=1e-12)
    # Of two equal sentences, the earlier one has the greater centrality.
    scores, _ = centrality(vectors[[0, 1, 2, 2, 5]])
    assert scores.argmax() == 2
    assert min_max_scale(np.array([2.0, 2.0])).tolist() == [1, 1]


def test_ids_give_the_same_sentences_as_text(summarize: Pipeline) -> None:
    tokenizer = summarize.text_tokenizer()
    ids = [tokenizer.tokenize(sentence).ids for sentence in SENTENCES]
    joined = join_sentences(ids, tokenizer.cls_id, tokenizer.sep_id).input_ids
    want = summarize(SENTENCES, bullets=2)
    found = summarize(input_ids=joined, bullets=2)
    assert [b["score"] for b in found["bullets"]] == [b["score"] for b in want["bullets"]]
    for bullet, text in zip(found["bullets"], want["bullets"], strict=True):
        assert bullet["text"] == joined[bullet["start"] : bullet["end"]]
        assert bullet["text"] == ids[SENTENCES.index(text["text"])]


def test_an_encoder_summarizes_with_task_summarize(tiny_tflite: Callable[..., bytes]) -> None:
    blob = tiny_tflite("feature-extraction")
    assert "last_hidden_state" in load(blob)(input_ids=[2, 9, 3])
    found = load(blob, task="summarize")(input_ids=[2, 9, 8, 3, 7, 3, 9, 5, 3], bullets=1)
    assert len(found["bullets"]) == 1
    assert load(tiny_tflite("summarization"), task="summarize")(input_ids=[2, 9, 3])
    with pytest.raises(InputError, match="summarize takes a file for summarization or feature-ex"):
        load(tiny_tflite("classification"), task="summarize")
    with pytest.raises(InputError, match="task is 'sum'; choose from summarize"):
        load(blob, task="sum")


@pytest.mark.parametrize("module", [sentence_windows, summarization])
def test_examples(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert (results.failed, results.attempted > 0) == (0, True)


@settings(max_examples=60)
@given(text=st.text(max_size=60))
def test_any_text(summarize: Pipeline, text: str) -> None:
    try:
        found = summarize(text)
    except InputError as error:
        assert "the text is empty" in str(error)  # noqa: PT017 (any other text has a result)
        return
    assert all(b["text"] == text[b["start"] : b["end"]] for b in found["bullets"])


def test_scores_are_probabilities_of_logits(summarize: Pipeline) -> None:
    ids = [2, 9, 8, 3]
    logit = summarize.model.run(ids)["sentence_logits"][0, 1:].astype(float).mean()
    (bullet,) = summarize(input_ids=ids)["bullets"]
    assert bullet["score"] == pytest.approx(sigmoid(logit), rel=1e-6)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"text": " \n"}, "the text is empty"),
        ({"text": []}, "the text is empty"),
        ({"text": ["", " "]}, "the text is empty"),
        ({"text": ["a storm", 3]}, "must be a str, not int"),
        ({"input_ids": [2, 3]}, "the text is empty"),
        ({}, "give a text or input_ids"),
        ({"text": "a storm", "input_ids": [2, 9, 3]}, "give a text or input_ids"),
        ({"text": "a storm", "bullets": 0}, "bullets must be at least 1"),
        ({"text": "a storm", "redundancy": 1.5}, r"redundancy in \[0, 1\]"),
        ({"text": "a storm", "redundancy": float("nan")}, r"redundancy in \[0, 1\]"),
    ],
)
def test_invalid_inputs(summarize: Pipeline, inputs: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        summarize(**inputs)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_sentence_that_is_too_long_is_truncated_at_its_side(
    side: str, pipe: Callable[..., Pipeline]
) -> None:
    summarize = pipe("summarization")
    tokenizer = tokenizer_from_files(summarize.text_tokenizer().files())
    tokenizer.truncation_side = side
    text = "the mill by the river fell in a storm " * 500
    found = Summarization(summarize.model, tokenizer)(text)
    ids = tokenizer.tokenize(text).ids
    most = summarize.model.max_tokens - 2
    kept = ids[-most:] if side == "left" else ids[:most]
    want = summarize(input_ids=[tokenizer.cls_id, *kept, tokenizer.sep_id])
    assert (found["truncated"], want["truncated"]) == (True, False)
    assert found["bullets"][0]["score"] == want["bullets"][0]["score"]
