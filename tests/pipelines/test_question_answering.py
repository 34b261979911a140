"""Question answering: the best span of the context, wherever its windows overlap."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.errors import InputError
from albert_edge.pipelines import Pipeline, load
from albert_edge.pipelines.question_answering import QuestionAnswering, plan_windows, score_spans

QUESTION = "who built the bridge"
CONTEXT = (
    "The mill by the river was built by a widow in the spring.  Nobody knows who built the bridge, "
    "or why it fell; a storm took the roof, and the miller took the road. In the autumn her "
    "daughter came back — with a wheel of oak, two crows 🐦🐦 and a naïve plan to mend it all."
)
SHORT = "the bridge fell in a storm"


@pytest.fixture(scope="module")
def qa(pipe: Callable[..., Pipeline]) -> Pipeline:
    return pipe("question-answering")


def best_by_hand(qa: Pipeline, *, longest: int, step: int) -> tuple[str, float]:
    # In plain loops over every window and span; the window with the most context counts.
    tokenizer = qa.text_tokenizer()
    question, context = tokenizer.tokenize(QUESTION).ids, tokenizer.tokenize(CONTEXT)
    room = qa.model.max_tokens - len(question) - 3
    head = [tokenizer.cls_id, *question, tokenizer.sep_id]
    spans: dict[tuple[int, int], tuple[int, float]] = {}
    begin, end = -step, 0
    while end < len(context.ids):
        begin += step
        end = min(begin + room, len(context.ids))
        ids = [*head, *context.ids[begin:end], tokenizer.sep_id]
        out = qa.model.run(ids, [0] * len(head) + [1] * (len(ids) - len(head)))
        starts, ends = (out[f"{side}_logits"][0, len(head) :] for side in ("start", "end"))
        for first in range(begin, end):
            for last in range(first, min(first + longest, end)):
                margin = min(first - begin, end - 1 - last)
                if margin > spans.get((first, last), (-1, 0.0))[0]:
                    spans[first, last] = margin, starts[first - begin] + ends[last - begin]
    answers = [
        (score, context.offsets[first][0], context.offsets[last][1])
        for (first, last), (_, score) in spans.items()
        if context.offsets[last][0] < context.offsets[last][1]
    ]
    score, start, end = max(answers)
    return CONTEXT[start:end], float(1 / sum(np.exp(float(s) - score) for s, _, _ in answers))


@pytest.mark.parametrize("longest", [1, 3, 8])
@pytest.mark.parametrize("stride", [0, 5, 12, 999])
def test_long_context_agrees_with_plain_loops(qa: Pipeline, longest: int, stride: int) -> None:
    found = qa(question=QUESTION, context=CONTEXT, max_answer_length=longest, stride=stride)
    assert found["windows"] > 5
    assert found["answer"] == CONTEXT[found["start"] : found["end"]] != ""
    room = qa.model.max_tokens - len(qa.text_tokenizer().tokenize(QUESTION).ids) - 3
    step = room - max(min(stride, room // 2), min(longest, room - 1))
    answer, score = best_by_hand(qa, longest=longest, step=step)
    assert found["answer"] == answer
    assert found["score"] == pytest.approx(score)


def test_answer_is_a_span_for_every_window_boundary(qa: Pipeline) -> None:
    # As the context shifts, every place of the answer is at a window boundary once.
    for words in range(12):
        context = "a storm " * words + CONTEXT
        found = qa(question=QUESTION, context=context, max_answer_length=8, top_k=5)
        for answer in found["answers"]:
            assert answer["answer"] == context[answer["start"] : answer["end"]]
            assert answer["answer"].strip() == answer["answer"] != ""


@pytest.mark.parametrize("layout", ["loop", "unrolled", "split"])
def test_layouts_and_lengths_agree(pipe: Callable[..., Pipeline], layout: str) -> None:
    inputs = {"question": "who", "context": SHORT, "max_answer_length": 4, "stride": 4}
    want = pipe("question-answering", layout="loop")(**inputs)
    assert pipe("question-answering", layout=layout)(**inputs) == want
    got = pipe("question-answering", layout=layout, seq_len=32)(**inputs)
    assert got["answer"] == want["answer"]
    assert got["score"] == pytest.approx(want["score"], abs=1e-4)


def test_top_k_answers_are_distinct_and_sorted(qa: Pipeline) -> None:
    found = qa(question=QUESTION, context=CONTEXT, top_k=20, max_answer_length=4)
    answers = found["answers"]
    assert len(answers) == len({(a["start"], a["end"]) for a in answers}) == 20
    scores = [a["score"] for a in answers]
    assert scores == sorted(scores, reverse=True)
    assert 0 < sum(scores) <= 1
    assert {name: found[name] for name in answers[0]} == answers[0]
    assert "answers" not in qa(question=QUESTION, context=CONTEXT)


def test_no_answer(qa: Pipeline) -> None:
    inputs = {"question": QUESTION, "context": SHORT, "max_answer_length": 5}
    plain = qa(**inputs)
    never = qa(**inputs, allow_null=True, null_threshold=1e9)
    assert never["answer"] == plain["answer"]
    assert never["null_score"] == plain["null_score"]
    assert never["score"] < plain["score"]  # no answer has some of the probability too
    always = qa(**inputs, allow_null=True, null_threshold=-1e9, top_k=2)
    assert (always["answer"], always["start"], always["end"]) == ("", 0, 0)
    assert [a["answer"] for a in always["answers"]] == ["", plain["answer"]]
    assert (
        always["score"]
        + sum(
            a["score"]
            for a in qa(**inputs, allow_null=True, null_threshold=1e9, top_k=999)["answers"]
        )
        <= 1 + 1e-12
    )


def test_null_score_is_the_least_over_windows(qa: Pipeline) -> None:
    stride = 8  # more than the longest answer, less than half the room: not adjusted
    found = qa(question=QUESTION, context=CONTEXT, max_answer_length=4, stride=stride)
    windows = qa.text_tokenizer().windows(
        QUESTION, CONTEXT, max_length=qa.model.max_tokens, stride=stride
    )
    runs = [qa.model.run(w.input_ids, w.token_type_ids) for w in windows]
    sums = [float(r["start_logits"][0, 0] + r["end_logits"][0, 0]) for r in runs]
    assert (found["windows"], found["null_score"]) == (len(sums), min(sums))
    assert min(sums) < max(sums)


def test_ids_give_the_same_answer_as_text(qa: Pipeline) -> None:
    encoding = qa.text_tokenizer().encode(QUESTION, SHORT)
    by_text = qa(question=QUESTION, context=SHORT)
    ids = {"input_ids": encoding.input_ids, "token_type_ids": encoding.token_type_ids}
    by_ids = qa(**ids, top_k=50)
    assert by_ids["null_score"] == by_text["null_score"]
    # An answer in ids may end in a zero-width token, one in text may not.
    words = [encoding.offsets[a["start"] : a["end"]] for a in by_ids["answers"]]
    ends = [spans[-1] for spans in words if spans[-1][0] < spans[-1][1]]
    assert ends[0][1] == by_text["end"]
    assert by_ids["answer"] == encoding.input_ids[by_ids["start"] : by_ids["end"]]
    assert (
        qa(input_ids=np.array(ids["input_ids"]), token_type_ids=ids["token_type_ids"], top_k=50)
        == by_ids
    )


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"question": "", "context": SHORT}, "first text is empty"),
        ({"question": QUESTION, "context": " \n"}, "second text is empty"),
        ({"question": QUESTION}, "give a question and a context, or input_ids"),
        ({"context": SHORT}, "give a question and a context, or input_ids"),
        ({}, "give a question and a context, or input_ids"),
        ({"question": QUESTION, "context": SHORT, "input_ids": [2]}, "or input_ids"),
        ({"question": QUESTION, "context": SHORT, "top_k": 0}, "at least 1"),
        ({"question": QUESTION, "context": SHORT, "max_answer_length": 0}, "at least 1"),
        ({"question": QUESTION, "context": SHORT, "stride": -1}, "stride at least 0"),
        ({"input_ids": [2, 5, 3]}, "as many token_type_ids"),
        ({"input_ids": [2, 5, 3], "token_type_ids": [0, 0, 0]}, "then 1 for the context"),
        ({"input_ids": [2, 5, 3], "token_type_ids": [0, 0, 1]}, "then 1 for the context"),
        ({"input_ids": [2, 5, 9, 3], "token_type_ids": [1, 0, 1, 1]}, "then 1 for the context"),
        ({"input_ids": [2, 99, 9], "token_type_ids": [0, 1, 1]}, r"in \[0, 60\)"),
    ],
)
def test_invalid_inputs(qa: Pipeline, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        qa(**inputs)


@pytest.mark.parametrize("context", ["🙂", "naïve 🙂🙂 café", "x", "ﬁn½", "\u200b river \u00a0"])
def test_odd_contexts(qa: Pipeline, context: str) -> None:
    found = qa(question="who?", context=context)
    assert found["answer"] == context[found["start"] : found["end"]] != ""


def test_no_tokenizer(tiny_tflite: Callable[..., bytes]) -> None:
    bare = load(tiny_tflite("question-answering"))
    assert isinstance(bare, QuestionAnswering)
    with pytest.raises(InputError, match=r"carries no tokenizer.*give input_ids"):
        bare(question=QUESTION, context=SHORT)
    found = bare(input_ids=[2, 9, 3, 7, 8, 3], token_type_ids=[0, 0, 0, 1, 1, 1])
    assert found["answer"] in ([7], [8], [7, 8])


def windows_of(count: int, room: int, shared: int) -> list[tuple[int, int]]:
    starts = range(0, max(count - shared, 1), room - shared)
    return [(start, min(start + room, count)) for start in starts]


def by_hand(
    windows: list[tuple[int, int]], starts: list[np.ndarray], ends: list[np.ndarray], longest: int
) -> dict[tuple[int, int], float]:
    # In plain loops: of the windows that contain a span, the one with the most context counts.
    best: dict[tuple[int, int], tuple[int, float]] = {}
    for (begin, end), start_logits, end_logits in zip(windows, starts, ends, strict=True):
        for first in range(begin, end):
            for last in range(first, min(first + longest, end)):
                context = min(first - begin, end - 1 - last)
                if context > best.get((first, last), (-1, 0.0))[0]:
                    score = start_logits[first - begin] + end_logits[last - begin]
                    best[first, last] = (context, score)
    return {span: score for span, (_, score) in best.items()}


@given(data=st.data())
def test_all_spans_agree_with_plain_loops(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 40), "tokens")
    room = data.draw(st.integers(1, 12), "room")
    longest = data.draw(st.integers(1, room), "longest")
    shared = data.draw(st.integers(longest - 1, room - 1), "shared")
    windows = windows_of(count, room, shared)
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    starts, ends = ([random.normal(size=b - a) for a, b in windows] for _ in range(2))
    step = room - shared
    parts = enumerate(score_spans(starts, ends, step=step, max_length=longest))
    placed = [(first + k * step, last + k * step, scores) for k, (first, last, scores) in parts]
    first, last, scores = (np.concatenate(column) for column in zip(*placed, strict=True))
    found = dict(zip(zip(first.tolist(), last.tolist(), strict=True), scores, strict=True))
    assert len(found) == len(first)  # each once
    assert found == by_hand(windows, starts, ends, longest)
    everything = {(a, b) for a in range(count) for b in range(a, min(a + longest, count))}
    assert found.keys() == everything


def test_a_max_length_beyond_the_context() -> None:
    ((first, last, scores),) = score_spans(
        [np.array([1.0, 2.0])], [np.array([10.0, 20.0])], step=1, max_length=10**9
    )
    assert list(zip(first, last, scores, strict=True)) == [(0, 0, 11.0), (0, 1, 21.0), (1, 1, 22.0)]


def test_a_question_that_leaves_no_room_is_cut(qa: Pipeline) -> None:
    tokenizer = qa.text_tokenizer()
    found = qa(question="who " * 40, context=SHORT)
    assert found["truncated"] is True
    assert found["answer"] in SHORT
    assert qa(question=QUESTION, context=SHORT)["truncated"] is False
    windows, _, cut = plan_windows(
        tokenizer, "who " * 40, SHORT, max_length=40, max_answer_length=30, stride=128
    )
    assert cut
    assert windows[0].token_type_ids.index(1) == 2 + (40 - 3) // 2
    # As run_squad cuts it, where there is more room.
    assert len(tokenizer.tokenize("who " * 30).ids) <= 60
    for words in (30, 200):
        windows, _, cut = plan_windows(
            tokenizer, "who " * words, SHORT, max_length=384, max_answer_length=30, stride=128
        )
        count = len(tokenizer.tokenize("who " * words).ids)
        assert cut == (count > 64)
        assert windows[0].token_type_ids.index(1) == 2 + min(count, 64)


def test_the_separator_of_ids_is_the_tokenizers(qa: Pipeline) -> None:
    """config.json may lack it, and its default is another token of a BERT vocabulary."""
    tokenizer = qa.text_tokenizer()
    encoding = tokenizer.encode(QUESTION, SHORT)
    ids = {"input_ids": encoding.input_ids, "token_type_ids": encoding.token_type_ids}
    other = dataclasses.replace(qa.model.bundle.config, eos_token_id=9)
    model = copy.copy(qa.model)
    model.bundle = dataclasses.replace(qa.model.bundle, config=other)
    mute = type(qa)(model, tokenizer)
    answers = mute(**ids, top_k=50)["answers"]
    assert answers == qa(**ids, top_k=50)["answers"]
    assert not any(tokenizer.sep_id in answer["answer"] for answer in answers)
    inside = [*encoding.input_ids, tokenizer.mask_id, tokenizer.sep_id]
    with pytest.raises(InputError, match="the context has a separator, 3, before its end"):
        qa(input_ids=inside, token_type_ids=[*encoding.token_type_ids, 1, 1])
