"""From text files to a checkpoint, or to one clear error before anything is written."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert_edge.checkpoints import read_checkpoint, write_checkpoint
from albert_edge.errors import AlbertEdgeError
from albert_edge.modeling import from_checkpoint
from albert_edge.training.pretraining.masking import Cursor, PretrainBatches
from albert_edge.training.pretraining.pretrain_files import pretrain_files
from language import SHAPE, documents, fresh, words
from training.pretraining.conftest import OPTIONS, Project


def test_the_report(project: Project, whole: tuple[Path, dict[str, Any]]) -> None:
    output, report = whole
    assert json.loads(json.dumps(report)) == report
    tokens = 60 * 6 * 3
    expected = {
        "output": str(output),
        "parameters": sum(tensor.size for tensor in read_checkpoint(output).tensors.values()),
        "drawn": [],
        "documents": 60,
        "tokens": tokens,
        "steps": 60,
        "epochs": round(60 * 8 * 24 / tokens, 2),
        "options": dataclasses.asdict(OPTIONS),
        "workers": 1,
        "resumed": False,
        "warnings": [],
    }
    assert {name: report[name] for name in expected} == expected
    assert report.keys() == expected.keys() | {"curve", "duration_s"}


def test_a_training_that_diverges_says_so(project: Project, tmp_path: Path) -> None:
    options = dataclasses.replace(OPTIONS, steps=10, learning_rate=2.0, warm_up=0.1)
    report = project.train(tmp_path / "new", options=options)
    loss = report["curve"][-1]["train"]["loss"]
    guessing = np.log(words().vocab_size) + np.log(2)
    assert loss > 1.1 * guessing
    assert report["warnings"] == [
        (
            f"the training diverged: its loss is {loss:.3g} at the end; that of guessing is "
            f"{guessing:.3g}."
        ),
        "train again with a lower learning rate; it was 2.",
    ]


def test_what_is_written_is_what_was_examined(whole: tuple[Path, dict[str, Any]]) -> None:
    output, report = whole
    model = from_checkpoint(read_checkpoint(output))
    held_out = PretrainBatches(documents(20, seed=1), words(), batch_size=8, max_length=24, seed=1)
    right = []
    for _, (_, batch) in zip(range(held_out.count()), held_out.after(Cursor()), strict=False):
        said = model(
            {name: batch[name] for name in ("input_ids", "token_type_ids", "attention_mask")}
        )
        right += (said["sop_logits"].numpy().argmax(axis=-1) == batch["order"]).tolist()
    assert report["curve"][-1]["held_out"]["sop_accuracy"] == pytest.approx(
        np.mean(right), abs=1e-5
    )


def test_a_checkpoint_without_the_heads_gets_random_ones(project: Project, tmp_path: Path) -> None:
    encoder = dataclasses.replace(
        fresh(),
        task="feature-extraction",
        tensors={
            name: tensor
            for name, tensor in fresh().tensors.items()
            if name.startswith(("embeddings/", "encoder/", "pooler/"))
        },
    )
    write_checkpoint(tmp_path / "encoder", encoder)
    report = project.train(
        tmp_path / "new",
        source=str(tmp_path / "encoder"),
        config=None,
        tokenizer=None,
        dev=[],
        options=dataclasses.replace(OPTIONS, steps=1, learning_rate=1e-9, optimizer="adamw"),
    )
    made = read_checkpoint(tmp_path / "new").tensors
    assert set(report["drawn"]) == made.keys() - encoder.tensors.keys()
    for name, tensor in encoder.tensors.items():
        # A step of 1e-9 is nothing to what it starts from.
        np.testing.assert_allclose(made[name], tensor, atol=1e-6)


def _shape(folder: Path, **changes: int) -> Path:
    path = folder / "other.json"
    path.write_text(json.dumps({"model_type": "albert", **SHAPE, **changes}))
    return path


def _text(folder: Path, content: str) -> Path:
    path = folder / "other.txt"
    path.write_text(content)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": [Path("nowhere.txt")]}, r"cannot read nowhere.txt: No such file"),
        ({"dev": [Path("nowhere.txt")]}, r"cannot read nowhere.txt: No such file"),
        ({"config": Path("nowhere.json")}, r"nowhere.json"),
        ({"tokenizer": Path("nowhere")}, r"nowhere"),
        ({"source": "nowhere", "config": None, "tokenizer": None}, r"'nowhere' is not a dir"),
        ({"source": "nowhere", "tokenizer": None}, "--from sets the configuration"),
        ({"source": "nowhere", "config": None}, "--from sets the configuration"),
        (
            {"source": "nowhere", "config": None, "tokenizer": None, "cooccurrence": True},
            "leave out .*--cooccurrence",
        ),
        (
            {"options": dataclasses.replace(OPTIONS, batch_size=256)},
            "the texts do not fill one batch of 256 pairs of 24 tokens; give more text or a",
        ),
        (
            {"options": dataclasses.replace(OPTIONS, batch_size=32)},
            "the held-out texts do not fill one batch of 32 pairs of 24 tokens",
        ),
        (
            {"options": dataclasses.replace(OPTIONS, max_length=40)},
            "max_length must be at most 32, not 40",
        ),
        ({"resume": True}, "training.npz does not exist; there is no training to resume"),
        (
            {"resume": True, "force": True},
            "give --resume to continue a training or --force to restart it, not both",
        ),
    ],
)
def test_a_mistake_is_found_before_anything_is_written(
    changes: dict[str, Any],
    message: str,
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AlbertEdgeError, match=message):
        project.train(tmp_path / "model", **changes)
    assert list(tmp_path.iterdir()) == []


def test_a_shape_or_text_that_does_not_fit_is_named(project: Project, tmp_path: Path) -> None:
    for changes, message in (
        ({"config": _shape(tmp_path, vocab_size=12)}, "has 19 pieces, the model 12; raise vocab_s"),
        (
            {"config": _shape(tmp_path, vocab_size=12), "tokenizer": None},
            "cannot train a vocabulary of 12 pieces",
        ),
        ({"texts": [_text(tmp_path, "One.\n\nTwo.")]}, "other.txt holds no document of two"),
        ({"dev": [_text(tmp_path, "One.\n\nTwo.")]}, "other.txt holds no document of two"),
    ):
        with pytest.raises(AlbertEdgeError, match=message):
            project.train(tmp_path / "model", **changes)
        assert not (tmp_path / "model").exists()


def test_an_output_is_kept_without_force(
    project: Project, whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    output, _ = whole
    with pytest.raises(AlbertEdgeError, match=r"config.json exists; give --force to replace it"):
        project.train(output)
    with pytest.raises(AlbertEdgeError, match="no training to resume"):  # it is done
        project.train(output, resume=True)
    with pytest.raises(AlbertEdgeError, match=r"directory .*none does not exist"):
        project.train(tmp_path / "none" / "model")
    (tmp_path / "file").write_text("")
    with pytest.raises(AlbertEdgeError, match="is a file; name a directory"):
        project.train(tmp_path / "file")


def test_words_that_keep_the_same_company_start_close_together(
    project: Project, tmp_path: Path
) -> None:
    project.train(
        tmp_path / "model",
        cooccurrence=True,
        dev=[],
        options=dataclasses.replace(OPTIONS, steps=1, learning_rate=1e-9, optimizer="adamw"),
    )
    table = read_checkpoint(tmp_path / "model").tensors["embeddings/word_embeddings"]
    assert not np.allclose(table, fresh().tensors["embeddings/word_embeddings"], atol=1e-6)
    pieces = words()
    ids = {word: pieces.encode(word).input_ids[1] for word in ("one", "six", "lake", "moor")}
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    # Every number stands beside every topic; no topic beside another.
    assert unit[ids["one"]] @ unit[ids["six"]] > unit[ids["lake"]] @ unit[ids["moor"]]


def test_without_tensorflow_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from albert_edge.errors import MissingExtraError\n"
        "try: import albert_edge.training.pretraining.pretrain_files\n"
        "except MissingExtraError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'albert_edge[train]'" in done.stdout


def test_no_console_shows_nothing(whole: object, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AlbertEdgeError):
        pretrain_files([Path("nowhere.txt")], Path("nowhere"))
    assert capfd.readouterr() == ("", "")
