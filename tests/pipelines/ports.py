"""The files, texts and comparison by which the tasks of other languages are held to Python's.

A case is a task, or another kind of its head or its file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from albert_edge import convert, load_keras
from albert_edge.bundle.bundle import read
from albert_edge.checkpoints import read_checkpoint
from albert_edge.modeling import Albert, from_checkpoint
from albert_edge.pipelines import Pipeline
from pipelines.drawn_texts import article, marks, masked, question_and_passage, sentence

TIE = 1e-5  # tokens whose probabilities differ by no more may change places
LOGITS = 10.0  # what logits, of which `null_score` is a sum, are sums of
Input = dict[str, Any]
Result = dict[str, Any]


def offset(text: str, index: int) -> int:
    """Convert an index of code points to one of UTF-16 code units."""
    return len(text[:index].encode("utf-16-le")) // 2


def place(text: str, found: Result) -> Result:
    """Convert `start` and `end`."""
    return found | {side: offset(text, found[side]) for side in ("start", "end")}


def a_text(source: Random) -> Input:
    return {"text": sentence(source)}


def a_long_text(source: Random) -> Input:
    if source.random() < 0.3:
        return {"text": marks(source)}
    # Longer than the tiny models take, now and then.
    return {"text": article(source, source.choice((*[1] * 9, *[2] * 6, 12)))}


def a_text_or_two(source: Random) -> Input:
    one = a_long_text(source)
    return one | ({"pair": sentence(source)} if source.random() < 0.5 else {})


def two_texts(source: Random) -> Input:
    return a_long_text(source) | {"pair": a_long_text(source)["text"]}


def a_question(source: Random) -> Input:
    question, context = question_and_passage(source)
    return {"question": question, "context": context}


def masked_texts(source: Random) -> Input:
    second = {"pair": masked(source)} if source.random() < 0.4 else {}
    return {"text": masked(source)} | second


def masks_or_two_texts(source: Random) -> Input:
    return masked_texts(source) if source.random() < 0.7 else two_texts(source)


def an_article(source: Random) -> Input:
    if source.random() < 0.3:
        return {"sentences": [sentence(source) for _ in range(source.randint(1, 12))]}
    if source.random() < 0.4:
        return {"text": marks(source)}
    return {"text": article(source, source.randint(1, 40))}


def call(pipe: Pipeline, given: Input, **options: Any) -> Result:
    given = dict(given)
    if "sentences" in given:
        return pipe(given["sentences"], **options)
    return pipe(**given, **options)


_TAGS = ("O", "B-PER", "I-PER", "B-LOC", "E-LOC", "S-ORG", "MISC")
_EXITS = {"early_exit": True, "num_hidden_layers": 4, "initializer_range": 0.2}
_TINY: dict[str, tuple[str, dict[str, Any]]] = {
    "labels": ("classification", {}),
    "multi-label": ("classification", {"problem_type": "multi_label_classification"}),
    "one-label": (
        "classification",
        {"labels": ("spam",), "problem_type": "single_label_classification"},
    ),
    "regression": ("classification", {"labels": ("score",)}),
    "token-classification": ("token-classification", {"labels": _TAGS}),
    "exiting-answers": ("question-answering", _EXITS),
    "exiting-words": ("token-classification", {**_EXITS, "labels": _TAGS[:2]}),
    "pooler": ("feature-extraction", {}),
    "summarize": ("feature-extraction", {}),
}
_DATA = Path(os.environ.get("ALBERT_EDGE_DATA") or "/nonexistent")
# Real weights beside the embedded model's.
_TRAINED = {"question-answering": "qa", "feature-extraction": "encoder_small"}
# What fits the models, so that texts that are quick to run are cut, or fill several windows.
_TOKENS = 96


def files_of_cases(tiny_albert: Any, built_once: Any) -> Callable[..., Path]:
    """Return a function that returns a case's file, of trained weights where there are any."""
    embedded = read("default").tokenizer_files

    def keras(name: str) -> Any:
        if name == "classification":
            return load_keras("default")
        trained = _DATA / "albert_minilm" / _TRAINED.get(name, "none")
        if trained.exists():
            return _shortened(trained, name)
        task, config = _TINY.get(name, (name, {}))
        model = tiny_albert(task, vocab_size=20000, max_position_embeddings=_TOKENS, **config)
        model.tokenizer_files = embedded
        return model

    @cache
    def make(name: str, *, target: str = "android", quantize: str = "float32", **how: Any) -> Path:
        def build(path: Path) -> None:
            made = convert(keras(name), target=target, quantize=quantize, verified=False, **how)
            made.save(path)

        words = (target, quantize, *(f"{key}-{value}" for key, value in how.items()))
        return built_once(f"task_{name}_{'_'.join(words)}.tflite", build)

    return make


def _shortened(folder: Path, task: str) -> Albert:
    """Load a checkpoint without its places for later tokens."""
    whole = read_checkpoint(folder, task=task)
    places = "embeddings/position_embeddings"
    tensors = {**whole.tensors, places: whole.tensors[places][:_TOKENS]}
    config = replace(whole.config, max_position_embeddings=_TOKENS)
    return from_checkpoint(replace(whole, config=config, tensors=tensors))


def difference(found: Any, expected: Any, where: str = "") -> float:
    """Return the largest difference of any number, over 1 or the larger of the two.

    Everything else must be equal.
    """
    if isinstance(expected, np.ndarray):
        assert found.shape == expected.shape, where
        return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1.0))
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        return max((difference(found[k], expected[k], f"{where}.{k}") for k in expected), default=0)
    if isinstance(expected, list):
        assert len(found) == len(expected), (where, found, expected)
        if where.endswith(".candidates"):
            found = in_order_of(expected, found)
        pairs = zip(found, expected, strict=True)
        return max((difference(*pair, f"{where}[{i}]") for i, pair in enumerate(pairs)), default=0)
    if isinstance(expected, float):
        least = LOGITS if where.endswith("null_score") else 1.0
        return abs(found - expected) / max(abs(expected), least)
    assert found == expected, (where, found, expected)
    return 0.0


def in_order_of(expected: list[Result], found: list[Result]) -> list[Result]:
    """Put tokens in the order of those that are expected: `difference` holds their scores equal.

    The last one may be another, if it is as good.
    """
    places = {one["id"]: place for place, one in enumerate(expected)}
    kept = sorted(found, key=lambda one: places.get(one["id"], len(expected)))
    if kept[-1]["id"] in places:
        return kept
    (missing,) = places.keys() - {one["id"] for one in kept}
    instead = expected[places[missing]]
    for score in (kept[-1]["score"], instead["score"]):
        assert abs(score - expected[-1]["score"]) <= TIE, (found, expected)
    kept.insert(places[missing], instead)
    return kept[:-1]
