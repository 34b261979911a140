"""From files to files: what is reported, what is refused, and what an interruption leaves."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert_edge.bundle.bundle import model_bytes
from albert_edge.checkpoints import read_checkpoint, write_checkpoint
from albert_edge.datasets.examples import Examples, read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import (
    AlbertEdgeError,
    CheckpointError,
    InputError,
    OutputError,
    TrainingError,
)
from albert_edge.evaluation.intervals import paired_interval, wilson
from albert_edge.modeling import load_keras
from albert_edge.training.compression import compress as module
from albert_edge.training.compression.compress import (
    _accuracy_change,
    _agreement,
    _difference_change,
    _quality,
    _sizes,
    compress_files,
)
from albert_edge.training.compression.methods import OPTIONS, Cluster, Method, Narrow, Prune, Qat
from albert_edge.training.state import StateWriter, open_state

FAST = dataclasses.replace(
    OPTIONS, epochs=2, batch_tokens=128, learning_rate=3e-3, max_length=32, averaging=0.9
)


def compress(model: Path, table: Path, output: Path, **options: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {"method": Prune(), "options": FAST}
    return compress_files(str(model), table, output, **{**defaults, **options})


class PluggedOutError(Exception):
    """The plug was pulled."""


class Pull:
    """Progress that stops after some steps."""

    def __init__(self, steps: int, error: type[BaseException] = PluggedOutError) -> None:
        self.left, self.error = steps, error

    def __call__(self, *_: Any) -> None:
        self.left -= 1
        if not self.left:
            raise self.error


@pytest.mark.parametrize(
    ("method", "steps", "epoch"),
    [
        (Prune(), 3, 0),
        (Cluster(clusters=8), 14, 1),
        (Qat(), 14, 1),
        (Qat(quantize="int4"), 3, 0),
        (Narrow(heads="1", ffn_channels="50%"), 14, 1),
    ],
)
def test_a_resumed_training_ends_as_one_that_was_not_interrupted(
    method: Method,
    steps: int,
    epoch: int,
    whole: Any,
    toy_model: Path,
    toy_table: Path,
    tmp_path: Path,
) -> None:
    start = read_checkpoint(toy_model)
    data = read_examples(toy_table, "classification", start.config.labels, EvaluateOptions())
    writer = StateWriter(tmp_path / "state", "it", every_s=0.0)
    with pytest.raises(PluggedOutError):
        list(
            module.compress(
                start, data, method=method, options=FAST, writer=writer, progress=Pull(steps)
            )
        )
    saved = open_state(tmp_path / "state", owner="it", resume=True)
    assert saved.epoch == epoch
    *_, last = module.compress(start, data, method=method, options=FAST, saved=saved)
    expected = whole(method)
    assert last.loss == expected.loss
    for name, values in expected.checkpoint.tensors.items():
        assert np.array_equal(values, last.checkpoint.tensors[name]), name


@pytest.fixture(scope="module")
def whole(toy_model: Path, toy_table: Path) -> Any:
    """A function that compresses without an interruption, and returns the last epoch."""

    @cache
    def make(method: Method) -> Any:
        start = read_checkpoint(toy_model)
        data = read_examples(toy_table, "classification", start.config.labels, EvaluateOptions())
        *_, last = module.compress(start, data, method=method, options=FAST)
        return last

    return make


def test_from_an_interruption_to_the_report(
    toy_model: Path, toy_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        module, "epoch_progress", lambda *_, **__: nullcontext(Pull(4, KeyboardInterrupt))
    )
    with pytest.raises(KeyboardInterrupt):
        compress(toy_model, toy_table, tmp_path / "new", save_every_s=0.0)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["new.training"]
    with pytest.raises(TrainingError, match="of a training with other data, options or weights"):
        compress(toy_model, toy_table, tmp_path / "new", resume=True, method=Prune(sparsity=0.6))
    report = compress(toy_model, toy_table, tmp_path / "new", dev=toy_table, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert (report["method"], report["sparsity"], report["resumed"]) == ("prune", 0.5, True)
    assert report["accuracy"] == {"before": 1.0, "after": 1.0}
    old, new = report["int8"]["before"], report["int8"]["after"]
    assert old["size_bytes"] == new["size_bytes"]
    assert new["zip_bytes"] < old["zip_bytes"] < old["size_bytes"]
    assert report["zip_share"] == pytest.approx(new["zip_bytes"] / old["size_bytes"], abs=1e-4)
    assert new["accuracy"] == report["agreement"] == 1.0
    low, high = report["change"]["interval"]
    assert low < report["change"]["value"] == 0.0 < high
    assert {matrix["sparsity"] for matrix in report["tensors"].values()} == {0.5}
    json.dumps(report)
    changes = load_keras(tmp_path / "new").provenance["changes"]
    assert changes["prune"]["sparsity"] == 0.5
    assert changes["prune"]["source"] == "toy"


def test_what_was_done_before_is_kept_in_mind(
    whole: Any, toy_model: Path, toy_table: Path, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path / "one", whole(Prune()).checkpoint)
    start = read_checkpoint(tmp_path / "one")
    data = read_examples(toy_table, "classification", start.config.labels, EvaluateOptions())
    *_, last = module.compress(start, data, method=Cluster(clusters=16), options=FAST)
    assert set(last.checkpoint.changes) == {"cluster", "prune"}
    assert last.checkpoint.config == read_checkpoint(toy_model).config  # dropouts too


def test_a_damaged_configuration_is_refused(toy_model: Path, tmp_path: Path) -> None:
    for path in toy_model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    for ours in ({"changes": [1]}, {"changes": {"prune": 1}}, "x"):
        (tmp_path / "config.json").write_text(json.dumps({**config, "albert_edge": ours}))
        with pytest.raises(CheckpointError, match="albert_edge must have changes"):
            read_checkpoint(tmp_path)


def test_what_is_in_the_way(toy_model: Path, toy_table: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="give --force"):
        compress(toy_model, toy_table, toy_model)
    state = tmp_path / "new.training"
    state.write_bytes(b"PK but no archive")
    with pytest.raises(OutputError, match="give --resume to continue it, or --force to discard it"):
        compress(toy_model, toy_table, tmp_path / "new")
    with pytest.raises(TrainingError, match="is damaged; restart with --force"):
        compress(toy_model, toy_table, tmp_path / "new", resume=True)
    with pytest.raises(
        TrainingError,
        match="give --resume to continue a training or --force to restart it, not both",
    ):
        compress(toy_model, toy_table, tmp_path / "new", resume=True, force=True)
    state.unlink()
    with pytest.raises(TrainingError, match="there is no training to resume"):
        compress(toy_model, toy_table, tmp_path / "new", resume=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("rows", "kind", "message"),
    [
        ("", InputError, "no examples|no rows|empty"),
        ("a fine film\tpositive\n", TrainingError, "no example has label negative"),
        ("a fine film\tsplendid\n", InputError, "label 'splendid' is none of negative, positive"),
    ],
)
def test_texts_that_cannot_teach(
    rows: str,
    kind: type[AlbertEdgeError],
    message: str,
    toy_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(module, "distill")  # nothing is trained, nor answered
    (tmp_path / "data.tsv").write_text("text\tlabel\n" + rows)
    with pytest.raises(kind, match=message):
        compress(toy_model, tmp_path / "data.tsv", tmp_path / "new")


def test_models_that_cannot_be_taught(toy_model: Path, toy_table: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="has no tokenizer"):
        compress(Path("albert-base-v2"), toy_table, tmp_path / "new")
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in toy_model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    config["problem_type"] = "multi_label_classification"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(TrainingError, match="is for multi-label; this trains one"):
        compress(folder, toy_table, tmp_path / "new")
    with pytest.raises(TrainingError, match=r"distilled targets must be in \[0, 1\], not 1.5"):
        compress(toy_model, toy_table, tmp_path / "new", share=1.5)


DEV = Examples(
    kind="classification",
    ids=list("0123"),
    places=list("0123"),
    inputs=[{"text": "a"}] * 4,
    targets=["no", "yes", "yes", "no"],
    labels=("no", "yes"),
)
SOURCE = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])  # right, right, wrong, right
OTHER = np.array([[0.4, 0.6], [0.1, 0.9], [0.3, 0.7], [0.7, 0.3]])  # wrong, right, right, right


def test_the_quality_of_a_file() -> None:
    found = _quality(OTHER, SOURCE, DEV)
    assert found["accuracy"] == 0.75
    assert found["interval"] == [round(bound, 4) for bound in wilson(3, 4)]
    assert found["source_agreement"] == 0.5
    assert found["source_difference"] == pytest.approx((0.5 + 0.1 + 0.3 + 0) / 4)


def test_changes_are_of_the_same_texts() -> None:
    assert _accuracy_change(SOURCE, OTHER, DEV) == {
        "value": 0.0,
        "interval": [round(bound, 4) for bound in paired_interval(1, 1, 4)],
    }
    assert _agreement(SOURCE, OTHER) == 0.5
    found: Any = _difference_change(SOURCE, OTHER, SOURCE)
    changes = np.array([0.5, 0.1, 0.3, 0.0])
    assert found["value"] == pytest.approx(changes.mean())
    half = 1.96 * changes.std() / 2
    assert found["interval"] == pytest.approx(
        [changes.mean() - half, changes.mean() + half], abs=1e-5
    )


def test_without_a_dev_set_nothing_is_known() -> None:
    assert set(_quality(None, None, None).values()) == {None}
    assert _accuracy_change(None, None, None) is None
    assert _difference_change(None, None, None) is None
    assert _agreement(SOURCE, None) is None


def test_sizes_are_of_the_model_alone(tiny_tflite: Callable[..., bytes]) -> None:
    blob = tiny_tflite("classification")
    found = _sizes(blob)
    assert found["size_bytes"] == len(model_bytes(blob)) < len(blob)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("model.tflite", model_bytes(blob))
    assert found["zip_bytes"] == len(packed.getvalue())
    assert found["zip_bytes"] < found["huffman_bytes"] < found["size_bytes"]
