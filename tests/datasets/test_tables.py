"""Tables of every form are read alike, and errors name the line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_edge.datasets.examples import read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import InputError
from datasets.files import Data, read, read_texts, write


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


def test_tabs_as_pandas_writes_them(data: Data) -> None:
    texts = ['He said "hi"', "a\tb", "one\ntwo", '"', "plain", '"all of it"', "a\r\nb"]
    content = io.StringIO(newline="")
    writer = csv.writer(content, delimiter="\t", lineterminator="\n")
    writer.writerows([["text", "label"], *([text, "0"] for text in texts)])
    path = data("d.tsv", content.getvalue())
    found = read(path, "classification", ("x", "y"))
    assert [inputs["text"] for inputs in found.inputs] == texts
    assert found.places[-1].endswith("line 10")
    path = data("d.tsv", 'text\tlabel\n"He said ""hi"""\t0\n')
    found = read(path, "classification", ("x", "y"), quoting="none")
    assert found.inputs == [{"text": '"He said ""hi"""'}]
    path = data("d.csv", 'text,label\n"hi",0\n')
    assert read(path, "classification", ("x", "y")).inputs == [{"text": "hi"}]
    assert read(path, "classification", ("x", "y"), quoting="none").inputs == [{"text": '"hi"'}]


def test_tabs_without_quoting_keep_their_marks(data: Data) -> None:
    texts = ['"Yes," he said.', '" a film about letters . "', '6" disk', 'so "what"', '"so']
    path = data("d.tsv", "text\tlabel\n" + "".join(f"{text}\t0\n" for text in texts))
    found = read(path, "classification", ("x", "y"))
    assert [inputs["text"] for inputs in found.inputs] == texts
    # A doubled mark inside is never a writer's own.
    path = data("d.tsv", 'text\tlabel\n"He said ""hi"""\t0\n"Yes," he said.\t0\n')
    found = read(path, "classification", ("x", "y"))
    assert [inputs["text"] for inputs in found.inputs] == ['He said "hi"', '"Yes," he said.']


@settings(max_examples=300)
@given(texts=st.lists(st.text('ab"\t\n\r, ', min_size=1).filter(str.strip), min_size=1))
def test_what_a_writer_quotes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    for suffix, mark in ((".tsv", "\t"), (".csv", ",")):
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
            path = tmp_path_factory.getbasetemp() / f"quoted{suffix}"
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, delimiter=mark, quoting=quoting)
                writer.writerows([["label", "text"], *(["0", text] for text in texts)])
            found = read(path, "classification", ("x", "y"))
            assert [inputs["text"] for inputs in found.inputs] == texts


@pytest.mark.parametrize("name", ["d.csv", "d.tsv", "d.jsonl"])
def test_cells_of_any_length(data: Data, name: str) -> None:
    text, mark = "mill " * 60_000, "," if name == "d.csv" else "\t"
    content = f"text{mark}label\n{text}{mark}0\n"
    if name == "d.jsonl":
        content = json.dumps({"text": text, "label": 0})
    before = csv.field_size_limit()
    found = read(data(name, content), "classification", ("x", "y"))
    assert found.inputs == [{"text": text}]
    assert csv.field_size_limit() == before


def test_rows_of_another_width_are_skipped_on_request(data: Data) -> None:
    path = data("d.csv", "text,label\na,0\nb\nc,1,2\nd,1\n")
    found = read(path, "classification", ("x", "y"), skip_bad=True)
    assert [inputs["text"] for inputs in found.inputs] == ["a", "d"]
    assert [text.partition(": expected")[0][-6:] for text in found.skipped] == ["line 3", "line 4"]
    path = data("d.jsonl", '{"text": "a"\n{"text": "\\ud800", "label": 0}\n{"label": 1}\n')
    with pytest.raises(InputError, match="no example can be used: 3 were skipped, the first one"):
        read(path, "classification", ("x", "y"), skip_bad=True)


def test_parquet_that_is_not_utf8_is_one_error(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    broken = pyarrow.array([b"mill", b"\xff\xfe"]).view(pyarrow.string())
    table = pyarrow.table({"text": broken, "label": [0, 1]})
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"cannot read .*a\.parquet"):
        read(tmp_path / "a.parquet", "classification", ("x", "y"))
    table = pyarrow.table({"text": ["a", "b"], "label": [1.0, None]})
    parquet.write_table(table, tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet", "classification", ("x", "y"), skip_bad=True)
    assert (found.targets, len(found.skipped)) == (["y"], 1)


def test_conll(data: Data) -> None:
    text = "-DOCSTART- -X- O\n\nthe DT O\r\nmill NN B-X\r\n\n\nfell\tVB\tO\n"
    found = read(data("d.conll", text), "token-classification", ("O", "B-X"))
    assert found.inputs == [{"words": ["the", "mill"]}, {"words": ["fell"]}]
    assert found.targets == [["O", "B-X"], ["O"]]
    assert [place.rsplit(" ", 1)[1] for place in found.places] == ["3", "7"]


def test_comments_and_tabs_of_conll(data: Data) -> None:
    text = (
        "# newdoc id = d1\n# sent_id = 1\n# text = New York in 10\u00a0000\n"
        "New York\tB-LOC\n#\tO\n10\u00a0000\tO\n\u3000\tO\n\n# sent_id = 2\n# a b\nx\tO\n"
    )
    found = read(data("d.conll", text), "token-classification", ("O", "B-LOC"))
    assert found.inputs[0] == {"words": ["New York", "#", "10\u00a0000", "\u3000"]}
    assert found.targets == [["B-LOC", "O", "O", "O"], ["O"]]
    assert [place.rpartition(" ")[2] for place in found.places] == ["4", "11"]
    text = "# sent_id = 1\n# text = met in Rome\nRome NNP X B-LOC\n# # X O\n# a b = c\n"
    found = read(data("d.conll", text), "token-classification", ("O", "B-LOC"))
    assert found.targets == [["B-LOC", "O"]]
    text = "a NN\n# SYM\n"
    with pytest.raises(InputError, match="line 2: '# SYM' may be a comment or the word '#'"):
        read(data("d.conll", text), "token-classification", ("NN", "SYM"))
    text = "a NN\n\nb\n\nc NN\n\nd VB\n"
    found = read(data("d.conll", text), "token-classification", ("NN",), skip_bad=True)
    assert [inputs["words"] for inputs in found.inputs] == [["a"], ["c"]]
    assert len(found.skipped) == 2
