from __future__ import annotations

import dataclasses
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from albert_edge.checkpoints import Checkpoint
from albert_edge.config import AlbertConfig
from albert_edge.datasets.examples import Examples, read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import OutputError, TrainingError
from albert_edge.training.finetune import finetune
from albert_edge.training.finetune_files import finetune_files
from albert_edge.training.init import init_from_scratch, with_new_head
from albert_edge.training.options import FinetuneOptions
from albert_edge.training.tasks.classification import ClassificationObjective

FAST = FinetuneOptions(
    epochs=30, batch_tokens=256, learning_rate=0.01, max_length=32, averaging=0.9, sampling=1.0
)
SHORT = dataclasses.replace(FAST, epochs=1)


@pytest.fixture(scope="module")
def data(toy_table: Path) -> Examples:
    return read_examples(toy_table, "classification", ("negative", "positive"), EvaluateOptions())


@pytest.fixture(scope="module")
def start(data: Examples, toy_shape: Path) -> Checkpoint:
    config = AlbertConfig.read(toy_shape)
    return init_from_scratch(
        config, [inputs["text"] for inputs in data.inputs], data.labels, seed=1
    )


@pytest.fixture(scope="module")
def trained(
    toy_table: Path, toy_shape: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, object]]:
    folder = tmp_path_factory.mktemp("trained") / "model"
    report = finetune_files(
        toy_table,
        folder,
        config=toy_shape,
        dev=toy_table,
        labels=("negative", "positive"),
        options=FAST,
    )
    return folder, report


def test_learns_a_task_whole(trained: tuple[Path, dict[str, object]]) -> None:
    _, report = trained
    assert report["dev_accuracy"] == 1.0
    low, high = report["dev_interval"]  # type: ignore[misc]
    assert 0.96 < low < high == 1.0  # Wilson's interval of 120 right out of 120


def test_what_is_written_answers_as_it_was_measured(
    trained: tuple[Path, dict[str, object]], data: Examples
) -> None:
    from albert_edge.modeling import load_keras
    from albert_edge.tokenizer import load_tokenizer

    folder, _ = trained
    model, tokenizer = load_keras(folder), load_tokenizer(folder)
    assert model.config.labels == data.labels
    for inputs, expected in zip(data.inputs[:20], data.class_indices(), strict=False):
        logits = model({"input_ids": [tokenizer.encode(inputs["text"]).input_ids]})[
            "logits"
        ].numpy()
        assert logits.argmax() == expected


def test_same_seed_same_weights(start: Checkpoint, data: Examples) -> None:
    def weights(seed: int) -> dict[str, np.ndarray]:
        options = dataclasses.replace(SHORT, seed=seed, sampling=0.3)
        (result,) = finetune(start, ClassificationObjective(data), options=options)
        return dict(result.checkpoint.tensors)

    one, two = weights(1), weights(1)
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not np.array_equal(one["classifier/kernel"], start.tensors["classifier/kernel"])


def test_an_interrupted_run_leaves_its_last_epoch_to_go_on_from(
    toy_table: Path, toy_shape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from albert_edge.training import finetune_files as module

    def pulled(*args: object, **kwargs: object) -> object:
        yield from islice(finetune(*args, **kwargs), 25)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "finetune", pulled)
    with pytest.raises(KeyboardInterrupt):
        finetune_files(toy_table, tmp_path / "cut", config=toy_shape, options=FAST)
    monkeypatch.undo()
    report = finetune_files(
        toy_table,
        tmp_path / "more",
        source=str(tmp_path / "cut"),
        options=dataclasses.replace(SHORT, learning_rate=1e-4),
    )
    assert report["epochs"][0]["accuracy"] > 0.9
    assert report["dev_accuracy"] is None


def test_a_new_head_keeps_the_encoder(start: Checkpoint) -> None:
    other = with_new_head(start, ("a", "b", "c"), seed=0)
    assert other.config.labels == ("a", "b", "c")
    assert other.tensors["classifier/kernel"].shape == (16, 3)
    for name, values in start.tensors.items():
        if not name.startswith("classifier/"):
            assert np.array_equal(other.tensors[name], values)
    assert with_new_head(start, start.config.labels, seed=0) is start
    with_exits = with_new_head(start, start.config.labels, seed=0, changes={"early_exit": True})
    head, exits = (with_exits.tensors[f"{name}/kernel"] for name in ("classifier", "exits"))
    assert start.config.num_hidden_layers == 2  # so there is one exit, which begins as the head
    np.testing.assert_array_equal(exits, head)


def test_needs_a_tokenizer(start: Checkpoint) -> None:
    with pytest.raises(TrainingError, match="has no tokenizer"):
        with_new_head(dataclasses.replace(start, tokenizer_files={}), ("a", "b"), seed=0)


def test_soft_targets_outweigh_the_classes(start: Checkpoint, data: Examples) -> None:
    turned = np.eye(2, dtype=np.float32)[1 - data.class_indices()]
    objective = ClassificationObjective(data, turned)
    *_, last = finetune(start, objective, dev=data, options=FAST)
    assert last.dev_accuracy == 0.0


def test_needs_every_class(start: Checkpoint, data: Examples) -> None:
    one_sided = dataclasses.replace(data, targets=["positive"] * len(data))
    with pytest.raises(TrainingError, match="no example has label negative"):
        next(finetune(start, ClassificationObjective(one_sided), options=SHORT))


def test_needs_the_same_labels(start: Checkpoint, data: Examples) -> None:
    labels = ("no", "yes")
    renamed = dataclasses.replace(
        data, labels=labels, targets=[labels[index] for index in data.class_indices()]
    )
    with pytest.raises(TrainingError, match="expected classification with labels no, yes"):
        next(finetune(start, ClassificationObjective(renamed), options=SHORT))
    with pytest.raises(TrainingError, match="the dev texts have labels no, yes"):
        next(finetune(start, ClassificationObjective(data), dev=renamed, options=SHORT))


def test_texts_fit_the_positions(start: Checkpoint, data: Examples) -> None:
    with pytest.raises(TrainingError, match="max_length must be at most 32, not 33"):
        next(
            finetune(
                start,
                ClassificationObjective(data),
                options=dataclasses.replace(SHORT, max_length=33),
            )
        )


def test_a_diverging_run_stops(start: Checkpoint, data: Examples) -> None:
    broken = {**start.tensors, "pooler/bias": np.full(16, np.nan, np.float32)}
    with pytest.raises(TrainingError, match="the loss became nan at a learning rate of"):
        next(
            finetune(
                dataclasses.replace(start, tensors=broken),
                ClassificationObjective(data),
                options=SHORT,
            )
        )


def test_finds_out_before_training_that_it_cannot_write(
    trained: tuple[Path, dict[str, object]], toy_table: Path, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match="give --force"):
        finetune_files(toy_table, trained[0], options=SHORT)
    with pytest.raises(OutputError, match="is a file; name a directory"):
        finetune_files(toy_table, toy_table, options=SHORT)
    with pytest.raises(OutputError, match="does not exist; create it first"):
        finetune_files(toy_table, tmp_path / "no" / "where", options=SHORT)
