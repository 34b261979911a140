"""Which head is meant: found in the tensors, asked for when it cannot be told, never made up."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from albert_edge.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from albert_edge.checkpoints.init import init_model
from albert_edge.checkpoints.match import choose_task, reject_beam_search
from albert_edge.checkpoints.tensor_names import head_names
from albert_edge.config import AlbertConfig
from albert_edge.errors import CheckpointError
from albert_edge.tasks import TASKS

PARITY = Path(__file__).parents[1] / "data" / "parity"
STORED_NAMES = {t.name: t.huggingface for task in TASKS for t in head_names(AlbertConfig(), task)}


def tensors_of(*tasks: str) -> set[str]:
    return {tensor.name for task in tasks for tensor in head_names(AlbertConfig(), task)}


@pytest.fixture
def copy(tmp_path: Path) -> Callable[..., Path]:
    """A function that copies a parity directory, less some tensors, with others beside."""

    def make(name: str, *, without: str = "?", **more: np.ndarray) -> Path:
        folder = Path(shutil.copytree(PARITY / name, tmp_path / name))
        tensors = load_file(folder / "model.safetensors")
        kept = {key: values for key, values in tensors.items() if without not in key}
        save_file({**kept, **more}, folder / "model.safetensors")
        return folder

    return make


def name_architectures(folder: Path, *names: str) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "architectures": list(names)}))


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        ((), "feature-extraction"),
        (("feature-extraction",), "feature-extraction"),
        (("question-answering",), "question-answering"),
        (("token-classification",), "token-classification"),
        (("fill-mask",), "fill-mask"),
        (("fill-mask", "feature-extraction"), "fill-mask"),  # as albert-base-v2 is published
        (("sentence-order",), "sentence-order"),
        (("summarization",), "summarization"),
        (("summarization", "feature-extraction"), "summarization"),
        (("fill-mask", "sentence-order"), "pretraining"),
    ],
)
def test_auto_takes_the_head_that_there_is(heads: tuple[str, ...], expected: str) -> None:
    assert (
        choose_task(tensors_of(*heads), "auto", stored_names=STORED_NAMES, where="it") == expected
    )


@pytest.mark.parametrize("task", ["classification", "token-classification"])
def test_a_classifier_with_a_pooler_is_what_its_class_says(task: str) -> None:
    present = tensors_of("classification")
    named = [TASKS[task].architecture]
    assert (
        choose_task(present, "auto", stored_names=STORED_NAMES, architectures=named, where="it")
        == task
    )
    with pytest.raises(CheckpointError, match="it has heads for classification and token-class"):
        choose_task(present, "auto", stored_names=STORED_NAMES, where="it")


def test_two_heads_are_not_chosen_between() -> None:
    present = tensors_of("question-answering", "fill-mask")
    named = [TASKS["fill-mask"].architecture]
    with pytest.raises(CheckpointError, match="heads for question-answering and fill-mask"):
        choose_task(present, "auto", stored_names=STORED_NAMES, architectures=named, where="it")


@pytest.mark.parametrize("task", [*TASKS][1:])
def test_a_head_that_is_lacking_needs_to_be_asked_for(task: str) -> None:
    source = PARITY / "gelu_features"
    with pytest.raises(CheckpointError, match=rf"no head for {task} .*--init-head"):
        read_checkpoint(source, task=task)
    first, again = (read_checkpoint(source, task=task, init_head=True) for _ in range(2))
    expected = {tensor.name for tensor in head_names(first.config, task)}
    assert set(first.randomly_initialized) == expected - {"pooler/kernel", "pooler/bias"}
    assert first.tensors.keys() == again.tensors.keys()
    assert all(np.array_equal(again.tensors[k], v) for k, v in first.tensors.items())


def test_a_head_that_is_there_is_never_drawn() -> None:
    source = PARITY / "base_classification"
    assert read_checkpoint(source, init_head=True).randomly_initialized == ()
    plain = read_checkpoint(PARITY / "no_pooler_features", init_head=True)
    assert (plain.task, plain.randomly_initialized) == ("feature-extraction", ())


def test_a_damaged_head_is_not_mended_by_chance(copy: Callable[..., Path]) -> None:
    folder = copy("base_classification", without="classifier.bias")
    with pytest.raises(CheckpointError, match=r"classifier\.bias \[3\] is missing"):
        read_checkpoint(folder, init_head=True)


def test_order_alone_is_written_and_read(copy: Callable[..., Path], tmp_path: Path) -> None:
    folder = copy("square_pretraining", without="predictions")
    checkpoint = read_checkpoint(folder)
    assert checkpoint.task == "sentence-order"
    write_checkpoint(tmp_path / "again", checkpoint)
    again = read_checkpoint(tmp_path / "again")
    assert again.task == "sentence-order"
    assert all(np.array_equal(again.tensors[k], v) for k, v in checkpoint.tensors.items())


@pytest.mark.parametrize("to", ["huggingface", "tensorflow1", "keras"])
def test_a_scorer_of_sentences_is_written_and_read(tmp_path: Path, to: str) -> None:
    made = read_checkpoint(PARITY / "pretraining_features", task="summarization", init_head=True)
    assert set(made.randomly_initialized) == {"sentence_scorer/kernel", "sentence_scorer/bias"}
    write_checkpoint(tmp_path / "again", made, to=to)
    again = read_checkpoint(tmp_path / "again")
    assert again.task == "summarization"
    assert again.tensors.keys() == made.tensors.keys()
    assert all(np.array_equal(again.tensors[k], v) for k, v in made.tensors.items())
    # Without the head it is still the encoder.
    assert read_checkpoint(tmp_path / "again", task="feature-extraction", init_head=True)


def test_tags_with_a_pooler(copy: Callable[..., Path]) -> None:
    pooler = {
        "albert.pooler.weight": np.zeros((24, 24), np.float32),
        "albert.pooler.bias": np.zeros(24, np.float32),
    }
    folder = copy("groups_of_two_tags", **pooler)
    checkpoint = read_checkpoint(folder)
    assert checkpoint.task == "token-classification"
    assert checkpoint.unused == ("albert.pooler.bias", "albert.pooler.weight")
    name_architectures(folder)
    with pytest.raises(CheckpointError, match="choose the task"):
        read_checkpoint(folder)


def test_an_untied_decoder_is_refused(copy: Callable[..., Path]) -> None:
    other = {"predictions.decoder.weight": np.ones((40, 16), np.float32)}
    folder = copy("gelu_masks", **other)
    with pytest.raises(CheckpointError, match=r"decoder\.weight \[40, 16\] differs from the table"):
        read_checkpoint(folder)
    assert read_checkpoint(folder, task="feature-extraction").task == "feature-extraction"


@pytest.mark.parametrize("task", ["auto", "question-answering"])
def test_the_beam_search_head_is_refused_by_name(task: str) -> None:
    names = ["bert/pooler/dense/bias", "end_logits/dense_0/kernel", "start_logits/dense/kernel"]
    with pytest.raises(CheckpointError, match="beam-search head of Google's run_squad_v2"):
        reject_beam_search(names, task, where="model.ckpt-best")
    reject_beam_search(names, "feature-extraction", where="model.ckpt-best")


CLASSIFIER = Path(__file__).parents[1] / "data" / "parity" / "base_classification"


@pytest.fixture
def checkpoint() -> Checkpoint:
    """A trained classifier with exits drawn at random."""
    plain = read_checkpoint(CLASSIFIER)
    config = dataclasses.replace(plain.config, early_exit=True)
    drawn = init_model(config, "classification")
    return dataclasses.replace(plain, config=config, tensors={**drawn, **plain.tensors})


def edit_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("form", ["huggingface", "keras"])
def test_exits_are_written_and_read(checkpoint: Checkpoint, tmp_path: Path, form: str) -> None:
    write_checkpoint(tmp_path / "copy", checkpoint, to=form)
    again = read_checkpoint(tmp_path / "copy")
    assert again.config == checkpoint.config
    assert again.tensors.keys() == checkpoint.tensors.keys()
    assert all(np.array_equal(again.tensors[k], v) for k, v in checkpoint.tensors.items())


def test_to_others_it_is_an_ordinary_checkpoint_and_two_tensors(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path / "copy", checkpoint)
    stored, plain = (load_file(d / "model.safetensors") for d in (tmp_path / "copy", CLASSIFIER))
    passes, labels = checkpoint.config.num_hidden_layers, checkpoint.config.num_labels
    early = (passes - 1) * labels
    assert stored.pop("exits.weight").shape == (early, checkpoint.config.hidden_size)
    assert stored.pop("exits.bias").shape == (early,)
    assert stored.keys() == plain.keys()
    assert all(np.array_equal(stored[name], values) for name, values in plain.items())


def test_without_early_exit_or_for_another_task_they_are_left_out(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    write_checkpoint(folder, checkpoint)
    features = read_checkpoint(folder, task="feature-extraction")
    assert not features.config.early_exit
    assert {"exits.weight", "exits.bias"} <= set(features.unused)
    edit_config(folder, early_exit=False)
    plain = read_checkpoint(folder)
    assert plain.unused == ("exits.bias", "exits.weight")
    assert plain.tensors.keys() == checkpoint.tensors.keys() - {"exits/kernel", "exits/bias"}


def test_exits_that_lack_are_drawn_on_request_only(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(CLASSIFIER, tmp_path / "copy"))
    edit_config(folder, early_exit=True)
    with pytest.raises(CheckpointError, match=r"exits\.weight \[.*\] is missing"):
        read_checkpoint(folder)
    drawn = read_checkpoint(folder, init_head=True)
    assert drawn.randomly_initialized == ("exits/kernel", "exits/bias")
    trained = read_checkpoint(CLASSIFIER).tensors["classifier/kernel"]
    np.testing.assert_array_equal(drawn.tensors["classifier/kernel"], trained)
    tensors = load_file(folder / "model.safetensors")
    passes, labels = drawn.config.num_hidden_layers, drawn.config.num_labels
    tensors["exits.bias"] = np.zeros((passes - 1) * labels, np.float32)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"exits\.weight \[.*\] is missing"):
        read_checkpoint(folder, init_head=True)  # damage is not mended by chance


def test_googles_format_has_no_place_for_them(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no name for exits/kernel, exits/bias; write anoth"):
        write_checkpoint(tmp_path / "copy", checkpoint, to="tensorflow1")
    plain = read_checkpoint(CLASSIFIER)
    write_checkpoint(tmp_path / "google", plain, to="tensorflow1")
    path = tmp_path / "google" / "albert_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "early_exit": True}))
    with pytest.raises(CheckpointError, match="has no early_exit; remove it"):
        read_checkpoint(tmp_path / "google")


def test_a_head_of_other_layers_is_refused(copy: Callable[..., Path]) -> None:
    """As RoBERTa's: what config.json names is there, and is not what its class has."""
    layers = {
        f"classifier.{layer}.{part}": np.zeros(shape, np.float32)
        for layer in ("dense", "out_proj")
        for part, shape in (("weight", (24, 24)), ("bias", (24,)))
    }
    folder = copy("base_classification", without="classifier", **layers)
    message = r"names AlbertForSequenceClassification, whose head .* it has classifier\.dense\.bias"
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(folder)
    encoder = read_checkpoint(folder, task="feature-extraction")
    assert set(layers) <= set(encoder.unused)


def test_other_layers_beside_a_head_are_refused(copy: Callable[..., Path]) -> None:
    folder = copy("base_classification", **{"classifier.dense.bias": np.zeros(3, np.float32)})
    for task in ("auto", "classification"):
        with pytest.raises(CheckpointError, match=r"classifier\.dense\.bias \[3\] is unexpected"):
            read_checkpoint(folder, task=task)


def test_a_head_that_is_named_and_lacks_is_noted(copy: Callable[..., Path]) -> None:
    folder = copy("base_classification", without="classifier")
    found = read_checkpoint(folder)
    assert found.task == "feature-extraction"
    (note,) = found.notes
    assert note == (
        "the configuration names AlbertForSequenceClassification, and the weights have no head"
    )


@pytest.mark.parametrize("named", ["AlbertModel", "AlbertForMaskedLM", "MyAlbert"])
def test_a_head_of_another_class_is_noted(copy: Callable[..., Path], named: str) -> None:
    folder = copy("odd_one_type_answers")
    assert read_checkpoint(folder).notes == ()
    name_architectures(folder, named)
    assert read_checkpoint(folder).notes == (
        f"the configuration names {named}, and the weights have a head for question-answering",
    )
    assert read_checkpoint(folder, task="question-answering").notes == ()


def test_multiple_choice_is_refused(copy: Callable[..., Path]) -> None:
    folder = copy("base_classification", without="classifier")
    tensors = load_file(folder / "model.safetensors")
    head = {"classifier.weight": np.zeros((1, 24), np.float32)}
    head["classifier.bias"] = np.zeros(1, np.float32)
    save_file({**tensors, **head}, folder / "model.safetensors")
    name_architectures(folder, "AlbertForMultipleChoice")
    config = folder / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps({k: v for k, v in values.items() if "2" not in k}))
    with pytest.raises(CheckpointError, match=r"has heads for|scores choices, which is not supp"):
        read_checkpoint(folder)
