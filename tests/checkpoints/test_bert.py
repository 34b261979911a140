"""BERT, MiniLM and DistilBERT: what is read, what is refused, and that transformers reads it back.

That they compute what torch computes is in `tests/modeling/test_parity.py`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from albert_edge.checkpoints import read_checkpoint, write_checkpoint
from albert_edge.checkpoints.bert import bert_config_values, config_from_bert, describe_sharing
from albert_edge.config import AlbertConfig
from albert_edge.errors import CheckpointError, ConfigError
from albert_edge.tokenizer import tokenizer_from_files

PARITY = Path(__file__).parents[1] / "data" / "bert_parity"
# Directories that transformers wrote as they are; others have old names or a second head.
WRITTEN = (
    *("bert_classification", "bert_features", "bert_without_pooler_features", "bert_tags"),
    *("bert_masks", "distilbert_classification", "distilbert_answers", "distilbert_tags"),
    "distilbert_masks",
)
Change = Callable[[dict[str, np.ndarray], dict[str, Any]], None]


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[str, Change], Path]:
    """A function that copies a directory after a change to its tensors and configuration."""

    def copy(name: str, change: Change) -> Path:
        folder = tmp_path / name
        shutil.copytree(PARITY / name, folder)
        tensors = load_file(folder / "model.safetensors")
        config = json.loads((folder / "config.json").read_text())
        change(tensors, config)
        save_file(tensors, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return copy


def test_a_bert_is_an_albert_with_a_group_a_pass() -> None:
    config = read_checkpoint(PARITY / "bert_classification").config
    assert config.family == "bert"
    assert (config.num_hidden_groups, config.num_hidden_layers) == (3, 3)
    assert config.embedding_size == config.hidden_size
    assert not config.has_projection
    assert config.labels == ("bad", "so-so", "good")
    assert AlbertConfig.from_huggingface(config.to_huggingface()) == config


@pytest.mark.parametrize("name", sorted(path.name for path in PARITY.iterdir()))
def test_the_task_is_that_of_its_head(name: str) -> None:
    expected = {
        "classification": "classification",
        "features": "feature-extraction",
        "answers": "question-answering",
        "tags": "token-classification",
        "masks": "fill-mask",
    }
    assert read_checkpoint(PARITY / name).task == expected[name.rsplit("_", 1)[-1]]


@pytest.mark.parametrize("name", WRITTEN)
def test_writes_what_transformers_wrote(name: str, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(PARITY / name)
    write_checkpoint(tmp_path / "new", checkpoint)
    old, new = (load_file(path / "model.safetensors") for path in (PARITY / name, tmp_path / "new"))
    assert old.keys() == new.keys()
    for tensor in old:
        np.testing.assert_array_equal(old[tensor], new[tensor])
    before = json.loads((PARITY / name / "config.json").read_text())
    after = json.loads((tmp_path / "new/config.json").read_text())
    shared = before.keys() & after.keys() - {"bos_token_id", "eos_token_id"}
    for key in shared - {key for key in shared if before[key] is None}:
        assert after[key] == before[key], key
    assert read_checkpoint(tmp_path / "new").config == checkpoint.config


@pytest.mark.parametrize("name", ["bert_masks", "distilbert_classification"])
def test_keras_weights_keep_all(name: str, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(PARITY / name)
    write_checkpoint(tmp_path / "new", checkpoint, to="keras")
    again = read_checkpoint(tmp_path / "new")
    assert again.config == checkpoint.config
    for tensor, values in checkpoint.tensors.items():
        np.testing.assert_array_equal(again.tensors[tensor], values)


def test_googles_format_cannot_hold_a_bert(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="Google's ALBERT cannot be a bert"):
        write_checkpoint(tmp_path / "new", read_checkpoint(PARITY / "bert_tags"), to="tensorflow1")


def test_every_wrong_tensor_is_named_as_in_the_file(changed: Callable[..., Path]) -> None:
    def change(tensors: dict[str, np.ndarray], config: dict[str, Any]) -> None:
        del tensors["distilbert.transformer.layer.1.attention.q_lin.weight"]
        tensors["distilbert.transformer.layer.2.ffn.lin1.bias"] = np.zeros(5, np.float32)
        tensors["distilbert.transformer.layer.3.ffn.lin1.bias"] = np.zeros(48, np.float32)

    with pytest.raises(CheckpointError) as raised:
        read_checkpoint(changed("distilbert_tags", change))
    for problem in (
        "distilbert.transformer.layer.1.attention.q_lin.weight [24, 24] is missing",
        "distilbert.transformer.layer.2.ffn.lin1.bias has shape [5], expected [48]",
        "distilbert.transformer.layer.3.ffn.lin1.bias [48] is unexpected",
    ):
        assert problem in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"is_decoder": True}, "is_decoder is true; a decoder is not supported"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key'"),
        ({"num_attention_heads": None}, "no num_attention_heads"),
        ({"hidden_act": "silu"}, "hidden_act 'silu' is not one of"),
        ({"num_hidden_layers": 10**5}, "num_hidden_layers must be"),
    ],
)
def test_bad_configurations(
    change: dict[str, Any], message: str, changed: Callable[..., Path]
) -> None:
    with pytest.raises(ConfigError, match=message):
        read_checkpoint(changed("bert_features", lambda _, config: config.update(change)))


def test_a_head_that_is_missing(changed: Callable[..., Path]) -> None:
    folder = changed("distilbert_classification", lambda tensors, _: tensors.pop("classifier.bias"))
    with pytest.raises(CheckpointError, match=r"classifier\.bias \[3\] is missing"):
        read_checkpoint(folder)
    with pytest.raises(CheckpointError, match=r"no tensor qa_outputs\.weight"):
        read_checkpoint(PARITY / "bert_classification", task="question-answering")


def test_distilberts_tokenizer_is_berts(changed: Callable[..., Path], tmp_path: Path) -> None:
    """As transformers writes it; in a file it is BERT's, which every library reads."""
    folder = changed("distilbert_classification", lambda tensors, config: None)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "film"]
    (folder / "vocab.txt").write_text("\n".join(words))
    stated = {
        "tokenizer_class": "DistilBertTokenizer",
        "model_input_names": ["input_ids", "attention_mask"],
        "do_lower_case": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(stated))
    checkpoint = read_checkpoint(folder)
    inside = json.loads(checkpoint.tokenizer_files["tokenizer_config.json"])
    assert inside == {"tokenizer_class": "BertTokenizer", "do_lower_case": False}
    tokenizer = tokenizer_from_files(checkpoint.tokenizer_files)
    assert tokenizer.encode("a film", "A").input_ids == [2, 5, 6, 3, 1, 3]
    write_checkpoint(tmp_path / "new", checkpoint)
    assert json.loads((tmp_path / "new/tokenizer_config.json").read_text()) == stated


def test_the_note_counts_what_sharing_saves() -> None:
    """BERT-base has 109.5 M parameters (Devlin et al. 2019, table 1: 110 M)."""
    values = {
        "model_type": "bert",
        "vocab_size": 30522,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    }
    config = config_from_bert(values, where="config.json")
    assert bert_config_values(config)["hidden_act"] == "gelu"
    assert describe_sharing(config) == (
        "no layers are shared: 109.5 M parameters; an ALBERT of the same dimensions, with "
        "embeddings of 128, has 11.8 M, 9.3 times fewer"
    )
    (note,) = read_checkpoint(PARITY / "bert_tags").notes
    assert note.startswith("no layers are shared: 0.0 M parameters")
