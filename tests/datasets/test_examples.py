"""Data files as examples, and the errors for invalid ones."""

from __future__ import annotations

from pathlib import Path

import pytest

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
        ("d.tsv", "id\ttext\tlabel\nx\ta\t0\nx\tb\t0\n", "classification", "rows have the id 'x'"),
        ("d.csv", b"text,label\n\xff,0\n", "classification", "line 2: not UTF-8"),
        ("d.jsonl", '{"text": "a", "label": 1}\n{"text', "classification", "line 2 is not JSON"),
        ("d.jsonl", '{"text": "a"}\n', "classification", "line 1 must name one column label"),
        ("d.jsonl", '["a", 1]\n', "classification", "line 1: expected a JSON object, got list"),
        ("d.jsonl", '{"text": 3, "label": 1}\n', "classification", "line 1: the text is blank"),
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
        ("d.json", squad(QUESTION, QUESTION), "question-answering", "two questions have .* 'q1'"),
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
