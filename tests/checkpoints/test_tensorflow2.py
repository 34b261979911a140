"""A TF-Hub encoder of version 2, as the model garden's exporter wrote it, computes the same."""

from __future__ import annotations

import lzma
import shutil
from pathlib import Path

import numpy as np
import pytest

from albert_edge.checkpoints import read_checkpoint
from albert_edge.checkpoints.tf_checkpoint import pack_variables
from albert_edge.errors import CheckpointError
from albert_edge.modeling import load_keras

GOLDEN = Path(__file__).parents[1] / "data/foreign/tf_hub_2"


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(GOLDEN, tmp_path / "albert_en_tiny"))
    packed = folder / "saved_model.pb.xz"
    packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
    packed.unlink()
    return folder


def test_it_computes_the_same(hub: Path) -> None:
    golden = np.load(GOLDEN / "golden.npz")
    inputs = {
        "input_ids": golden["input_word_ids"],
        "token_type_ids": golden["input_type_ids"],
        "attention_mask": golden["input_mask"],
    }
    encoder = load_keras(hub, task="feature-extraction")(inputs)
    sequence, pooled = encoder["last_hidden_state"], encoder["pooler_output"]
    np.testing.assert_allclose(sequence, golden["sequence_output"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(pooled, golden["pooled_output"], rtol=0, atol=1e-5)
    words = np.asarray(load_keras(hub)(inputs)["logits"])  # its head predicts words
    found = np.take_along_axis(words, golden["masked_lm_positions"][..., None], axis=1)
    np.testing.assert_allclose(found, golden["mlm_logits"], rtol=0, atol=1e-5)


def test_what_only_the_computation_tells(hub: Path) -> None:
    checkpoint = read_checkpoint(hub)
    config = checkpoint.config
    assert (checkpoint.task, checkpoint.source) == ("fill-mask", "albert_en_tiny")
    assert (config.num_hidden_layers, config.hidden_act) == (3, "gelu_new")
    assert (config.num_attention_heads, config.max_position_embeddings) == (2, 12)
    assert set(checkpoint.tokenizer_files) == {"spiece.model"}
    assert checkpoint.notes[0].startswith("the saved computation applies the layer 3 times")


def test_a_head_that_it_lacks(hub: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"no head for classification \(no tensor classifier/k"
    ):
        read_checkpoint(hub, task="classification")
    drawn = read_checkpoint(hub, task="classification", init_head=True).randomly_initialized
    assert drawn == ("classifier/kernel", "classifier/bias")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"Softmax", b"Softmin", "applies attention 0 times and activations"),
        (b"\x04Tanh", b"\x04Relu", "applies attention 3 times and activations"),
        (b"serving_default", b"serving_missing", "applies attention 0 times"),
    ],
)
def test_another_computation(hub: Path, old: bytes, new: bytes, message: str) -> None:
    path = hub / "saved_model.pb"
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(hub)


def test_a_computation_without_an_end(hub: Path) -> None:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    path = hub / "saved_model.pb"
    model = SavedModel.FromString(path.read_bytes())
    graph = model.meta_graphs[0].graph_def
    for function in graph.library.function:
        call = function.node_def.add(name="again", op="PartitionedCall")
        call.attr["f"].func.name = function.signature.name
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match="call each other endlessly"):
        read_checkpoint(hub)


@pytest.mark.parametrize("size", [0, 1000, 600_000])
def test_a_computation_cut_short(hub: Path, size: int) -> None:
    path = hub / "saved_model.pb"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match=r"saved_model\.pb is not the SavedModel"):
        read_checkpoint(hub)


def test_another_encoder(hub: Path) -> None:
    import tensorflow as tf

    bert = tf.Variable(tf.zeros([30, 8]), name="word_embeddings/embeddings")
    tf.train.Checkpoint(x=bert).write(str(hub / "variables/variables"))
    with pytest.raises(CheckpointError, match=r"not an AlbertEncoder: position_embedding/embed"):
        read_checkpoint(hub)


def test_a_damaged_graph_of_objects(hub: Path) -> None:
    files = pack_variables({"_CHECKPOINTABLE_OBJECT_GRAPH": np.array(b"\xff\xff")}, "variables")
    for name, content in files.items():
        (hub / "variables" / name).write_bytes(content)
    with pytest.raises(CheckpointError, match="has no graph of objects"):
        read_checkpoint(hub)
