"""Tables of every form are read alike, and errors name the line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from albert_edge.datasets.examples import read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import InputError
from datasets.files import read_texts, write


def test_reads_tabs_without_quoting(tmp_path: Path) -> None:
    path = write(tmp_path, 'sentence\tlabel\n"half a quote\t1\nplain, with comma\t0\n')
    data = read_texts(path, ("negative", "positive"))
    assert data.inputs == [{"text": '"half a quote'}, {"text": "plain, with comma"}]
    assert data.class_indices().tolist() == [1, 0]
    assert data.labels == ("negative", "positive")


def test_reads_commas_with_quoting_and_other_columns(tmp_path: Path) -> None:
    path = write(tmp_path, '\ufeffid,label,text\r\n7,b,"one, two\nlines"\r\n8,a,x\r\n', "d.csv")
    data = read_texts(path)
    assert data.inputs == [{"text": "one, two\nlines"}, {"text": "x"}]
    assert data.labels == ("a", "b")
    assert data.class_indices().tolist() == [1, 0]


def test_other_file_types_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.tsv, \.csv, \.jsonl, \.parquet"):
        read_texts(write(tmp_path, "text\tlabel\na\t0\n", "data.txt"))
    with pytest.raises(InputError, match="No such file"):
        read_texts(tmp_path / "none.tsv")


def test_a_table_in_parquet_is_read_as_one_of_lines(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [
        {"text": "a", "text_pair": "b", "label": 1},
        {"text": "c", "text_pair": "d", "label": 0},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    expected = read_texts(write(tmp_path, lines, "a.jsonl"), ("0", "1"))
    path = tmp_path / "a.parquet"
    found = read_examples(path, "classification", ("0", "1"), EvaluateOptions())
    assert (found.inputs, found.targets) == (expected.inputs, expected.targets)
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"cannot read .*a\.parquet"):
        read_examples(path, "classification", ("0", "1"), EvaluateOptions())
