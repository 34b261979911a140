from __future__ import annotations

from pathlib import Path

import pytest

from albert_edge.datasets.examples import Examples, read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import AlbertEdgeError, InputError, TrainingError
from albert_edge.training.finetune_files import finetune_files


def _write(folder: Path, content: str | bytes, name: str = "data.tsv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _read(path: Path, labels: tuple[str, ...] | None = None) -> Examples:
    return read_examples(path, "classification", labels, EvaluateOptions())


def test_reads_tabs_without_quoting(tmp_path: Path) -> None:
    path = _write(tmp_path, 'sentence\tlabel\n"half a quote\t1\nplain, with comma\t0\n')
    data = _read(path, ("negative", "positive"))
    assert data.inputs == [{"text": '"half a quote'}, {"text": "plain, with comma"}]
    assert data.class_indices().tolist() == [1, 0]
    assert data.labels == ("negative", "positive")


def test_reads_commas_with_quoting_and_other_columns(tmp_path: Path) -> None:
    path = _write(tmp_path, '\ufeffid,label,text\r\n7,b,"one, two\nlines"\r\n8,a,x\r\n', "d.csv")
    data = _read(path)
    assert data.inputs == [{"text": "one, two\nlines"}, {"text": "x"}]
    assert data.labels == ("a", "b")
    assert data.class_indices().tolist() == [1, 0]


def test_labels_that_are_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    rows = "".join(f"t\t{label}\n" for label in (10, 9, 2))
    assert _read(_write(tmp_path, "text\tlabel\n" + rows)).labels == ("2", "9", "10")


def test_a_label_is_its_name_before_it_is_a_number(tmp_path: Path) -> None:
    path = _write(tmp_path, "text\tlabel\na\t1\nb\t0\n")
    assert _read(path, ("1", "0")).class_indices().tolist() == [0, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must name one column text or sentence; it has: nothing"),
        ("text\tlabel\n", "has no examples"),
        ("words\tlabel\na\t0\n", "one column text or sentence; it has: words, label"),
        ("text\tsentence\tlabel\na\tb\t0\n", "one column text or sentence"),
        ("text\tclass\na\t0\n", "one column label; it has: text, class"),
        ("text\tlabel\na\t0\nb\n", "line 3: expected 2 columns .text, label., got 1"),
        ("text\tlabel\na\t0\n \t1\n", "line 3: the text is blank"),
        ("text\tlabel\na\t0\nb\t0\n", r"two distinct labels or more, got \['0'\]"),
        (b"text\tlabel\na\t0\n\xff\t1\n", "line 3: not UTF-8"),
    ],
)
def test_says_what_is_wrong(tmp_path: Path, content: str | bytes, message: str) -> None:
    kind: type[AlbertEdgeError] = TrainingError if "two distinct" in message else InputError
    with pytest.raises(kind, match=message):
        finetune_files(_write(tmp_path, content), tmp_path / "model")


def test_names_the_unknown_label_and_the_known_ones(tmp_path: Path) -> None:
    path = _write(tmp_path, "text\tlabel\na\t0\nb\tgood\n")
    with pytest.raises(InputError, match="line 3: label 'good' is none of bad, fine"):
        _read(path, ("bad", "fine"))


def test_repeated_label_names(tmp_path: Path) -> None:
    path = _write(tmp_path, "text\tlabel\na\t0\n")
    with pytest.raises(TrainingError, match="two distinct labels"):
        finetune_files(path, tmp_path / "model", labels=("same", "same"))


def test_other_file_types_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.tsv, \.csv, \.jsonl, \.parquet"):
        _read(_write(tmp_path, "text\tlabel\na\t0\n", "data.txt"))
    with pytest.raises(InputError, match="No such file"):
        _read(tmp_path / "none.tsv")
