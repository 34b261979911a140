"""Trained weights for words and masked words.

`tests/data/make_trained_heads.py` trained them: of words from the data's
`albert_minilm/encoder_small`, of masked words from the embedded sentiment model, which began with
pre-training.  They are stored as their differences from there, and from 0 where it has no such
tensor.
"""

from __future__ import annotations

import json
import lzma
import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.checkpoints import Checkpoint, read_checkpoint

ENCODER = "albert_minilm/encoder_small"
_STEP = ":step"
_PARTS = {"train": "wnut17train.conll", "dev": "emerging.dev.conll"}
_DATA = Path(__file__).parents[1] / "data"
# The labels of words, in the order of the head's outputs.
LABELS = (
    "O",
    *(
        f"{mark}-{kind}"
        for mark in "BI"
        for kind in ("corporation", "creative-work", "group", "location", "person", "product")
    ),
)


def tagged_sentences(data: Path, part: str) -> list[dict[str, Any]]:
    """Return the sentences of WNUT 2017's `train` or `dev`: `tokens` and `tags`."""
    lines = (data / "labelled/ner_wnut17/data.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["file"] == _PARTS[part]]


def write_sentences(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write words and tags as a table."""
    tagged = (zip(row["tokens"], row["tags"], strict=True) for row in rows)
    sentences = ("".join(f"{word} {tag}\n" for word, tag in words) for words in tagged)
    path.write_text("\n".join(sentences), encoding="utf-8")


def masked_documents(data: Path) -> tuple[list[str], list[str]]:
    """Draw the dialogues that masked words were trained on, and some that they were not."""
    with lzma.open(data / "text_mix/mix.txt.xz", "rt", encoding="utf-8") as file:
        documents = file.read().split("\n\n")
    dialogues = [document for document in documents if document.startswith("User: ")]
    drawn = random.Random(0).sample(dialogues, len(dialogues))
    return drawn[200:], drawn[:200]


def read_trained(task: str, data: Path) -> Checkpoint:
    """Return the model of `token-classification` or `fill-mask`."""
    start, encoder = read_start(task, data), read_encoder(task, data)
    labels = {"labels": LABELS} if task == "token-classification" else {}
    tensors = dict(start.tensors)
    with np.load(stored_at(task)) as stored:
        for name in stored.files:
            if not name.endswith(_STEP):
                step = stored[name + _STEP] if name + _STEP in stored.files else np.float32(1)
                tensors[name] = encoder.get(name, np.float32(0)) + stored[name] * step
    return replace(start, config=replace(start.config, **labels), tensors=tensors)


def write_trained(task: str, tensors: Mapping[str, np.ndarray], data: Path) -> None:
    """Store what `read_trained` reads: matrices in int8 with one step each, vectors in float16."""
    encoder = read_encoder(task, data)
    stored = {}
    for name, values in tensors.items():
        difference = values - encoder.get(name, np.float32(0))
        if not difference.any():
            continue
        if values.ndim == 1:
            stored[name] = difference.astype(np.float16)
        else:
            step = np.abs(difference).max() / np.float32(127)
            stored[name] = np.rint(difference / step).astype(np.int8)
            stored[name + _STEP] = step
    np.savez_compressed(stored_at(task), **stored)


def read_start(task: str, data: Path) -> Checkpoint:
    """Return the encoder with an untrained head."""
    return read_checkpoint(_source(task, data), task=task, init_head=True)


def read_encoder(task: str, data: Path) -> Mapping[str, np.ndarray]:
    """Return the weights of the encoder."""
    return read_checkpoint(_source(task, data), task="feature-extraction").tensors


def _source(task: str, data: Path) -> str | Path:
    return data / ENCODER if task == "token-classification" else "default"


def stored_at(task: str) -> Path:
    """Return the file of a task."""
    return _DATA / f"trained_{task}.npz"
