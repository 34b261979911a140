"""Which heads and channels are removed, and that the smaller model goes wherever others go."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert_edge.checkpoints import Checkpoint, init_model, read_checkpoint, write_checkpoint
from albert_edge.conversion import convert
from albert_edge.datasets.examples import Examples, read_examples
from albert_edge.errors import CheckpointError, TrainingError
from albert_edge.inspection import inspect
from albert_edge.modeling import load_keras, tensors
from albert_edge.quantization.recipes import RECIPES
from albert_edge.tokenizer import tokenizer_from_files
from albert_edge.training.compression.compress import compress, compress_files
from albert_edge.training.compression.methods import OPTIONS, Narrow, default_options
from albert_edge.training.compression.narrow import measure, narrow, remove
from albert_edge.training.dev_metrics import KerasForward
from albert_edge.training.init import with_new_head
from albert_edge.training.tasks import OBJECTIVES

LAYER = "encoder/group_0/layer_0"
SHORT = dataclasses.replace(OPTIONS, epochs=1, batch_tokens=256, max_length=32, window=32)


@pytest.fixture(scope="module")
def examples(toy_table: Path) -> Examples:
    return read_examples(toy_table, "classification", ("negative", "positive"))


@pytest.fixture(scope="module")
def random_model(toy_model: Path) -> Checkpoint:
    """A checkpoint with random weights, whose losses are far from 0, and two groups."""
    start = read_checkpoint(toy_model)
    config = dataclasses.replace(
        start.config,
        num_attention_heads=8,
        intermediate_size=24,
        num_hidden_layers=4,
        num_hidden_groups=2,
        initializer_range=0.15,
    )
    tensors = init_model(config, "classification", seed=1)
    return dataclasses.replace(start, config=config, tensors=tensors)


class Runner:
    """Computes logits of the same examples by checkpoints of one configuration."""

    def __init__(self, model: Checkpoint, examples: Examples) -> None:
        tokenizer = tokenizer_from_files(model.tokenizer_files)
        objective, random = OBJECTIVES["classification"](examples), np.random.default_rng(0)
        self._ids = objective.encode_epoch(tokenizer, SHORT, random).input_ids
        self._true = examples.class_indices()
        self._forward = KerasForward(model)

    def logits(self, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        self._forward.set_weights(tensors)
        rows = {row: one["logits"][0] for row, one in self._forward(self._ids)}
        return np.array([rows[row] for row in range(len(rows))])

    def losses(self, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the cross entropy of every example."""
        values = self.logits(tensors).astype(np.float64)
        values -= np.log(np.exp(values).sum(axis=1, keepdims=True))
        return -values[np.arange(len(values)), self._true]


def without(model: Checkpoint, name: str, rows: Any) -> dict[str, np.ndarray]:
    """Set rows of a kernel to zero, so that what they multiply has no effect."""
    kernel = model.tensors[name].copy()
    kernel[rows] = 0
    return {**model.tensors, name: kernel}


def ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values))


def test_importance_is_near_the_change_by_a_removal(
    random_model: Checkpoint, examples: Examples
) -> None:
    runner = Runner(random_model, examples)
    before, size = runner.losses(random_model.tensors), random_model.config.head_size
    found = measure(random_model, OBJECTIVES["classification"](examples), SHORT)[LAYER]
    for inputs, part, width in zip(found, ("attention", "ffn"), (size, 1), strict=True):
        scores = inputs.importance
        changes = [
            runner.losses(without(random_model, f"{LAYER}/{part}/output/kernel", rows)) - before
            for rows in np.arange(len(scores) * width).reshape(-1, width)
        ]
        removed = np.abs(changes).mean(axis=1)
        # To the first order, and one pass at a time: off by a third here or there.
        assert np.corrcoef(scores, removed)[0, 1] > 0.85, part


def test_what_has_no_effect_is_removed_first_and_nothing_changes(
    random_model: Checkpoint, examples: Examples
) -> None:
    dead = {0: (3, (1, 7)), 1: (5, (2, 20))}  # of each group a head and channels
    size, start = random_model.config.head_size, random_model
    for group, (head, channels) in dead.items():
        path = f"encoder/group_{group}/layer_0"
        for part, rows in (("attention", np.arange(size) + head * size), ("ffn", list(channels))):
            tensors = without(start, f"{path}/{part}/output/kernel", rows)
            start = dataclasses.replace(start, tensors=tensors)
    smaller = narrow(start, examples, method=Narrow(heads="7", ffn_channels="22"), options=SHORT)
    for group, (head, channels) in dead.items():
        name = f"encoder/group_{group}/layer_0/ffn/intermediate/bias"
        assert np.array_equal(smaller.tensors[name], np.delete(start.tensors[name], channels))
        name = f"encoder/group_{group}/layer_0/attention/query/kernel"
        expected = np.delete(start.tensors[name].reshape(-1, 8, size), head, axis=1)
        assert np.array_equal(smaller.tensors[name], expected.reshape(-1, 7 * size))
    assert smaller.config.head_size == size
    before, after = (Runner(one, examples).logits(one.tensors) for one in (start, smaller))
    assert np.abs(before).max() > 0.1
    # Sums of fewer zeros are taken in another order.
    assert after == pytest.approx(before, abs=1e-6)


def without_relations(found: Mapping[str, tuple[Any, Any]]) -> dict[str, tuple[Any, Any]]:
    """Say of all inputs that they have nothing to do with each other, and a mean of zero."""
    return {
        path: tuple(
            dataclasses.replace(one, mean=0 * one.mean, covariance=np.diag(np.diag(one.covariance)))
            for one in both
        )
        for path, both in found.items()
    }


def test_what_stays_replaces_what_is_removed(random_model: Checkpoint, examples: Examples) -> None:
    """Channels that are twice, three times and constantly there, and a head that is twice."""
    size, start = random_model.config.head_size, random_model
    tensors = dict(start.tensors)
    for group in range(2):
        path = f"encoder/group_{group}/layer_0"
        kernel, bias = (
            tensors[f"{path}/ffn/intermediate/{one}"].copy() for one in ("kernel", "bias")
        )
        kernel[:, [1, 2]], bias[[1, 2]] = kernel[:, [0]], bias[0]
        kernel[:, 3], bias[3] = 0, 0.7
        tensors[f"{path}/ffn/intermediate/kernel"] = kernel
        tensors[f"{path}/ffn/intermediate/bias"] = bias
        for name in ("query", "key", "value"):
            for one in ("kernel", "bias"):
                values = tensors[f"{path}/attention/{name}/{one}"].copy()
                values[..., :size] = values[..., size : 2 * size]
                tensors[f"{path}/attention/{name}/{one}"] = values
    start = dataclasses.replace(start, tensors=tensors)
    found = measure(start, OBJECTIVES["classification"](examples), SHORT)
    layers = [f"encoder/group_{group}/layer_0" for group in range(2)]
    heads, channels = np.arange(1, 8), np.delete(np.arange(24), [1, 2, 3])
    kept = dict.fromkeys(layers, (heads, channels))
    smaller, only_cut = remove(start, kept, found), remove(start, kept, without_relations(found))
    before, after, cut = (
        Runner(one, examples).logits(one.tensors) for one in (start, smaller, only_cut)
    )
    assert np.abs(cut - before).max() > 0.1
    assert after == pytest.approx(before, abs=5e-3)


NARROW = {"num_attention_heads": 3, "head_dim": 8, "intermediate_size": 48}  # of 4, 8 and 64


@pytest.mark.parametrize(
    "options",
    [
        *({"quantize": recipe} for recipe in RECIPES),
        *({"layout": layout, "quantize": "int8"} for layout in ("unrolled", "split")),
        {"target": "gpu", "seq_len": 16},
        {"target": "android"},
        {"target": "web", "seq_len": 16},
        {"target": "mediapipe", "seq_len": 16},
        {"target": "edgetpu", "seq_len": 16},
    ],
    ids=str,
)
def test_a_narrow_file_says_what_keras_says(
    tiny_albert: Callable[..., Any], options: dict[str, Any]
) -> None:
    converted = convert(tiny_albert(**NARROW), **options)  # raises if it does not
    assert converted.report["verification"]["passed"]


def test_a_narrow_file_is_a_checkpoint_too(tiny_albert: Callable[..., Any], tmp_path: Path) -> None:
    model = tiny_albert(**NARROW)
    path = tmp_path / "narrow.tflite"
    path.write_bytes(convert(model, quantize="float32").blob)
    again = load_keras(path)
    assert again.config == model.config
    inputs = {"input_ids": [[2, 5, 9, 3]]}
    # The query is multiplied by the root of the head's size, and divided again.
    assert again(inputs)["logits"].numpy() == pytest.approx(model(inputs)["logits"], abs=1e-5)
    assert inspect(path)["bundle"]["config"]["head_dim"] == 8


def test_googles_code_cannot_hold_it(tiny_albert: Callable[..., Any], tmp_path: Path) -> None:
    model = tiny_albert(hidden_act="gelu_new", **NARROW)
    narrowed = Checkpoint(config=model.config, task=model.task, tensors=tensors(model))
    with pytest.raises(CheckpointError, match="head_dim is set, as heads were removed"):
        write_checkpoint(tmp_path / "google", narrowed, to="tensorflow1")


def test_from_files_to_the_report(toy_model: Path, toy_table: Path, tmp_path: Path) -> None:
    method = Narrow(heads="50%", ffn_channels="40")
    output = tmp_path / "new"
    report = compress_files(
        str(toy_model), toy_table, output, method=method, dev=toy_table, options=SHORT
    )
    assert (report["method"], report["heads"], report["ffn_channels"]) == ("narrow", "50%", "40")
    before, removed, after = (report["int8"][name] for name in ("before", "removed", "after"))
    assert (before["num_attention_heads"], before["intermediate_size"]) == (2, 64)
    assert (after["num_attention_heads"], after["intermediate_size"]) == (1, 40)
    assert removed.keys() == after.keys()
    for name in ("parameters", "multiply_adds", "size_bytes"):
        assert removed[name] == after[name] < before[name]
    assert before["metrics"]["accuracy"]["value"] == 1.0
    change = report["changes"]["removed"]["accuracy"]
    difference = removed["metrics"]["accuracy"]["value"] - 1.0
    assert change["value"] == pytest.approx(difference)
    assert change["low"] <= change["value"] <= change["high"]
    assert "40 FFN channels are no multiple of 16" in report["notes"][0]
    assert "48 take no longer, and 32 less" in report["notes"][0]
    smaller = read_checkpoint(output)
    assert (smaller.config.head_dim, smaller.config.attention_size) == (16, 16)
    assert smaller.config.classifier_dropout_prob == 0.0
    assert smaller.changes["narrow"]["heads"] == "50%"


def test_a_question_answerer_learns_back(toy_model: Path, tmp_path: Path) -> None:
    start = with_new_head(read_checkpoint(toy_model), (), seed=0, task="question-answering")
    answer = {"text": "widow", "answer_start": 6}
    questions = [{"id": str(i), "question": f"who {i}", "answers": [answer]} for i in range(4)]
    paragraph = {"context": "storm widow mill road", "qas": questions}
    path = tmp_path / "data.json"
    path.write_text(json.dumps({"data": [{"title": "", "paragraphs": [paragraph]}]}))
    data = read_examples(path, "question-answering", ())
    method = Narrow(ffn_channels="12")
    options = dataclasses.replace(SHORT, embeddings_rate=default_options(method).embeddings_rate)
    (last,) = compress(start, data, method=method, options=options)
    word = "embeddings/word_embeddings"  # nothing of them was removed
    assert np.array_equal(last.checkpoint.tensors[word], start.tensors[word])
    assert last.checkpoint.config.intermediate_size == 12
    assert last.checkpoint.config.head_dim is None  # transformers can read it
    assert np.isfinite(last.loss)


def test_models_that_cannot_be_narrowed(toy_model: Path, toy_table: Path, tmp_path: Path) -> None:
    output = tmp_path / "new"
    with pytest.raises(TrainingError, match="heads must be from 1 to the 2 that the model has"):
        compress_files(str(toy_model), toy_table, output, method=Narrow(heads="3"))
    with pytest.raises(TrainingError, match=r"outputs_weight must be in \[0.0, 100.0\), not nan"):
        Narrow(heads="1", outputs_weight=float("nan"))
    with pytest.raises(TrainingError, match="no shares to distill; give outputs_weight"):
        compress_files(str(toy_model), toy_table, output, method=Narrow(heads="1"), share=0.5)
    start = read_checkpoint(toy_model, task="feature-extraction")
    write_checkpoint(tmp_path / "encoder", start)
    with pytest.raises(TrainingError, match="is for feature-extraction, which has no labels to le"):
        compress_files(
            str(tmp_path / "encoder"), toy_table, output, method=Narrow(ffn_channels="8")
        )
    assert not output.exists()
