"""Small SQuAD files, and data files as examples."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from albert_edge.datasets.examples import Examples, read_examples
from albert_edge.datasets.options import EvaluateOptions

Data = Callable[[str, str | bytes], Path]

QUESTION = {"id": "q1", "question": "what fell ?", "answers": [{"text": "the mill"}]}


def read(path: Path, kind: str, labels: tuple[str, ...] = (), **options: Any) -> Examples:
    return read_examples(path, kind, labels, EvaluateOptions(**options))


def squad(*questions: Any, version: str = "1.1") -> str:
    paragraph = {"context": "the mill fell .", "qas": list(questions)}
    return json.dumps({"version": version, "data": [{"paragraphs": [paragraph]}]})


def write(folder: Path, content: str | bytes, name: str = "data.tsv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read_texts(path: Path, labels: tuple[str, ...] | None = None) -> Examples:
    return read_examples(path, "classification", labels, EvaluateOptions())
