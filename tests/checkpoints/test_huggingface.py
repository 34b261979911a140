"""Hugging Face directories: read strictly, written back bit for bit, refused when damaged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from albert_edge.checkpoints import read_checkpoint, write_checkpoint
from albert_edge.errors import AlbertEdgeError, CheckpointError, ConfigError, TokenizerError
from checkpoints.files import PARITY, Tensors, change, change_config

TASKS = {
    "features": "feature-extraction",
    "classification": "classification",
    "answers": "question-answering",
    "tags": "token-classification",
    "masks": "fill-mask",
    "pretraining": "pretraining",
}
WORDS = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nfine\nfilm\n"


@pytest.mark.parametrize("directory", sorted(PARITY.iterdir()), ids=lambda path: path.name)
def test_reads_and_writes_back_bit_for_bit(directory: Path, tmp_path: Path) -> None:
    task = TASKS[directory.name.rsplit("_", 1)[-1]]
    pretrained = directory.name == "pretraining_features"  # a head, and an encoder's answers
    checkpoint = read_checkpoint(directory, task=task if pretrained else "auto")
    assert checkpoint.task == task
    assert checkpoint.source == directory.name
    for name in ("once", "twice"):
        write_checkpoint(tmp_path / name, checkpoint)
    original = load_file(directory / "model.safetensors")
    kept = {name: values for name, values in original.items() if name not in checkpoint.unused}
    if directory.name == "stored_decoder_masks":  # what is tied is stored once
        kept["predictions.bias"] = kept.pop("predictions.decoder.bias")
        del kept["predictions.decoder.weight"]
    if pretrained:  # its encoder is then a bare one
        kept = {name.removeprefix("albert."): values for name, values in kept.items()}
    written = load_file(tmp_path / "once" / "model.safetensors")
    assert written.keys() == kept.keys()
    assert all(np.array_equal(written[name], kept[name]) for name in kept)
    again = read_checkpoint(tmp_path / "once")
    assert (again.config, again.task, again.unused) == (checkpoint.config, checkpoint.task, ())
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()


def test_other_heads_are_left_out_by_name() -> None:
    assert read_checkpoint(PARITY / "pretraining_features").unused == ()
    features = read_checkpoint(PARITY / "pretraining_features", task="feature-extraction")
    assert features.unused == (
        "predictions.LayerNorm.bias",
        "predictions.LayerNorm.weight",
        "predictions.bias",
        "predictions.dense.bias",
        "predictions.dense.weight",
        "sop_classifier.classifier.bias",
        "sop_classifier.classifier.weight",
    )
    features = read_checkpoint(PARITY / "base_classification", task="feature-extraction")
    assert features.unused == ("classifier.bias", "classifier.weight")


def test_what_old_checkpoints_hold_is_left_out(folder: Path) -> None:
    extra = {
        "albert.embeddings.position_ids": np.arange(24)[None],
        "predictions.decoder.weight": np.zeros((40, 16), np.float32),
        "qa_outputs.weight": np.zeros((2, 24), np.float32),
        "qa_outputs.bias": np.zeros(2, np.float32),
    }
    change(folder, lambda tensors: tensors.update(extra))
    with pytest.raises(CheckpointError, match="heads for classification and question-answering"):
        read_checkpoint(folder)
    left_out = read_checkpoint(folder, task="question-answering").unused
    assert left_out == (
        "albert.embeddings.position_ids",
        "albert.pooler.bias",
        "albert.pooler.weight",
        "classifier.bias",
        "classifier.weight",
        "predictions.decoder.weight",
    )


def test_an_encoder_without_a_pooler() -> None:
    checkpoint = read_checkpoint(PARITY / "no_pooler_features")
    assert not [name for name in checkpoint.tensors if name.startswith("pooler")]
    with pytest.raises(CheckpointError, match="no head for classification"):
        read_checkpoint(PARITY / "no_pooler_features", task="classification")


def test_a_head_that_is_not_there_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"no tensor qa_outputs\.weight.*would be random"):
        read_checkpoint(PARITY / "base_classification", task="question-answering")


def test_tokenizer_files_travel(folder: Path, tmp_path: Path) -> None:
    files = {"vocab.txt": WORDS, "tokenizer_config.json": b"{}"}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    checkpoint = read_checkpoint(folder)
    assert checkpoint.tokenizer_files == files
    write_checkpoint(tmp_path / "copy", checkpoint)
    assert read_checkpoint(tmp_path / "copy").tokenizer_files == files


def test_a_tokenizer_and_an_embedding_of_different_sizes(folder: Path) -> None:
    (folder / "vocab.txt").write_bytes(WORDS)
    note = "the tokenizer has 7 ids: 33 rows of the embedding are unused"
    assert read_checkpoint(folder).notes == (note,)
    (folder / "vocab.txt").write_bytes(WORDS + b"".join(b"%d\n" % n for n in range(33)))
    assert read_checkpoint(folder).notes == ()
    (folder / "vocab.txt").write_bytes(WORDS + b"".join(b"%d\n" % n for n in range(34)))
    with pytest.raises(CheckpointError, match="tokenizer has 41 ids, and the embedding 40 rows"):
        read_checkpoint(folder)
    (folder / "vocab.txt").unlink()
    (folder / "spiece.model").write_bytes(b"pieces")
    with pytest.raises(TokenizerError, match=r"spiece\.model in .*checkpoint"):
        read_checkpoint(folder)


def test_the_classifier_counts_labels_that_have_no_names(folder: Path) -> None:
    assert read_checkpoint(folder).config.labels == ("bad", "so-so", "good")
    change_config(folder, id2label=None)
    assert read_checkpoint(folder).config.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    change_config(folder, id2label={"0": "no", "1": "yes"})
    with pytest.raises(CheckpointError, match=r"2 labels \(no, yes\).*weight has 3 rows"):
        read_checkpoint(folder)


def test_one_error_lists_every_offender(folder: Path) -> None:
    def damage(tensors: Tensors) -> None:
        del tensors["albert.pooler.bias"]
        tensors["classifier.bias"] = np.zeros(4, np.float32)
        tensors["albert.encoder.mystery"] = np.zeros((2, 3), np.float32)

    change(folder, damage)
    with pytest.raises(CheckpointError) as raised:
        read_checkpoint(folder)
    message = str(raised.value)
    assert "albert.pooler.bias [24] is missing" in message
    assert "classifier.bias has shape [4], expected [3]" in message
    assert "albert.encoder.mystery [2, 3] is unexpected" in message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"vocab_size": 41}, r"word_embeddings.weight has shape \[40, 16\], expected \[41, 16\]"),
        ({"num_hidden_groups": 2}, r"layer_groups\.1\.albert_layers\.0.* is missing"),
        ({"inner_group_num": 10**6}, "1000000 distinct layers; .* has 27 tensors"),
        ({"intermediate_size": 10**9}, r"expected \[1000000000, 24\]"),
    ],
)
def test_a_config_that_contradicts_the_tensors(
    folder: Path, values: dict[str, int], message: str
) -> None:
    change_config(folder, **values)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(folder)


def test_incomplete_directories(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(CheckpointError, match=r"no config\.json and no weights \(model\.safet"):
        read_checkpoint(empty)
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no config\.json\.$"):
        read_checkpoint(folder)


def test_another_models_config(folder: Path) -> None:
    change_config(folder, model_type="roberta")
    with pytest.raises(ConfigError, match=r"model_type is 'roberta', expected one of albert, bert"):
        read_checkpoint(folder)


def test_berts_config(folder: Path) -> None:
    """A BERT's tensors have other names."""
    change_config(folder, model_type="bert")
    with pytest.raises(CheckpointError, match=r"begin with 'albert\.' \(expected 'bert\.'\)"):
        read_checkpoint(folder)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_bytes_give_one_clear_error_or_a_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    source = PARITY / "odd_one_type_answers"
    folder = tmp_path_factory.getbasetemp() / "damaged"
    shutil.copytree(source, folder, dirs_exist_ok=True)
    blob = bytearray((source / "model.safetensors").read_bytes())
    header = 8 + int.from_bytes(blob[:8], "little")
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, header) | st.integers(0, len(blob)))
        blob[start : start + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    (folder / "model.safetensors").write_bytes(blob)
    try:
        checkpoint = read_checkpoint(folder)
    except AlbertEdgeError:
        return
    assert all(np.isfinite(values).all() for values in checkpoint.tensors.values())


def rename(folder: Path, change_name: Callable[[str], str]) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({change_name(k): v for k, v in tensors.items()}, folder / "model.safetensors")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.module.", "net."])
def test_a_prefix_before_all_names_is_removed(folder: Path, prefix: str) -> None:
    expected = read_checkpoint(folder)
    rename(folder, lambda name: f"{prefix}{name}")
    found = read_checkpoint(folder)
    assert found.notes[0] == f"{prefix!r}, which begins the names of all tensors, was removed"
    assert found.tensors.keys() == expected.tensors.keys()
    assert all(np.array_equal(found.tensors[k], v) for k, v in expected.tensors.items())


def test_a_prefix_before_a_bare_encoder_is_removed(tmp_path: Path) -> None:
    source = PARITY / "no_pooler_features"
    folder = Path(shutil.copytree(source, tmp_path / "copy"))
    rename(folder, lambda name: f"bert.{name.removeprefix('albert.')}")
    expected = read_checkpoint(source).tensors
    found = read_checkpoint(folder).tensors
    assert all(np.array_equal(found[name], values) for name, values in expected.items())


def test_a_prefix_before_the_encoder_only_is_one_line(folder: Path) -> None:
    rename(folder, lambda name: name.replace("albert.", "bert.", 1))
    with pytest.raises(CheckpointError, match=r"begin with 'bert\.' \(expected 'albert\.'\)") as it:
        read_checkpoint(folder)
    assert "those of 2 others do not, such as classifier." in str(it.value)
    assert len(str(it.value)) < 400


def test_many_problems_are_counted(folder: Path) -> None:
    rename(folder, lambda name: name.replace("albert_layers.0", "albert_layers.first"))
    with pytest.raises(CheckpointError, match=r"does not fit its configuration: .*; and \d+ more"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    "name", ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"]
)
@pytest.mark.parametrize("alone", [False, True])
def test_an_adapter_is_refused(folder: Path, name: str, alone: bool) -> None:
    (folder / name).write_text('{"peft_type": "LORA", "r": 8}')
    if alone:
        (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=rf"has an adapter .*{name}.* Merge it first: Peft"):
        read_checkpoint(folder)


@pytest.mark.parametrize("name", ["query.lora_A.default.weight", "query.base_layer.weight"])
def test_an_adapter_among_the_weights_is_refused(folder: Path, name: str) -> None:
    one = np.zeros((2, 2), np.float32)
    change(folder, lambda tensors: tensors.update({f"base_model.model.albert.{name}": one}))
    with pytest.raises(CheckpointError, match=rf"1 tensors of an adapter, such as \S*{name}"):
        read_checkpoint(folder)
