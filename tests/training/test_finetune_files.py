"""What fine-tuning may start from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from albert_edge.checkpoints import read_checkpoint, write_checkpoint
from albert_edge.config import AlbertConfig
from albert_edge.datasets.examples import read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import TrainingError
from albert_edge.training.finetune_files import BestCheckpoint, finetune_files
from albert_edge.training.init import init_from_scratch
from albert_edge.training.options import FinetuneOptions
from training.samples import OPTIONS

SHORT = FinetuneOptions(epochs=1, batch_tokens=256, max_length=32)


@pytest.fixture
def source(toy_table: Path, toy_shape: Path, tmp_path: Path) -> str:
    """A checkpoint with the labels a and b."""
    examples = read_examples(toy_table, "classification", None, EvaluateOptions())
    texts = [inputs["text"] for inputs in examples.inputs]
    checkpoint = init_from_scratch(AlbertConfig.read(toy_shape), texts, ("a", "b"), seed=1)
    write_checkpoint(tmp_path / "ab", checkpoint)
    return str(tmp_path / "ab")


def test_a_random_head_has_to_be_asked_for(source: str, toy_table: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"into 0, 1; it is for classification .*--init-head"):
        finetune_files(toy_table, tmp_path / "new", source=source, options=SHORT)
    assert not (tmp_path / "new").exists()
    finetune_files(toy_table, tmp_path / "new", source=source, init_head=True, options=SHORT)
    assert read_checkpoint(tmp_path / "new").config.labels == ("0", "1")
    finetune_files(toy_table, tmp_path / "same", source=source, labels=("a", "b"), options=SHORT)
    kernels = [read_checkpoint(f).tensors["classifier/kernel"] for f in (source, tmp_path / "same")]
    assert not np.array_equal(*kernels)


def test_a_head_for_another_problem_is_refused(
    source: str, toy_table: Path, tmp_path: Path
) -> None:
    path = Path(source) / "config.json"
    values = {**json.loads(path.read_text()), "problem_type": "multi_label_classification"}
    path.write_text(json.dumps(values))
    with pytest.raises(TrainingError, match="has no head that classifies into a, b"):
        finetune_files(
            toy_table,
            tmp_path / "new",
            source=source,
            task="classification",
            labels=("a", "b"),
            options=SHORT,
        )


def test_the_best_epoch_is_kept(toy_table: Path, toy_shape: Path, tmp_path: Path) -> None:
    report = finetune_files(
        toy_table,
        tmp_path / "model",
        config=toy_shape,
        dev=toy_table,
        options=OPTIONS,
        selection=BestCheckpoint(keep="best", patience_epochs=3),
    )
    scores = [epoch["dev_score"] for epoch in report["epochs"]]
    assert report["kept_epoch"] == 1 + scores.index(max(scores))
    assert len(scores) == report["kept_epoch"] + 3 < OPTIONS.epochs
    with pytest.raises(TrainingError, match="needs --dev"):
        finetune_files(
            toy_table, tmp_path / "other", config=toy_shape, selection=BestCheckpoint(keep="best")
        )
