"""What is asked of files that an older version wrote, both when they are written and ever after.

Only of what a user sees: the package's own functions and the command line.  What lies behind may be
named and arranged in any way.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import shutil
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import albert_edge

__all__ = [
    "FOREIGN",
    "RESUMED",
    "answers_of",
    "call",
    "digest_of",
    "figures",
    "load_foreign",
    "logits_of",
    "resume",
    "scores_of",
]

_DATA = Path(__file__).parent / "data"
# Checkpoints of other software; how to write them, see data/make_*_golden.py.
FOREIGN = ("sharded", "tf_hub_2", "tf_model_square_pretraining", "torch", "torch_legacy")

_TEXTS = (
    *("a great film", "the plot is dull", "the cast of the film is lovely", "a poor story"),
    *("is the story of the film weak", "fine"),
)
# What a file is asked, by its name; a classifier is asked `_TEXTS`.
_ASKED: dict[str, list[dict[str, Any]]] = {
    "feature-extraction": [{"text": "a great film", "pooling": "mean", "normalize": True}],
    "fill-mask": [{"text": "the [MASK] is dull", "top_k": 3}],
    "pretraining": [{"text": "the [MASK] of", "pair": "the film is lovely"}],
    "question-answering": [{"question": "is the plot dull", "context": "the plot is dull"}],
    "sentence-order": [{"text": "a great film", "pair": "of the cast"}],
    "summarization": [{"text": ["a great film", "the plot", "is it dull"], "bullets": 2}],
    "token-classification": [{"text": "the plot is dull"}],
    "early_exit": [
        *({"text": text} for text in _TEXTS),
        {"text": _TEXTS[0], "patience": 9, "threshold": 2.0},
        {"text": _TEXTS[1], "max_layers": 1},
    ],
}
_SCORED = {
    "answers": ("answers.json", "rows.tsv"),
    "squad_answers": ("squad_answers.json", "squad.json"),
}
# Nothing is drawn but the order of batches, whose state is saved.
_PLAIN = ("--sampling", "1", "--max-length", "16", "--batch-tokens", "256")
# How each training was begun, with which it goes on; paths stand before and behind.
RESUMED = {
    "finetune": ("--epochs", "12", "--learning-rate", "0.01", *_PLAIN),
    "compress": (*("--with", "prune", "--epochs", "12"), *_PLAIN[2:]),
    "pretrain": (
        *("--steps", "60", "--batch-size", "8", "--max-length", "16", "--examine-every", "10"),
        *("--mixed-precision", "off"),
    ),
}


def call(*arguments: object, code: int = 0) -> str:
    """Run `albert-edge` with arguments, and return what it prints; its exit code must be `code`."""
    from albert_edge.cli import main

    given = ["albert-edge", *map(str, arguments)]
    with (
        mock.patch.object(sys, "argv", given),
        redirect_stdout(io.StringIO()) as shown,
        pytest.raises(SystemExit) as done,
    ):
        main()
    assert done.value.code == code, f"{' '.join(given)} exits with {done.value.code}"
    return shown.getvalue()


def answers_of(file: Path) -> list[Any]:
    """Return what a `.tflite` file says."""
    pipe: Any = albert_edge.load(file)
    asked = _ASKED.get(file.stem, [{"text": text} for text in _TEXTS])
    return [_plain(pipe(**one)) for one in asked]


def digest_of(model: Any) -> str:
    """Return a digest of the numbers of a Keras model's variables, whatever their names."""
    parts = sorted(variable.numpy().tobytes() for variable in model.weights)
    return hashlib.sha256(b"".join(parts)).hexdigest()


def logits_of(model: Any) -> dict[str, Any]:
    """Return what a Keras model says of two texts, one of them padded."""
    ids = np.array([[2, 7, 19, 4, 11, 3], [2, 12, 5, 3, 0, 0]], np.int32)
    types = np.array([[0, 0, 0, 1, 1, 1], [0] * 6], np.int32)
    mask = (ids != 0).astype(np.int32)
    said = model({"input_ids": ids, "token_type_ids": types, "attention_mask": mask})
    return {name: _plain(values.numpy()) for name, values in said.items()}


def scores_of(kept: Path, name: str) -> Any:
    """Return the metrics of predictions that were saved."""
    answers, data = _SCORED[name]
    report = json.loads(call("evaluate", kept / answers, kept / data, "--json"))
    return report["models"][0]["metrics"]


def resume(kept: Path, verb: str, work: Path) -> dict[str, Any]:
    """Go on in the folder `work` with a training that was killed; return its report."""
    output = work / verb
    data, held = ("text.txt",) * 2 if verb == "pretrain" else ("rows.tsv",) * 2
    if verb == "pretrain":
        shutil.copytree(kept / "interrupted" / verb, output)
    else:
        shutil.copy(kept / "interrupted" / f"{verb}.training", work)
    if verb == "compress":
        given: tuple[object, ...] = (kept / "interrupted/trained", "--data", kept / data)
    else:
        start = "encoder" if verb == "pretrain" else "classifier"
        given = (kept / data, "--from", kept / "interrupted" / start)
    done = call(
        *(verb, *given, "-o", output, "--dev", kept / held, *RESUMED[verb], "--resume", "--json")
    )
    report: dict[str, Any] = json.loads(done)
    return report


def figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a training's report what it comes to whenever and wherever it is made, about."""
    names = ("task", "labels", "method", "drawn", "documents", "tokens", "train_examples")
    found = {name: report[name] for name in names if name in report}
    if "curve" in report:  # how many are right swings where the order is a guess yet
        return found | {"curve": [_losses(point) for point in report["curve"]]}
    for part in ("epoch", "loss", "dev_accuracy"):
        found[part] = [epoch[part] for epoch in report["epochs"]]
    zeros = {name: matrix["sparsity"] for name, matrix in report.get("tensors", {}).items()}
    return found | {"zeros": zeros}


def _losses(point: Mapping[str, Any]) -> dict[str, Any]:
    parts = {name: point[name] for name in ("train", "held_out")}
    losses = {
        f"{part}/{name}": value
        for part, values in parts.items()
        for name, value in values.items()
        if name.endswith("loss")
    }
    return {"step": point["step"], **losses}


def load_foreign(name: str, work: Path) -> Any:
    """Load a checkpoint of other software, unpacked in the folder `work`."""
    folder = Path(shutil.copytree(_DATA / "foreign" / name, work / name))
    for packed in folder.glob("*.xz"):
        packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
        packed.unlink()
    return albert_edge.load_keras(folder)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(one) for one in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.7g}")
    return value.item() if isinstance(value, np.generic) else value
