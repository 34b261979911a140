"""The tests of the Android library's tasks beside Python's, on the same files and texts.

The library is as R8 leaves it, in a JVM with Android's own TFLite 2.16.1 and with 2.19 of the
desktop.  A file of tests names its cases in `NAMES`; a case is of one file, so that Python computes
its results once for both.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from albert_edge.errors import InputError
from albert_edge.pipelines import load
from android.jvm import RUNTIMES, open_jvm
from bench_process import BenchProcess
from pipelines.drawn_texts import drawn
from pipelines.ports import (
    Input,
    Result,
    a_long_text,
    a_question,
    a_text,
    a_text_or_two,
    an_article,
    call,
    difference,
    files_of_cases,
    masked_texts,
    masks_or_two_texts,
    place,
    two_texts,
)

TEXTS = 200  # of each task; of another kind of a task 50
# Other kernels sum in another order; scores are float32 here and float64 in Python.
FLOAT = 1e-5
# Kernels of int8 round differently, which decides between nearly equal labels or spans: in at most
# so many of the texts; an answer's score and an embedding differ by at most so much.
TIES = TEXTS // 50
INT8 = 0.03


def of_classification(result: Result, given: Input) -> Result:
    values = result.get("values", {})
    if "value" in result:
        values = {"score": result["value"]}
    labels = result.get("labels", [result["label"]] if "label" in result else [])
    return {
        "labels": labels,
        "scores": result.get("scores", {}),
        "values": values,
        "layers_used": result.get("layers_used"),
        "tokens": result["tokens"],
        "truncated": result["truncated"],
    }


def of_answers(result: Result, given: Input) -> Result:
    answers = result.get("answers", [{k: result[k] for k in ("answer", "start", "end", "score")}])
    return {
        "answers": [place(given["context"], answer) for answer in answers],
        **{key: result[key] for key in ("null_score", "windows", "truncated")},
    }


def of_words(result: Result, given: Input) -> Result:
    parts = {
        key: [place(given["text"], one) for one in result[key]] for key in ("words", "entities")
    }
    kept = {key: value for key, value in result.items() if key != "layers_used"}
    return kept | parts


def of_masks(result: Result, given: Input) -> Result:
    texts = given["text"], given.get("pair")
    masks = [
        place(texts[one.get("in_pair", False)], one) | {"in_pair": one.get("in_pair", False)}
        for one in result["masks"]
    ]
    return {"pair": None, **result, "masks": masks}


def of_order(result: Result, given: Input) -> Result:
    return result


def of_pretraining(result: Result, given: Input) -> Result:
    counts = {key: result[key] for key in ("tokens", "truncated")}
    kept = {key: result[key] for key in ("text", "pair", "masks") if key in result}
    return {
        "filled": of_masks(kept | counts, given) if kept else None,
        "order": result["order"] | counts if "order" in result else None,
        **counts,
    }


def of_vectors(result: Result, given: Input) -> Result:
    return {"pooler_output": None, **result}


def of_summary(result: Result, given: Input) -> Result:
    text = given.get("text") or " ".join(given["sentences"])
    return result | {"bullets": [place(text, bullet) for bullet in result["bullets"]]}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A task, its texts, and pairs of the library's options and Python's for the same."""

    name: str
    type: str
    draw: Callable[[Random], Input]
    expected: Callable[[Result, Input], Result]
    options: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = field(default=(({}, {}),))


EXITS: Any = (
    ({}, {}),
    ({"patience": 1}, {"patience": 1}),
    ({"exitThreshold": 0.9}, {"threshold": 0.9}),
    ({"exitThreshold": 0.6, "patience": 9}, {"threshold": 0.6, "patience": 9}),
    ({"maxLayers": 1}, {"max_layers": 1}),
)
NO_ANSWER: Any = (
    {"allowNoAnswer": True, "maxResults": 3, "noAnswerThreshold": -2.0},
    {"allow_null": True, "top_k": 3, "null_threshold": -2.0},
)
ANSWERS: Any = (
    ({}, {}),
    ({"maxResults": 5}, {"top_k": 5}),
    NO_ANSWER,
    ({"maxAnswerTokens": 3, "stride": 5}, {"max_answer_length": 3, "stride": 5}),
)
WORDS: Any = tuple(
    ({"aggregation": name.upper()}, {"aggregation": name, "entities": True})
    for name in ("first", "average", "max")
)
VECTORS: Any = (
    ({}, {"pooling": "mean"}),
    ({"pooling": "CLS", "normalize": True}, {"pooling": "cls", "normalize": True}),
)
POOLED: Any = (*VECTORS, ({"pooling": "POOLER"}, {"pooling": "pooler"}))
SUMMARIES: Any = (
    ({}, {}),
    ({"maxBullets": 1}, {"bullets": 1}),
    ({"maxBullets": 7, "redundancy": 0.75}, {"bullets": 7, "redundancy": 0.75}),
    ({"maxBullets": 999}, {"bullets": 999}),
)
CANDIDATES: Any = (({}, {}), ({"maxResults": 1}, {"top_k": 1}), ({"maxResults": 99}, {"top_k": 99}))

CASES = {
    case.name: case
    for case in (
        Case(
            name="classification",
            type="TextClassifier",
            draw=a_text,
            expected=of_classification,
            options=EXITS,
        ),
        Case(name="labels", type="TextClassifier", draw=a_text_or_two, expected=of_classification),
        Case(
            name="multi-label",
            type="TextClassifier",
            draw=a_text_or_two,
            expected=of_classification,
            options=(({}, {}), ({"scoreThreshold": 0.25}, {"threshold": 0.25})),
        ),
        Case(name="one-label", type="TextClassifier", draw=a_text, expected=of_classification),
        Case(name="regression", type="TextClassifier", draw=two_texts, expected=of_classification),
        Case(
            name="question-answering",
            type="QuestionAnswerer",
            draw=a_question,
            expected=of_answers,
            options=ANSWERS,
        ),
        Case(
            name="token-classification",
            type="TokenClassifier",
            draw=a_long_text,
            expected=of_words,
            options=WORDS,
        ),
        Case(name="exiting-answers", type="QuestionAnswerer", draw=a_question, expected=of_answers),
        Case(
            name="exiting-words",
            type="TokenClassifier",
            draw=a_long_text,
            expected=of_words,
            options=WORDS[:1],
        ),
        Case(
            name="fill-mask",
            type="MaskFiller",
            draw=masked_texts,
            expected=of_masks,
            options=CANDIDATES,
        ),
        Case(
            name="feature-extraction",
            type="TextEmbedder",
            draw=a_text_or_two,
            expected=of_vectors,
            options=VECTORS,
        ),
        Case(
            name="pooler",
            type="TextEmbedder",
            draw=a_text_or_two,
            expected=of_vectors,
            options=POOLED,
        ),
        Case(
            name="summarization",
            type="TextSummarizer",
            draw=an_article,
            expected=of_summary,
            options=SUMMARIES,
        ),
        Case(
            name="summarize",
            type="TextSummarizer",
            draw=an_article,
            expected=of_summary,
            options=SUMMARIES,
        ),
        Case(
            name="sentence-order",
            type="SentenceOrderClassifier",
            draw=two_texts,
            expected=of_order,
        ),
        Case(
            name="pretraining",
            type="PretrainingHeads",
            draw=masks_or_two_texts,
            expected=of_pretraining,
            options=CANDIDATES,
        ),
    )
}
# What is not one of the eight tasks, but another kind of its head or its file.
KINDS = (
    *("labels", "multi-label", "one-label", "regression", "pooler", "summarize"),
    *("exiting-answers", "exiting-words"),
)
TASKS = tuple(name for name in CASES if name not in KINDS)
assert len(TASKS) == 8


@pytest.fixture(scope="module")
def file_of(tiny_albert, built_once) -> Callable[..., Path]:
    return files_of_cases(tiny_albert, built_once)


@pytest.fixture(scope="module", params=RUNTIMES)
def jvm(request) -> Iterator[BenchProcess]:
    """The library in a JVM, with a runtime."""
    with open_jvm(request.param) as opened:
        yield opened


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for fixture, among in (("case", CASES), ("task", TASKS)):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, [name for name in metafunc.module.NAMES if name in among])


@cache
def in_python(name: str, path: Path) -> list[tuple[dict[str, Any], list[Input], list[Result]]]:
    """Run Python on a case's texts; return the library's options, the texts and the results."""
    case = CASES[name]
    pipe = load(path, task="summarize" if name == "summarize" else None)

    def run(given: Input, named: dict[str, Any]) -> Result:
        try:
            return case.expected(call(pipe, given, **named), given)
        except InputError as error:
            return {"error": str(error)}

    texts = TEXTS if name in TASKS else 50
    rows = []
    for index, (options, named) in enumerate(case.options):
        source = drawn((name, index))
        inputs = [case.draw(source) for _ in range(-(-texts // len(case.options)))]
        rows.append((options, inputs, [run(given, named) for given in inputs]))
    return rows


def run_both(jvm: BenchProcess, name: str, path: Path) -> Iterator[tuple[Input, Result, Result]]:
    """Run the library on a case's texts; yield text, result and Python's result."""
    for options, inputs, expected in in_python(name, path):
        handle = jvm.call("Tasks.open", path=str(path), type=CASES[name].type, options=options)
        found = jvm.call("Tasks.run", handle=handle, inputs=inputs)
        jvm.call("Models.close", handle=handle)
        jvm.call("Bench.drop", handle=handle)
        yield from zip(inputs, map(decoded, found), expected, strict=True)


def decoded(result: Result) -> Result:
    """Decode the vectors of an embedder, which are float32 in base64."""
    vectors = result.keys() & {"embedding", "mean", "pooler_output", "last_hidden_state"}
    for name in vectors:
        if result[name] is not None:
            values = np.frombuffer(base64.b64decode(result[name]), np.float32)
            rows = len(result["tokens"]) if name == "last_hidden_state" else 1
            result[name] = values.reshape(rows, -1) if rows > 1 else values
    return result


def test_a_float32_file_gives_the_results_of_python(jvm, file_of, case):
    for given, found, expected in run_both(jvm, case, file_of(case)):
        assert difference(found, expected) <= FLOAT, given


def decision(result: Result) -> Any:
    """Return what a result says, without its numbers and all but the best of several."""
    if "error" in result:
        return result
    if "filled" in result:
        return [part and decision(part) for part in (result["filled"], result["order"])]
    if "masks" in result:
        return [(one["start"], one["end"], one["candidates"][0]["id"]) for one in result["masks"]]
    if "answers" in result:
        return {k: result["answers"][0][k] for k in ("answer", "start", "end")}
    if "words" in result:
        parts = (*result["words"], *result["entities"])
        return [(one["text"], one["start"], one["end"], one["label"]) for one in parts]
    if "bullets" in result:
        return [(one["text"], one["start"], one["end"]) for one in result["bullets"]]
    kept = ("labels", "label", "layers_used", "tokens", "truncated")
    return {name: result[name] for name in kept if name in result}


def test_an_int8_file_gives_the_labels_and_spans_of_python(jvm, file_of, task):
    rows = list(run_both(jvm, task, file_of(task, quantize="int8")))
    different = [row for row in rows if decision(row[1]) != decision(row[2])]
    assert len(different) <= TIES, different
    for given, found, expected in different:
        if "answers" in expected:
            one, other = (result["answers"][0]["score"] for result in (found, expected))
            assert one == pytest.approx(other, rel=INT8), given
    for given, found, expected in rows:
        if "embedding" in expected:
            error = np.linalg.norm(found["embedding"] - expected["embedding"])
            assert error <= INT8 * np.linalg.norm(expected["embedding"]), given


def test_suspending_functions_and_threads_give_the_same_results(jvm, file_of, task):
    source = drawn((task, "at once"))
    inputs = [CASES[task].draw(source) for _ in range(8)]  # of which eight threads run one each
    handle = jvm.call("Tasks.openDefault", path=str(file_of(task)))
    alone = jvm.call("Tasks.run", handle=handle, inputs=inputs)
    assert jvm.call("Tasks.runSuspending", handle=handle, inputs=inputs) == alone
    assert jvm.call("Tasks.runAtOnce", handle=handle, inputs=inputs) == alone
    jvm.call("Models.close", handle=handle)
