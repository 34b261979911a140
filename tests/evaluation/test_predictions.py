"""Files of predictions: written, read again, and checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import InputError
from albert_edge.evaluation.evaluate import evaluate
from albert_edge.pipelines import load
from evaluation.files import SQUAD_2, TABLE, Data, Model, figures


def test_squad_2_in_the_files_of_the_official_evaluator(
    model: Model, data: Data, tmp_path: Path
) -> None:
    path, source = model("question-answering"), data("d.json", json.dumps(SQUAD_2))
    saved = tmp_path / "answers.json"
    report = evaluate(path, source, save=saved)
    answers = json.loads(saved.read_text())
    odds = json.loads((tmp_path / "answers.null_odds.json").read_text())
    paragraph = SQUAD_2["data"][0]["paragraphs"][0]
    pipe = load(path)
    for question in paragraph["qas"]:
        given = {"question": question["question"], "context": paragraph["context"]}
        assert answers[question["id"]] == pipe(**given)["answer"]
        # At these odds the pipeline itself switches to no answer.
        for shift, empty in ((-1e-4, True), (1e-4, False)):
            threshold = odds[question["id"]] + shift
            answer = pipe(**given, allow_null=True, null_threshold=threshold)["answer"]
            assert (answer == "") == empty
    again = evaluate(saved, source)
    assert again["models"][0]["metrics"] == report["models"][0]["metrics"]
    assert again["models"][0]["thresholds"] == report["models"][0]["thresholds"]
    never = EvaluateOptions(null_threshold=-1e9)
    assert figures(evaluate(saved, source, options=never))["NoAns_exact"] == 1
    assert figures(evaluate(saved, source, options=never))["HasAns_f1"] == 0


def test_saved_predictions_score_the_same(model: Model, data: Data, tmp_path: Path) -> None:
    for task, name, content in (
        ("classification", "d.tsv", TABLE),
        ("fill-mask", "d.txt", "the mill\nfell"),
        ("token-classification", "d.conll", "the negative\nmill neutral\n"),
    ):
        source, saved = data(name, content), tmp_path / "saved.json"
        report = evaluate(model(task), source, save=saved, force=True)
        again = evaluate(saved, source)
        assert again["models"][0]["metrics"] == report["models"][0]["metrics"]
    assert evaluate(saved, source, against=model("token-classification"))["agreement"] == 1


def test_saved_summaries(data: Data) -> None:
    predictions = {"1": "the mills fell", "2": "a river"}
    saved = {"kind": "summarization", "labels": [], "predictions": predictions}
    path = data("s.json", json.dumps(saved))
    source = data("d.jsonl", '{"summary": "a mill fell"}\n{"summary": ["rivers", "a river"]}\n')
    assert figures(evaluate(path, source))["rouge1"] == pytest.approx((1 / 3 + 1) / 2)
    stemmed = EvaluateOptions(stem=True)
    assert figures(evaluate(path, source, options=stemmed))["rouge1"] == pytest.approx(5 / 6)


def test_unanswered_questions_are_wrong(data: Data) -> None:
    source = data("d.json", json.dumps(SQUAD_2))
    report = evaluate(data("p.json", '{"a": "The mill!", "b": ""}'), source)
    assert figures(report)["exact"] == pytest.approx(2 / 3)
    assert report["models"][0]["unanswered"] == 1
    assert report["models"][0]["thresholds"] is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "no prediction for 3 of 3 examples"),
        ('{"x": 1}', "is not a file of predictions: expected the text of an answer under 'x'"),
        ('{"x": "a", "x": "b"}', "the key 'x' occurs twice"),
        ("[]", "expected a JSON object"),
        ('{"kind": "poetry", "labels": [], "predictions": {}}', "unknown kind 'poetry'; known are"),
        ('{"kind": "classification", "labels": "a", "predictions": {}}', "labels must be a list"),
        (
            '{"kind": "classification", "labels": ["a"], "predictions": {"1": "b"}}',
            "the prediction of example '1' is invalid for classification: 'b'",
        ),
        (
            '{"kind": "classification", "labels": ["neutral"], "predictions": {"1": "neutral"}}',
            "no prediction for 5 of 6 examples, such as '2'",
        ),
        (
            '{"kind": "regression", "labels": ["x"], "predictions": {"1": ["a"]}}',
            "is invalid for regression",
        ),
        (
            '{"kind": "regression", "labels": ["x"], "predictions": {"1": [1' + "0" * 400 + "]}}",
            "is invalid for regression",
        ),
        (
            '{"kind": "regression", "labels": ["x"], "predictions": {"1": [1, 2]}}',
            "no prediction for 5 of 6",
        ),
        (
            '{"kind": "token-classification", "labels": ["x"], "predictions": {"1": [["x"]]}}',
            "is invalid for token-classification",
        ),
        (
            '{"kind": "fill-mask", "labels": [], "predictions": {"1": {"hits": 0}}}',
            "is invalid for fill-mask",
        ),
    ],
)
def test_bad_predictions(data: Data, content: str, message: str) -> None:
    table = data("d.tsv", "text\tlabel\n" + "the mill\t0\n" * 6)
    source = table if "kind" in content else data("d.json", json.dumps(SQUAD_2))
    with pytest.raises(InputError, match=message):
        evaluate(data("p.json", content), source)


def test_predictions_of_other_lengths(data: Data) -> None:
    for kind, answer, name, content in (
        ("regression", [1, 2], "d.tsv", "text\tlabel\na\t1\n"),
        ("token-classification", ["x"], "d.conll", "the x\nmill x\n"),
    ):
        saved = {"kind": kind, "labels": ["x"], "predictions": {"1": answer}}
        with pytest.raises(InputError, match=r"p\.json has \d values for .*, which needs \d"):
            evaluate(data("p.json", json.dumps(saved)), data(name, content))
