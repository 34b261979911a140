"""`predict_all`: its predictions are those of the pipelines, on any number of workers."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from albert_edge.datasets.examples import read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import InputError
from albert_edge.evaluation.evaluate import evaluate
from albert_edge.evaluation.predict import predict_all
from albert_edge.pipelines import load
from evaluation.files import SQUAD_2, TABLE, TEXTS, Data, Model, figures


def test_accuracy_is_that_of_the_pipeline(model: Model, data: Data) -> None:
    path, table = model("classification"), data("d.tsv", TABLE)
    pipe = load(path)
    names = ("negative", "neutral", "positive")
    right = [pipe(text)["label"] == names[n % 3] for n, text in enumerate(TEXTS)]
    report = evaluate(path, table)
    row = report["models"][0]["metrics"]["accuracy"]
    assert row["value"] == pytest.approx(np.mean(right))
    assert row["method"] == "wilson"
    assert row["low"] < row["value"] < row["high"]
    assert (report["kind"], report["examples"]) == ("classification", len(TEXTS))
    assert report["models"][0]["truncated"] == 1  # of 40 tokens at most
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize(
    ("task", "name", "content", "options"),
    [
        ("classification", "d.tsv", TABLE, {"quantize": "int8"}),
        ("classification", "d.tsv", TABLE, {"problem_type": "multi_label_classification"}),
        (
            "classification",
            "d.tsv",
            "text\tlabel\n"
            + "".join(f"{text}\t{n},{-n},{n * n}\n" for n, text in enumerate(TEXTS)),
            {"problem_type": "regression"},
        ),
        ("question-answering", "d.json", json.dumps(SQUAD_2), {}),
        ("fill-mask", "d.txt", "\n".join(TEXTS[:3]), {}),
        ("token-classification", "d.conll", "the negative\nmill neutral\n\nfell positive\n", {}),
    ],
)
def test_metrics_do_not_depend_on_the_number_of_workers(
    model: Model, data: Data, task: str, name: str, content: str, options: dict[str, Any]
) -> None:
    path, source = model(task, **options), data(name, content)
    reports = [evaluate(path, source, options=EvaluateOptions(workers=n)) for n in (1, 3)]
    first, second = (report["models"][0]["metrics"] for report in reports)
    assert first == second
    assert all(row["value"] is not None for row in first.values())


def test_pseudo_perplexity_by_hand(model: Model, data: Data) -> None:
    path = model("fill-mask")
    pipe = load(path)
    ids = pipe.text_tokenizer().encode("the mill fell").input_ids
    probabilities = []
    for place in (1, 2, 3):
        hidden = [*ids[:place], pipe.text_tokenizer().mask_id, *ids[place + 1 :]]
        row = np.exp(pipe.model.run(hidden)["logits"][0, place].astype(float))
        probabilities.append(row[ids[place]] / row.sum())
    found = figures(evaluate(path, data("d.txt", "the mill\n".replace("\n", " fell\n"))))
    assert found["perplexity"] == pytest.approx(math.exp(-np.mean(np.log(probabilities))), rel=1e-5)


def test_a_word_has_the_label_of_its_first_token(model: Model, data: Data) -> None:
    path = model("token-classification")
    words = ["storms", "fell", ".", "mill", "the", "zzz"]
    source = data("d.conll", "".join(f"{word} neutral\n" for word in words))
    examples = read_examples(
        source, "token-classification", ("negative", "neutral", "positive"), EvaluateOptions()
    )
    (labels,) = predict_all(path, examples, workers=1).predictions
    assert labels == [word["label"] for word in load(path)(" ".join(words))["words"]]


def test_words_that_are_cut_off_are_outside(model: Model, data: Data) -> None:
    path = model("token-classification", labels=("O", "B-X"))
    source = data("d.conll", "mill B-X\n" * 60)
    report = evaluate(path, source)
    examples = read_examples(source, "token-classification", ("O", "B-X"), EvaluateOptions())
    answers = predict_all(path, examples, workers=1)
    assert answers.truncated == report["models"][0]["truncated"] == 1
    assert len(answers.predictions[0]) == 60
    assert answers.predictions[0][38:] == ["O"] * 22


def test_the_error_names_the_invalid_example(model: Model, data: Data) -> None:
    source = data("d.tsv", "text\tlabel\nthe mill\t0\n\u200b\t1\n")
    with pytest.raises(InputError, match=r"d\.tsv, line 3: the text is empty"):
        evaluate(model("classification"), source)


def test_progress_is_called_after_every_prediction(model: Model, data: Data) -> None:
    calls: list[tuple[int, int]] = []
    evaluate(model("classification"), data("d.tsv", TABLE), progress=lambda *at: calls.append(at))
    assert calls == [(n, 6) for n in range(1, 7)]
