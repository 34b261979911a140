"""Data files that several tests evaluate models on, and the figures of a report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def figures(report: dict[str, Any], at: int = 0) -> dict[str, float]:
    return {name: row["value"] for name, row in report["models"][at]["metrics"].items()}


GOLDEN = json.loads(Path(__file__).parents[1].joinpath("data/metrics_golden.json").read_text())
