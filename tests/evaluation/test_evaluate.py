"""`evaluate` on tiny models: its metrics are those of the pipelines' results."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert_edge.datasets.examples import read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import BundleError, InputError, MissingExtraError, OutputError
from albert_edge.evaluation.evaluate import evaluate
from albert_edge.evaluation.predict import predict_all
from albert_edge.evaluation.rouge import rouge
from albert_edge.pipelines import load

Data = Callable[[str, str | bytes], Path]
Model = Callable[..., Path]

TEXTS = [
    "the mill fell .",
    "a storm took the road",
    "who fell ?",
    "the river took a mill , the road , the mill and the storms .",
    "river",
    "what took the mill " * 12,
]
TABLE = "text\tlabel\n" + "".join(f"{text}\t{n % 3}\n" for n, text in enumerate(TEXTS))
SQUAD_2 = {
    "version": "v2.0",
    "data": [
        {
            "paragraphs": [
                {
                    "context": "the storm took the mill , the river took the road .",
                    "qas": [
                        {"id": "a", "question": "what fell ?", "answers": [{"text": "mill"}]},
                        {"id": "b", "question": "who took it ?", "answers": []},
                        {"id": "c", "question": "who ?", "answers": [{"text": "The storm"}]},
                    ],
                }
            ]
        }
    ],
}


def _figures(report: dict[str, Any], at: int = 0) -> dict[str, float]:
    return {name: row["value"] for name, row in report["models"][at]["metrics"].items()}


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
    assert _figures(evaluate(saved, source, options=never))["NoAns_exact"] == 1
    assert _figures(evaluate(saved, source, options=never))["HasAns_f1"] == 0


def test_pseudo_perplexity_by_hand(model: Model, data: Data) -> None:
    path = model("fill-mask")
    pipe = load(path)
    ids = pipe.text_tokenizer().encode("the mill fell").input_ids
    probabilities = []
    for place in (1, 2, 3):
        hidden = [*ids[:place], pipe.text_tokenizer().mask_id, *ids[place + 1 :]]
        row = np.exp(pipe.model.run(hidden)["logits"][0, place].astype(float))
        probabilities.append(row[ids[place]] / row.sum())
    found = _figures(evaluate(path, data("d.txt", "the mill\n".replace("\n", " fell\n"))))
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


def test_the_other_heads(model: Model, data: Data, tmp_path: Path) -> None:
    pairs = data(
        "d.tsv", "text\ttext_pair\tlabel\nthe mill\tfell\t0\na storm\ta road\t1\nwho\ta\t1\n"
    )
    for task in ("sentence-order", "pretraining"):
        saved = tmp_path / f"{task}.json"
        assert evaluate(model(task), pairs, save=saved)["kind"] == "sentence-order"
        assert evaluate(model(task), pairs, against=saved)["agreement"] == 1
    features = model("feature-extraction")
    report = evaluate(features, pairs)
    pipe = load(features)
    cosines = [
        float(np.dot(*(pipe(text, pooling="mean", normalize=True)["embedding"] for text in pair)))
        for pair in (("the mill", "fell"), ("a storm", "a road"), ("who", "a"))
    ]
    assert list(_figures(report)) == ["spearman", "pearson"]
    assert _figures(report)["pearson"] == pytest.approx(np.corrcoef(cosines, [0, 1, 1])[0, 1])
    assert _figures(evaluate(model("pretraining"), data("d.txt", "the mill")))["perplexity"] > 1


def test_two_files_are_compared(model: Model, data: Data) -> None:
    table = data("d.tsv", TABLE)
    first, second = model("classification"), model("classification", "q.tflite", quantize="int8")
    same = evaluate(first, table, against=first)
    assert same["agreement"] == 1
    assert same["differences"]["accuracy"]["value"] == 0
    assert same["differences"]["accuracy"]["p_value"] == 1
    assert same["differences"]["macro_f1"]["p_value"] == 1
    report = evaluate(first, table, against=second)
    row = report["differences"]["accuracy"]
    assert row["test"] == "mcnemar"
    assert row["value"] == _figures(report, 1)["accuracy"] - _figures(report, 0)["accuracy"]
    assert report["differences"]["macro_f1"]["test"] == "bootstrap"


def test_a_better_file_scores_significantly_better(data: Data, tmp_path: Path) -> None:
    table = data("d.tsv", "text\tlabel\n" + "a\t0\nb\t1\n" * 30)
    rows = {str(n): "bad" if n % 2 else "good" for n in range(1, 61)}
    for name, wrong in (("a.json", range(1, 16)), ("b.json", range(15, 17))):
        flipped = {str(n): {"bad": "good", "good": "bad"}[rows[str(n)]] for n in wrong}
        saved = {"kind": "classification", "labels": ["bad", "good"], "predictions": rows | flipped}
        data(name, json.dumps(saved))
    report = evaluate(tmp_path / "a.json", table, against=tmp_path / "b.json")
    row = report["differences"]["accuracy"]
    assert row["value"] == pytest.approx(13 / 60)
    # Only the first is wrong on 14 examples, only the second on 1: (1 + 15) / 2^15, twice.
    assert row["p_value"] == 2 * 16 / 2**15
    assert 0 < row["low"] < row["value"] < row["high"]
    row = report["differences"]["f1"]
    assert 0 < row["low"] < row["value"] < row["high"]
    assert row["p_value"] < 0.01
    assert report["agreement"] == pytest.approx(45 / 60)
    assert report["models"][0]["duration_s"] is None


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
    assert _figures(evaluate(path, source))["rouge1"] == pytest.approx((1 / 3 + 1) / 2)
    stemmed = EvaluateOptions(stem=True)
    assert _figures(evaluate(path, source, options=stemmed))["rouge1"] == pytest.approx(5 / 6)


def test_summaries_of_a_file(model: Model, data: Data, tmp_path: Path) -> None:
    articles = [
        ["the mill fell .", "who took the road ?", "a storm took the river ."],
        ["a", "the"],
    ]
    summaries = [["a storm took a mill ."], ["a mill", "the river"]]
    rows = [{"source": a, "target": s} for a, s in zip(articles, summaries, strict=True)]
    source = data("d.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))
    saved = tmp_path / "saved.json"
    for task in ("summarization", "feature-extraction"):
        options = EvaluateOptions(bullets=1, task="summarize")
        report = evaluate(model(task), source, options=options, save=saved, force=True)
        pipe = load(model(task), task="summarize")
        summed = [pipe(article, bullets=1)["bullets"][0]["text"] for article in articles]
        assert json.loads(saved.read_text())["predictions"] == {"1": summed[0], "2": summed[1]}
        want = [rouge(*pair).rouge1 for pair in zip(summed, summaries, strict=True)]
        assert _figures(report)["rouge1"] == pytest.approx(np.mean(want))
        assert list(_figures(report)) == ["rouge1", "rouge2", "rougeL"]
        assert _figures(evaluate(saved, source)) == _figures(report)
    plain = evaluate(model("summarization"), source)
    assert (plain["kind"], plain["models"][0]["truncated"]) == ("summarization", 0)
    with pytest.raises(InputError, match="name its column text or source"):
        evaluate(model("summarization"), data("e.jsonl", '{"summary": "a mill"}'))
    with pytest.raises(InputError, match="summarize takes a file for summarization or feature"):
        evaluate(model("classification"), source, options=options)


def test_stems_need_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from albert_edge.evaluation.rouge import porter_stemmer

    monkeypatch.setitem(__import__("sys").modules, "nltk.stem.porter", None)
    with pytest.raises(MissingExtraError, match=r"albert_edge\[stem\]"):
        porter_stemmer()


def test_unanswered_questions_are_wrong(data: Data) -> None:
    source = data("d.json", json.dumps(SQUAD_2))
    report = evaluate(data("p.json", '{"a": "The mill!", "b": ""}'), source)
    assert _figures(report)["exact"] == pytest.approx(2 / 3)
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


def test_files_that_cannot_be_compared(model: Model, data: Data) -> None:
    table = data("d.tsv", TABLE)
    first = model("classification")
    with pytest.raises(InputError, match="is for question-answering; it cannot be compared"):
        evaluate(first, table, against=model("question-answering", "q.tflite"))
    other = model("classification", "o.tflite", labels=("negative", "neutral", "sad"))
    with pytest.raises(InputError, match="cannot be compared: one has the labels negative, "):
        evaluate(first, table, against=other)


def test_perplexities_of_different_tokens_are_not_compared(model: Model, data: Data) -> None:
    answer = {"log_probabilities": [-1.0], "hits": 0}
    saved = {"kind": "fill-mask", "labels": [], "predictions": {"1": answer}}
    with pytest.raises(InputError, match="split the texts into different tokens"):
        evaluate(
            model("fill-mask"), data("d.txt", "the mill"), against=data("p.json", json.dumps(saved))
        )


def test_numbers_are_compared_by_the_order_of_their_labels(data: Data) -> None:
    saved = {"kind": "regression", "predictions": {"1": [1, 2], "2": [2, 1]}}
    table = data("d.tsv", "text\tlabel\na\t1,2\nb\t2,1\n")
    first = data("a.json", json.dumps(saved | {"labels": ["x", "y"]}))
    second = data("b.json", json.dumps(saved | {"labels": ["y", "x"]}))
    with pytest.raises(InputError, match="one has the labels x, y, the other y, x"):
        evaluate(first, table, against=second)


def test_the_error_names_the_invalid_example(model: Model, data: Data) -> None:
    source = data("d.tsv", "text\tlabel\nthe mill\t0\n\u200b\t1\n")
    with pytest.raises(InputError, match=r"d\.tsv, line 3: the text is empty"):
        evaluate(model("classification"), source)


def test_bad_models_and_outputs(model: Model, data: Data, tmp_path: Path) -> None:
    table = data("d.tsv", TABLE)
    with pytest.raises(BundleError, match=r"is not a \.tflite file"):
        evaluate(table, table)
    with pytest.raises(InputError, match=r"must end in \.json"):
        evaluate(model("classification"), table, save=tmp_path / "a.txt")
    with pytest.raises(OutputError, match="exists; give --force"):
        evaluate(model("classification"), table, save=data("a.json", "{}"))


def test_progress_is_called_after_every_prediction(model: Model, data: Data) -> None:
    calls: list[tuple[int, int]] = []
    evaluate(model("classification"), data("d.tsv", TABLE), progress=lambda *at: calls.append(at))
    assert calls == [(n, 6) for n in range(1, 7)]


def test_the_scores_of_the_official_evaluator(data_folder: Path) -> None:
    """The scores equal those that SQuAD 1.1's own evaluator prints, to the last digit."""
    source = data_folder / "squad" / "dev-v1.1.from-explorer.json"
    for name, exact, f1 in (
        ("BERT__ensemble___Google_AI_Language_", 86.20624408703878, 92.19557978351129),
        ("albert-base_pohanchi_dev-v1.1_predictions", 78.27814569536424, 86.90508361514442),
        (
            "Logistic_Regression_Baseline__Stanford_University_",
            40.14191106906339,
            50.98153647324482,
        ),
    ):
        found = _figures(evaluate(data_folder / f"squad/predictions-v1.1/{name}.json", source))
        assert 100 * found["exact"] == pytest.approx(exact, rel=1e-12)
        assert 100 * found["f1"] == pytest.approx(f1, rel=1e-12)


def test_the_embedded_model(data_folder: Path) -> None:
    report = evaluate("default", data_folder / "sentiment" / "dev.tsv")
    # Its card says 77.4%; int8 kernels of other processors may turn a few of 1,471 sentences.
    assert _figures(report)["accuracy"] == pytest.approx(0.774, abs=0.005)
    assert report["models"][0]["truncated"] == 0
