"""Damage data files: their bytes, and the cells of their tables.

Each file is read for every kind of examples that fits it, with and without `skip_bad`.
"""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

from albert_edge.datasets.examples import read_data_file
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import AlbertEdgeError

_LABELLED = ("classification", "multi-label", "regression", "similarity", "pretraining")
# The kinds of examples that each file is read for.
_KINDS_OF: dict[str, tuple[str, ...]] = {
    "table.tsv": _LABELLED,
    "table.csv": _LABELLED,
    "table.jsonl": (*_LABELLED, "summarization"),
    "table.parquet": _LABELLED,
    "words.conll": ("token-classification",),
    "squad.json": ("question-answering",),
}
KINDS = tuple(f"{how}/{name}" for name in _KINDS_OF for how in ("bytes", "parts"))
_PARTS = (
    *(
        "",
        '"',
        '""',
        "'",
        "\t",
        "\n",
        "\r",
        ",",
        "null",
        "NaN",
        "-1",
        "-",
        "true",
        "1e999",
        "[",
        "]",
    ),
    *(
        "{}",
        "[['a']]",
        "\u200b",
        "\ufeff",
        "\x00",
        "# ",
        "# a = b",
        "\\ud800",
        "9" * 5000,
        "B-",
        "O",
    ),
)


def prepare(folder: Path) -> None:
    rows = [{"text": f"a mill {n}", "text_pair": "b", "label": n % 3} for n in range(6)]
    cells = [[str(value) for value in row.values()] for row in rows]
    lines = [["text", "text_pair", "label"], *cells, ['"He ""said"" it"', "so", "['1', '2']"]]
    (folder / "table.tsv").write_text("".join("\t".join(row) + "\n" for row in lines))
    (folder / "table.csv").write_text("".join(",".join([*row[:2], "1"]) + "\n" for row in lines))
    summaries = [{**row, "summary": "a mill"} for row in rows]
    (folder / "table.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in summaries))
    (folder / "words.conll").write_text("# id = 1\nNew York\tB-LOC\n10\tO\n\nthe\tO\nmill\tM-X\n")
    answers = [{"text": "mill", "answer_start": 4}]
    entries = [{"id": str(n), "question": "what ?", "answers": answers} for n in range(3)]
    paragraphs = [{"context": "the mill fell", "qas": entries}]
    document = {"version": "2.0", "data": [{"paragraphs": paragraphs}]}
    (folder / "squad.json").write_text(json.dumps(document))
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "table.parquet")


def load(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in _KINDS_OF}


def mutate(kind: str, rng: random.Random, seeds: dict[str, bytes]) -> tuple[str, bytes, int]:
    how, name = kind.split("/")
    content = bytearray(seeds[name])
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(content) + 1)
        gone = rng.choice((0, 0, 1, 2, 8, 64))
        new = rng.randbytes(rng.choice((0, 1, 4)))
        if how == "parts":
            new = rng.choice(_PARTS).encode("utf-8", "surrogatepass")
        content[at : at + gone] = new
    return name, bytes(content), rng.getrandbits(16)


def run(case: tuple[str, bytes, int], seeds: dict[str, bytes]) -> bool:
    name, content, drawn = case
    kind = _KINDS_OF[name][drawn % len(_KINDS_OF[name])]
    options = EvaluateOptions(skip_bad=bool(drawn & 256), quoting=("auto", "none")[drawn >> 9 & 1])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        damaged = _read(path, kind, options)
        path.write_bytes(seeds[name])
        try:
            return damaged == _read(path, kind, options)
        except AlbertEdgeError:
            return False


def _read(path: Path, kind: str, options: EvaluateOptions) -> Any:
    file = read_data_file(path, kind, options)
    examples = file.examples(file.labels())
    return examples.inputs, examples.targets, examples.ids
