"""`evaluate` on tiny models: its metrics are those of the pipelines' results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import BundleError, InputError, OutputError
from albert_edge.evaluation.evaluate import evaluate
from albert_edge.evaluation.rouge import rouge
from albert_edge.pipelines import load
from evaluation.files import TABLE, Data, Model, figures


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
    assert list(figures(report)) == ["spearman", "pearson"]
    assert figures(report)["pearson"] == pytest.approx(np.corrcoef(cosines, [0, 1, 1])[0, 1])
    assert figures(evaluate(model("pretraining"), data("d.txt", "the mill")))["perplexity"] > 1


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
    assert row["value"] == figures(report, 1)["accuracy"] - figures(report, 0)["accuracy"]
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
        assert figures(report)["rouge1"] == pytest.approx(np.mean(want))
        assert list(figures(report)) == ["rouge1", "rouge2", "rougeL"]
        assert figures(evaluate(saved, source)) == figures(report)
    plain = evaluate(model("summarization"), source)
    assert (plain["kind"], plain["models"][0]["truncated"]) == ("summarization", 0)
    with pytest.raises(InputError, match="name its column text or source"):
        evaluate(model("summarization"), data("e.jsonl", '{"summary": "a mill"}'))
    with pytest.raises(InputError, match="summarize takes a file for summarization or feature"):
        evaluate(model("classification"), source, options=options)


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


def test_bad_models_and_outputs(model: Model, data: Data, tmp_path: Path) -> None:
    table = data("d.tsv", TABLE)
    with pytest.raises(BundleError, match=r"is not a \.tflite file"):
        evaluate(table, table)
    with pytest.raises(InputError, match=r"must end in \.json"):
        evaluate(model("classification"), table, save=tmp_path / "a.txt")
    with pytest.raises(OutputError, match="exists; give --force"):
        evaluate(model("classification"), table, save=data("a.json", "{}"))


def test_the_embedded_model(data_folder: Path) -> None:
    report = evaluate("default", data_folder / "sentiment" / "dev.tsv")
    # Its card says 77.4%; int8 kernels of other processors may turn a few of 1,471 sentences.
    assert figures(report)["accuracy"] == pytest.approx(0.774, abs=0.005)
    assert report["models"][0]["truncated"] == 0


def test_ids_may_repeat_where_no_prediction_is_saved(
    model: Model, data: Data, tmp_path: Path
) -> None:
    table = data("d.tsv", "id\ttext\tlabel\nx\tmill\t0\nx\triver\t1\n")
    assert evaluate(model("classification"), table)["examples"] == 2
    with pytest.raises(InputError, match="2 rows have the id 'x'; predictions are saved by id"):
        evaluate(model("classification"), table, save=tmp_path / "p.json")
    saved = {"kind": "classification", "labels": ["negative", "neutral", "positive"]}
    path = data("s.json", json.dumps({**saved, "predictions": {"x": "neutral"}}))
    with pytest.raises(InputError, match="2 rows have the id 'x'"):
        evaluate(path, table)
    entry = {"id": "q1", "question": "what fell ?", "answers": [{"text": "mill"}]}
    paragraphs = [{"context": "the mill fell .", "qas": [entry, entry]}]
    squad = data("d.json", json.dumps({"data": [{"paragraphs": paragraphs}]}))
    assert evaluate(model("question-answering"), squad)["examples"] == 2
    with pytest.raises(InputError, match="2 questions have the id 'q1'"):
        evaluate(model("question-answering"), squad, save=tmp_path / "p.json")


def test_what_cannot_be_used_is_skipped_on_request(
    model: Model, data: Data, tmp_path: Path
) -> None:
    # WordPiece gives no token for the third text, which has a character, and the fifth row has no
    # label.
    rows = "\nmill\t0\n\u200b\t1\n\ufffd\t1\nriver\t2\nstorm\t\n"
    table = data("d.tsv", "text\tlabel" + rows)
    path, saved = model("classification"), tmp_path / "p.json"
    with pytest.raises(InputError, match=r"line 3: the text is empty.* --skip-bad leaves such"):
        evaluate(path, table)
    options = EvaluateOptions(skip_bad=True)
    report = evaluate(path, table, options=options, save=saved)
    assert (report["examples"], report["skipped"]) == (2, 3)
    assert [text.partition("line ")[2][:1] for text in report["skipped_examples"]] == list("364")
    alone = evaluate(path, data("e.tsv", "text\tlabel\nmill\t0\nriver\t2\n"))
    assert report["models"][0]["metrics"] == alone["models"][0]["metrics"]
    assert list(json.loads(saved.read_text())["predictions"]) == ["1", "4"]
    # Saved predictions are scored on what they are for.
    again = evaluate(saved, table, options=options, against=path)
    assert (again["examples"], again["skipped"]) == (2, 3)
    assert again["agreement"] == 1
    with pytest.raises(InputError, match="no example can be used: 1 were skipped, the first"):
        evaluate(path, data("e.tsv", "text\tlabel\n\ufffd\t0\n"), options=options)
