"""Made-up data for every task, and options by which a tiny ALBERT learns it in seconds."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

from albert_edge.training.finetune_files import finetune_files
from albert_edge.training.options import FinetuneOptions

WORDS = ("mill", "river", "storm", "road", "widow", "wheel", "oak", "roof", "crow", "plan")

OPTIONS = FinetuneOptions(
    epochs=25,
    batch_tokens=512,
    learning_rate=0.01,
    max_length=32,
    averaging=0.9,
    sampling=1.0,
    word_dropout=0.0,
    label_smoothing=0.0,
    window=32,
)

LONG = dataclasses.replace(OPTIONS, epochs=50, learning_rate=3e-3)

SHORT = dataclasses.replace(OPTIONS, epochs=1)


def make_texts(count: int, seed: int = 1) -> list[list[str]]:
    drawn = random.Random(seed)
    return [drawn.sample(WORDS, drawn.randint(3, 6)) for _ in range(count)]


def write_table(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def learn(data: Path, toy_shape: Path, **more: Any) -> dict[str, Any]:
    return finetune_files(
        data,
        data.parent / "model",
        config=toy_shape,
        dev=data,
        **{"options": OPTIONS, **more},
    )


def write_squad(path: Path, texts: list[list[str]]) -> Path:
    entries = []
    for number, words in enumerate(texts):
        context = " ".join([*words[:2], "so", *words[2:]])
        answer = {"text": words[2], "answer_start": context.index("so ") + 3}
        question = {"id": str(number), "question": "so what ?", "answers": [answer]}
        entries.append({"context": context, "qas": [question]})
    path.write_text(json.dumps({"version": "1.1", "data": [{"paragraphs": entries}]}))
    return path
