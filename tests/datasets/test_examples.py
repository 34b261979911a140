"""Data files as examples, and the errors for invalid ones."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from albert_edge.datasets.examples import read_data_file
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import InputError
from datasets.files import QUESTION, Data, read, read_texts, squad, write


def test_labels_are_names_or_numbers(data: Data) -> None:
    path = data("d.tsv", "sentence\tlabel\na mill\tgood\na storm\t0\n")
    found = read(path, "classification", ("bad", "good"))
    assert found.inputs == [{"text": "a mill"}, {"text": "a storm"}]
    assert found.targets == ["good", "bad"]
    assert found.ids == ["1", "2"]
    assert found.places == [f"{path}, line 2", f"{path}, line 3"]


def test_pairs_and_columns_of_other_names(data: Data) -> None:
    path = data("d.csv", 'id,premise,hypothesis,gold\nx,"a, b",c,1\n')
    columns = {"text_column": "premise", "pair_column": "hypothesis", "label_column": "gold"}
    found = read(path, "classification", ("no", "yes"), **columns)
    assert found.inputs == [{"text": "a, b", "pair": "c"}]
    assert (found.ids, found.targets) == (["x"], ["yes"])


def test_json_lines_hold_lists_and_numbers(data: Data) -> None:
    rows = '{"text": "a\\u2028b", "label": ["x", 1]}\n\n{"text": "b", "label": []}\n'
    found = read(data("d.jsonl", rows), "multi-label", ("x", "y"))
    assert found.targets == [["x", "y"], []]
    assert found.places[1].endswith("line 3")
    rows = '{"text": "a", "text_pair": "b", "label": 2.5}\n'
    assert read(data("d.jsonl", rows), "similarity").targets == [2.5]
    assert read(data("d.jsonl", rows), "regression", ("stars",)).targets == [[2.5]]
    assert read(data("d.tsv", "text\tlabel\na\t1,2.5\n"), "regression", ("a", "b")).targets == [
        [1.0, 2.5]
    ]
    assert read(data("d.tsv", "text\tlabel\na\tx,y\nb\t\n"), "multi-label", ("x", "y")).targets == [
        ["x", "y"],
        [],
    ]


def test_pretraining_examples_with_labels_are_of_sentence_order(data: Data) -> None:
    path = data("d.tsv", "text\ttext_pair\tlabel\na\tb\tswapped\nb\ta\t0\n")
    found = read(path, "pretraining")
    assert (found.kind, found.targets) == ("sentence-order", ["swapped", "in order"])
    found = read(data("d.txt", "the mill\n\nfell\n"), "pretraining")
    assert (found.kind, found.inputs) == ("fill-mask", [{"text": "the mill"}, {"text": "fell"}])


def test_summaries(data: Data) -> None:
    rows = '{"summary": "a mill fell"}\n{"summary": ["a mill", "it fell"]}\n'
    found = read(data("d.jsonl", rows), "summarization")
    assert found.targets == [["a mill fell"], ["a mill", "it fell"]]
    assert found.inputs == [{"bullets": 3}] * 2
    rows = '{"source": ["a mill .", "it fell ."], "target": ["a"], "title": "b"}\n'
    found = read(data("e.jsonl", rows), "summarization", bullets=1)
    assert found.inputs == [{"text": ["a mill .", "it fell ."], "bullets": 1}]
    assert found.targets == [["a"]]
    found = read(data("e.tsv", "text\tsummary\na mill.\ta\n"), "summarization")
    assert (found.inputs, found.targets) == ([{"text": "a mill.", "bullets": 3}], [["a"]])


@pytest.mark.parametrize(
    ("name", "content", "kind", "message"),
    [
        ("d.tsv", "", "classification", "one column text or sentence; it has: nothing"),
        ("d.tsv", "text\tlabel\n", "classification", "has no examples"),
        ("d.tsv", "text\tstars\na\t1\n", "classification", "column label; it has: text, stars"),
        ("d.tsv", "text\tlabel\na\tso-so\n", "classification", "line 2: label 'so-so' is none of"),
        ("d.tsv", "text\tlabel\na\t2\n", "classification", "label '2' is none of bad, good"),
        ("d.tsv", f"text\tlabel\na\t{'9' * 5000}\n", "classification", "label '9999"),
        ("d.jsonl", f'{{"text": "a", "label": [0, 1{"0" * 400}]}}', "regression", "expected 2"),
        ("d.tsv", "text\tlabel\n \tbad\n", "classification", "line 2: the text is blank"),
        ("d.csv", b"text,label\n\xff,0\n", "classification", "line 2: not UTF-8"),
        ("d.jsonl", '{"text": "a", "label": 1}\n{"text', "classification", "line 2 is not JSON"),
        ("d.jsonl", '{"text": "a"}\n', "classification", "line 1 must name one column label"),
        ("d.jsonl", '["a", 1]\n', "classification", "line 1: expected a JSON object, got list"),
        ("d.jsonl", '{"text": null, "label": 1}\n', "classification", "line 1: the text is blank"),
        (
            "d.jsonl",
            '{"text": 3, "label": 1}\n',
            "classification",
            "must be text, not 3 of type int",
        ),
        ("d.parquet", b"PAR1", "classification", "cannot read .*d.parquet: Parquet file size is 4"),
        ("d.xlsx", b"PK", "classification", r"a table .*\.tsv, \.csv, \.jsonl"),
        ("d.json", squad(QUESTION), "classification", "classification is evaluated on a table"),
        ("d.tsv", "text\tlabel\na\t1,2,3\n", "regression", "expected 2 numbers .* '1,2,3'"),
        ("d.tsv", "text\tlabel\na\tnan\n", "regression", "line 2: expected 2 numbers"),
        ("d.tsv", "text\tlabel\na\t0\n", "sentence-order", "one column text_pair"),
        ("d.jsonl", '{"summary": []}\n', "summarization", "expected a summary"),
        ("d.jsonl", '{"summary": "a", "text": [" "]}', "summarization", "expected an article"),
        ("d.jsonl", '{"summary": "a", "source": [3]}', "summarization", "expected an article"),
        ("d.txt", " \n", "fill-mask", "holds no text"),
        ("d.conll", "\n\n", "token-classification", "has no words"),
        ("d.conll", "the O\nmill\n", "token-classification", "line 2: expected a word and its"),
        (
            "d.conll",
            "the bad\nmill B-Y\n",
            "token-classification",
            "line 2: label 'B-Y' is none of",
        ),
        ("d.json", squad(QUESTION), "token-classification", "CoNLL's form"),
        ("d.tsv", "text\tlabel\na\t0\n", "question-answering", "evaluated on SQuAD's JSON"),
        ("d.json", "", "question-answering", "d.json is not JSON"),
        ("d.json", "[1]", "question-answering", "expected a JSON object, got list"),
        ("d.json", '{"data": []}', "question-answering", "has no questions"),
        ("d.json", '{"rows": []}', "question-answering", "a list under 'data'.* it has: rows"),
        ("d.json", '{"data": [{}]}', "question-answering", "an article must have a list under"),
        ("d.json", '{"data": [3]}', "question-answering", "'paragraphs'.* it has: no keys"),
        ("d.json", squad({"id": "q"}), "question-answering", "question q must have"),
        ("d.json", squad({**QUESTION, "id": 7}), "question-answering", "text under 'id'"),
    ],
)
def test_errors_for_invalid_data(
    data: Data, name: str, content: str | bytes, kind: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(data(name, content), kind, ("bad", "good"))


def test_labels_that_are_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    rows = "".join(f"t\t{label}\n" for label in (10, 9, 2))
    assert read_texts(write(tmp_path, "text\tlabel\n" + rows)).labels == ("2", "9", "10")


def test_a_label_is_its_name_before_it_is_a_number(tmp_path: Path) -> None:
    path = write(tmp_path, "text\tlabel\na\t1\nb\t0\n")
    assert read_texts(path, ("1", "0")).class_indices().tolist() == [0, 1]


def test_names_the_unknown_label_and_the_known_ones(tmp_path: Path) -> None:
    path = write(tmp_path, "text\tlabel\na\t0\nb\tgood\n")
    with pytest.raises(InputError, match="line 3: label 'good' is none of bad, fine"):
        read_texts(path, ("bad", "fine"))


def _labels(path: Path, kind: str = "classification", **options: Any) -> tuple[str, ...]:
    return read_data_file(path, kind, EvaluateOptions(**options)).labels()


@pytest.mark.parametrize("missing", ["null", "NaN", '""', '" "', '"-"', "-1", "-1.0", '"nan"'])
def test_a_row_without_a_label_is_refused_or_skipped(data: Data, missing: str) -> None:
    rows = f'{{"text": "a", "label": 0}}\n{{"text": "b", "label": {missing}}}\n'
    path = data("d.jsonl", rows + '{"text": "c", "label": 1.0}\n{"text": "d", "label": 2}\n')
    assert _labels(path) == ("0", "1", "2")
    for labels in (("0", "1", "2"), ("entailment", "neutral", "contradiction")):
        with pytest.raises(InputError, match=r"line 2: the row has no label.* --skip-bad"):
            read(path, "classification", labels)
        found = read(path, "classification", labels, skip_bad=True)
        assert found.targets == list(labels)
        assert found.ids == ["1", "3", "4"]
        assert len(found.skipped) == 1
        assert "line 2: the row has no label" in found.skipped[0]


def test_minus_one_is_a_class_among_other_signs_or_where_it_is_named(data: Data) -> None:
    for others in ("1", "-2,0,2", "-3,-2,0"):
        rows = "".join(f"a\t{label}\n" for label in ["-1", *others.split(",")])
        labels = _labels(data("d.tsv", f"text\tlabel\n{rows}"))
        assert set(labels) == {"-1", *others.split(",")}
    path = data("d.tsv", "text\tlabel\na\t-1\nb\t0\nc\t1\n")
    assert _labels(path) == ("0", "1")
    assert read(path, "classification", ("-1", "0", "1")).targets == ["-1", "0", "1"]


def test_booleans_and_numbers_are_labels_by_their_value(data: Data) -> None:
    path = data("d.jsonl", '{"text": "a", "label": true}\n{"text": "b", "label": false}\n')
    assert _labels(path) == ("False", "True")
    assert read(path, "classification", ("False", "True")).targets == ["True", "False"]
    assert read(path, "classification", ("false", "true")).targets == ["true", "false"]
    path = data("d.jsonl", '{"text": "a", "label": 2.0}\n{"text": "b", "label": "2"}\n')
    assert _labels(path) == ("2",)


@pytest.mark.parametrize("label", ['{"a": 1}', "[1]", '["a"]', "Infinity", "\"['a']\""])
def test_what_is_no_label_is_never_a_class(data: Data, label: str) -> None:
    path = data("d.jsonl", f'{{"text": "a", "label": {label}}}\n{{"text": "b", "label": "x"}}\n')
    assert _labels(path) == ("x",)
    with pytest.raises(InputError, match=r"line 1: expected (a|one) label, got"):
        read(path, "classification", ("x", "y"))


def test_a_number_is_no_position_where_names_are_numbers(data: Data) -> None:
    path = data("d.tsv", "text\tlabel\na\t0\n")
    assert read(path, "classification", ("bad", "good")).targets == ["bad"]
    for labels in (("1", "2", "3", "4", "5"), ("2", "many"), ("-1", "1"), ("0.5", "1.5")):
        with pytest.raises(InputError, match="label '0' is none of"):
            read(path, "classification", labels)


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("joy,anger", ["joy", "anger"]),
        ("['joy', 'anger']", ["joy", "anger"]),
        ('["joy", "anger"]', ["joy", "anger"]),
        ("['joy' 'anger']", ["joy", "anger"]),
        ("('joy',)", ["joy"]),
        ("{'anger', 'joy'}", ["anger", "joy"]),
        ("[]", []),
        ("[0, 1]", ["joy", "anger"]),
        (r"['it\'s', 'a\xe9']", ["it's", "a\xe9"]),
        ("", []),
    ],
)
def test_a_list_of_labels_as_pandas_writes_it(data: Data, cell: str, labels: list[str]) -> None:
    content = io.StringIO(newline="")
    csv.writer(content).writerows([["text", "label"], ["a", cell]])
    path = data("d.csv", content.getvalue())
    assert read(path, "multi-label", ("joy", "anger", "it's", "a\xe9")).targets == [labels]
    if cell != "[0, 1]":
        assert set(_labels(path, "multi-label")) == set(labels)


def test_a_list_that_cannot_be_read_is_refused(data: Data) -> None:
    for cell in ("['joy', anger]", "[joy]", "['joy'"):
        with pytest.raises(InputError, match=r"line 2: expected a list such as \['a', 'b'\]"):
            read(data("d.tsv", f"text\tlabel\na\t{cell}\n"), "multi-label", ("joy", "anger"))


def test_a_decimal_comma_is_never_two_numbers(data: Data) -> None:
    path = data("d.tsv", "text\tlabel\na\t3,5\nb\t4,0\n")
    with pytest.raises(InputError, match="'3,5' may be one number with a decimal comma, or 2"):
        _labels(path, "regression")
    assert read(path, "regression", ("a", "b")).targets == [[3.0, 5.0], [4.0, 0.0]]
    with pytest.raises(InputError, match="line 2: expected a number, got '3,5'"):
        read(path, "regression", ("stars",))
    for cell in ("0.5,1.5", "[0.5, 1]", "[3 5]"):
        path = data("d.tsv", f"text\tlabel\na\t{cell}\n")
        assert _labels(path, "regression") == ("label_0", "label_1")
        assert len(read(path, "regression", ("a", "b")).targets[0]) == 2
    for cell in ("1_000", "", "nan", "three"):
        with pytest.raises(InputError, match="line 2: expected a number"):
            read(data("d.tsv", f"text\tlabel\na\t{cell}\n"), "regression", ("stars",))
    with pytest.raises(InputError, match="line 1: expected a number, got 'True'"):
        read(data("d.jsonl", '{"text": "a", "label": true}'), "regression", ("stars",))


def test_a_column_that_is_named_must_be_there(data: Data) -> None:
    path = data("d.tsv", "text\thypothesis\tlabel\na\tb\t0\n")
    for column in ("hypotesis", "text_pair"):
        with pytest.raises(InputError, match=f"must name one column {column}; it has: text, hypo"):
            read(path, "classification", ("x", "y"), pair_column=column)
    found = read(path, "classification", ("x", "y"), pair_column="hypothesis")
    assert found.inputs == [{"text": "a", "pair": "b"}]
    with pytest.raises(InputError, match="must name one column gold"):
        read(path, "fill-mask", label_column="gold")
    with pytest.raises(InputError, match="no named columns; leave out --text-column"):
        read(data("d.txt", "a\n"), "fill-mask", text_column="words")
    with pytest.raises(InputError, match="no named columns; leave out --label-column"):
        read(data("d.conll", "a O\n"), "token-classification", ("O",), label_column="tag")


@pytest.mark.parametrize("lacking", [0, 1, 2])
def test_a_json_line_without_the_second_text(data: Data, lacking: int) -> None:
    rows: list[dict[str, Any]] = [{"text": "a", "text_pair": "b", "label": 0} for _ in range(3)]
    del rows[lacking]["text_pair"]
    path = data("d.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))
    message = f"line {lacking + 1} has no text_pair; 2 other lines have"
    with pytest.raises(InputError, match=message):
        read(path, "classification", ("x", "y"))
    found = read(path, "classification", ("x", "y"), skip_bad=True)
    assert found.inputs == [{"text": "a", "pair": "b"}] * 2
    assert message in found.skipped[0]


def test_json_lines_in_a_file_of_another_name(data: Data) -> None:
    path = data("d.json", '{"text": "a", "label": 0}\n{"text": "b", "label": 1}\n')
    for kind in ("classification", "question-answering"):
        with pytest.raises(InputError, match=r"JSON lines.* name it \.jsonl"):
            read(path, kind, ("x", "y"))


def test_a_label_of_thousands_of_digits_is_one_label(data: Data) -> None:
    path = data("d.tsv", f"text\tlabel\na\t{'9' * 5000}\nb\t10\nc\t9\nd\tx\n")
    assert _labels(path) == ("9", "10", "9" * 5000, "x")
    with pytest.raises(InputError, match=r"label '9{60}\.\.\.' is none of no, yes") as caught:
        read(path, "classification", ("no", "yes"))
    assert len(str(caught.value)) < 400
    labels = tuple(f"intent_{at}" for at in range(5000))
    path = data("d.tsv", "text\tlabel\na\tintent_50000\n")
    with pytest.raises(InputError, match=r"none of intent_5000, .* \(5,001 in all\)") as caught:
        read(path, "classification", (*labels, "intent_5000"))
    assert len(str(caught.value)) < 600
