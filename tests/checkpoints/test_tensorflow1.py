"""Google's checkpoints: TensorFlow's own files under the published names, and back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_edge.checkpoints import read_checkpoint, write_checkpoint
from albert_edge.checkpoints.tf_checkpoint import read_leveldb_table
from albert_edge.errors import AlbertEdgeError, CheckpointError, ConfigError

PARITY = Path(__file__).parents[1] / "data/parity"
Tensors = dict[str, np.ndarray]

V, E, H, F, T = 30, 6, 8, 16, 12
CONFIG = {
    "attention_probs_dropout_prob": 0,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0,
    "embedding_size": E,
    "hidden_size": H,
    "initializer_range": 0.02,
    "intermediate_size": F,
    "max_position_embeddings": T,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "num_hidden_groups": 1,
    "net_structure_type": 0,
    "gap_size": 0,
    "num_memory_blocks": 0,
    "inner_group_num": 1,
    "down_scale_factor": 1,
    "type_vocab_size": 2,
    "vocab_size": V,
}
GROUP = "bert/encoder/transformer/group_0/inner_group_0"
# As google-research/albert's modeling.py, run_pretraining.py and run_classifier.py name them.
PUBLISHED = {
    "bert/embeddings/word_embeddings": (V, E),
    "bert/embeddings/token_type_embeddings": (2, E),
    "bert/embeddings/position_embeddings": (T, E),
    "bert/embeddings/LayerNorm/beta": (E,),
    "bert/embeddings/LayerNorm/gamma": (E,),
    "bert/encoder/embedding_hidden_mapping_in/kernel": (E, H),
    "bert/encoder/embedding_hidden_mapping_in/bias": (H,),
    f"{GROUP}/attention_1/self/query/kernel": (H, H),
    f"{GROUP}/attention_1/self/query/bias": (H,),
    f"{GROUP}/attention_1/self/key/kernel": (H, H),
    f"{GROUP}/attention_1/self/key/bias": (H,),
    f"{GROUP}/attention_1/self/value/kernel": (H, H),
    f"{GROUP}/attention_1/self/value/bias": (H,),
    f"{GROUP}/attention_1/output/dense/kernel": (H, H),
    f"{GROUP}/attention_1/output/dense/bias": (H,),
    f"{GROUP}/LayerNorm/beta": (H,),
    f"{GROUP}/LayerNorm/gamma": (H,),
    f"{GROUP}/ffn_1/intermediate/dense/kernel": (H, F),
    f"{GROUP}/ffn_1/intermediate/dense/bias": (F,),
    f"{GROUP}/ffn_1/intermediate/output/dense/kernel": (F, H),
    f"{GROUP}/ffn_1/intermediate/output/dense/bias": (H,),
    f"{GROUP}/LayerNorm_1/beta": (H,),
    f"{GROUP}/LayerNorm_1/gamma": (H,),
    "bert/pooler/dense/kernel": (H, H),
    "bert/pooler/dense/bias": (H,),
}
PRETRAINING = {
    "cls/predictions/transform/dense/kernel": (H, E),
    "cls/predictions/transform/dense/bias": (E,),
    "cls/predictions/transform/LayerNorm/beta": (E,),
    "cls/predictions/transform/LayerNorm/gamma": (E,),
    "cls/predictions/output_bias": (V,),
    "cls/seq_relationship/output_weights": (2, H),
    "cls/seq_relationship/output_bias": (2,),
}
CLASSIFIER = {"output_weights": (3, H), "output_bias": (3,)}
SQUAD = {"cls/squad/output_weights": (2, H), "cls/squad/output_bias": (2,)}


def draw(shapes: Mapping[str, tuple[int, ...]]) -> Tensors:
    random = np.random.default_rng(5)
    return {name: random.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def save(prefix: Path, tensors: Tensors) -> None:
    """Save variables as Google's scripts do: in a graph, with TF1's Saver, and Adam's slots."""
    import tensorflow as tf

    prefix.parent.mkdir(exist_ok=True, parents=True)
    with tf.Graph().as_default():
        for name, values in tensors.items():
            tf.compat.v1.get_variable(name, initializer=values, use_resource=False)
        with tf.compat.v1.Session() as session:
            session.run(tf.compat.v1.global_variables_initializer())
            tf.compat.v1.train.Saver().save(session, str(prefix))


@pytest.fixture
def google(tmp_path: Path) -> Callable[..., tuple[Path, Tensors]]:
    """A function that writes a checkpoint of the published names, and more, as Google does."""

    def write(more: Mapping[str, tuple[int, ...]] = {}, **config: object) -> tuple[Path, Tensors]:
        tensors = draw({**PUBLISHED, **more})
        save(tmp_path / "albert" / "model.ckpt-best", tensors)
        (tmp_path / "albert/albert_config.json").write_text(json.dumps({**CONFIG, **config}))
        return tmp_path / "albert", tensors

    return write


@pytest.mark.parametrize(
    ("head", "task"),
    [
        ({}, "feature-extraction"),
        (PRETRAINING, "pretraining"),
        (CLASSIFIER, "classification"),
        (SQUAD, "question-answering"),
    ],
)
def test_the_published_names_load_and_come_back_bit_for_bit(
    google: Callable[..., tuple[Path, Tensors]],
    tmp_path: Path,
    head: Mapping[str, tuple[int, ...]],
    task: str,
) -> None:
    import tensorflow as tf

    folder, tensors = google(head)
    checkpoint = read_checkpoint(folder)
    assert (checkpoint.task, checkpoint.source) == (task, "albert")
    assert checkpoint.config.hidden_act == "gelu_new"
    assert checkpoint.notes == ("hidden_act gelu is Google's, the tanh form: gelu_new",)
    kernel = checkpoint.tensors["encoder/group_0/layer_0/ffn/output/kernel"]
    assert np.array_equal(kernel, tensors[f"{GROUP}/ffn_1/intermediate/output/dense/kernel"])
    write_checkpoint(tmp_path / "copy", checkpoint, to="tensorflow1")
    reader = tf.train.load_checkpoint(str(tmp_path / "copy/model.ckpt-best"))
    unused = {name for name in tensors if "pooler" in name and task == "question-answering"}
    assert set(checkpoint.unused) == unused
    assert reader.get_variable_to_shape_map().keys() == tensors.keys() - unused
    for name in tensors.keys() - unused:
        assert reader.get_tensor(name).tobytes() == tensors[name].tobytes()
    values = json.loads((tmp_path / "copy/albert_config.json").read_text())
    assert {key: values[key] for key in CONFIG.keys() & values.keys()} == {
        key: CONFIG[key] for key in CONFIG.keys() & values.keys()
    }


def test_what_optimizers_keep_is_left_out_by_name(
    google: Callable[..., tuple[Path, Tensors]],
) -> None:
    slots = {
        "bert/pooler/dense/kernel/adam_m": (H, H),
        "bert/pooler/dense/kernel/adam_v": (H, H),
        "bert/pooler/dense/bias/AdamWeightDecayOptimizer_1": (H,),
        "cls/predictions/output_bias/adam_m": (V,),
        "beta1_power": (),
        "global_step": (),
    }
    folder, _ = google(slots)
    assert read_checkpoint(folder).unused == tuple(sorted(slots))


def test_a_variable_that_nobody_knows(google: Callable[..., tuple[Path, Tensors]]) -> None:
    folder, _ = google({"bert/encoder/mystery": (2, 3)})
    with pytest.raises(CheckpointError, match=r"bert/encoder/mystery \[2, 3\] is unexpected"):
        read_checkpoint(folder)


def test_without_a_projection_the_identity_stands_for_it(tmp_path: Path) -> None:
    names = [name for name in PUBLISHED if "mapping_in" not in name]
    shapes = {n: tuple(H if size == E else size for size in PUBLISHED[n]) for n in names}
    save(tmp_path / "model.ckpt-best", tensors := draw(shapes))
    (tmp_path / "albert_config.json").write_text(json.dumps({**CONFIG, "embedding_size": H}))
    checkpoint = read_checkpoint(tmp_path)
    assert np.array_equal(checkpoint.tensors["embeddings/projection/kernel"], np.eye(H))
    assert "the identity is used" in checkpoint.notes[1]
    write_checkpoint(tmp_path / "copy", checkpoint, to="tensorflow1")
    again = read_checkpoint(tmp_path / "copy")
    assert again.tensors.keys() == checkpoint.tensors.keys()
    index = read_leveldb_table((tmp_path / "copy/model.ckpt-best.index").read_bytes())
    assert {key.decode() for key in index} == {"", *tensors}


@pytest.mark.parametrize("name", ["odd_one_type_answers", "three_groups_pretraining"])
def test_every_tensor_comes_back_from_the_other_format(name: str, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(PARITY / name)
    for copy in ("once", "twice"):
        write_checkpoint(tmp_path / copy, checkpoint, to="tensorflow1")
    for path in (tmp_path / "once").iterdir():
        assert path.read_bytes() == (tmp_path / "twice" / path.name).read_bytes()
    again = read_checkpoint(tmp_path / "once")
    assert (again.config, again.task) == (checkpoint.config, checkpoint.task)
    assert again.tensors.keys() == checkpoint.tensors.keys()
    assert all(again.tensors[k].tobytes() == v.tobytes() for k, v in checkpoint.tensors.items())


def test_a_tf_hub_module_of_version_1(google: Callable[..., tuple[Path, Tensors]]) -> None:
    folder, tensors = google(PRETRAINING)
    for path, home in (("variables", "model.*"), ("assets", "albert_config.json")):
        (folder / path).mkdir()
        for file in folder.glob(home):
            file.rename(folder / path / file.name.replace("model.ckpt-best", "variables"))
    (folder / "saved_model.pb").touch()
    checkpoint = read_checkpoint(folder)
    assert (checkpoint.task, checkpoint.source) == ("pretraining", "albert")
    bias = checkpoint.tensors["predictions/bias"]
    assert np.array_equal(bias, tensors["cls/predictions/output_bias"])


def test_a_classifier_on_top_of_a_module(tmp_path: Path) -> None:
    tensors = draw({**PUBLISHED, **CLASSIFIER})
    save(tmp_path / "model.ckpt-9", {
        f"module/{name}" if name.startswith("bert/") else name: values
        for name, values in tensors.items()
    })  # fmt: skip
    (tmp_path / "albert_config.json").write_text(json.dumps(CONFIG))
    checkpoint = read_checkpoint(tmp_path)
    assert checkpoint.task == "classification"
    assert np.array_equal(checkpoint.tensors["classifier/kernel"].T, tensors["output_weights"])


def test_objects_of_tensorflow_2_are_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    tf.train.Checkpoint(x=tf.Variable(1.0)).write(str(tmp_path / "model"))
    (tmp_path / "albert_config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(
        CheckpointError, match="is of TensorFlow 2, and alone it does not determine"
    ):
        read_checkpoint(tmp_path)


def test_one_of_several_checkpoints_is_named(google: Callable[..., tuple[Path, Tensors]]) -> None:
    folder, _ = google()
    for path in list(folder.glob("model.*")):
        for step in (1, 20):
            shutil.copy(path, folder / path.name.replace("best", str(step)))
    assert read_checkpoint(folder).source == "albert"  # model.ckpt-best
    for path in folder.glob("model.ckpt-best.*"):
        path.unlink()
    with pytest.raises(CheckpointError, match=r"2 checkpoints: model\.ckpt-1, model\.ckpt-20; nam"):
        read_checkpoint(folder)
    assert read_checkpoint(folder / "model.ckpt-20").config.hidden_size == H


def test_what_google_would_compute_differently_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="Google's gelu is the tanh form"):
        write_checkpoint(
            tmp_path / "x", read_checkpoint(PARITY / "gelu_features"), to="tensorflow1"
        )
    with pytest.raises(CheckpointError, match="for which Google's code has no projection"):
        write_checkpoint(
            tmp_path / "x", read_checkpoint(PARITY / "square_features"), to="tensorflow1"
        )
    assert not (tmp_path / "x").exists()


def test_layers_that_google_groups_differently(google: Callable[..., tuple[Path, Tensors]]) -> None:
    folder, _ = google(num_hidden_layers=22, num_hidden_groups=22)
    with pytest.raises(CheckpointError, match=r"22 groups for 22 layers: .* round differently"):
        read_checkpoint(folder)


def test_incomplete_directories(google: Callable[..., tuple[Path, Tensors]]) -> None:
    folder, _ = google()
    (data,) = folder.glob("*.data-*")
    blob = data.read_bytes()
    data.write_bytes(blob[:-9])
    with pytest.raises(CheckpointError, match="exceeds its data file; is the download complete"):
        read_checkpoint(folder)
    data.write_bytes(blob[:99] + bytes([blob[99] ^ 255]) + blob[100:])
    with pytest.raises(CheckpointError, match=r"(is damaged|Checksum)"):
        read_checkpoint(folder)
    data.unlink()
    with pytest.raises(CheckpointError, match=r"no model\.ckpt-best\.data-\* next to it"):
        read_checkpoint(folder)
    (folder / "albert_config.json").unlink()
    with pytest.raises(
        CheckpointError, match=r"has no albert_config\.json, and the variables do not"
    ):
        read_checkpoint(folder)


@settings(max_examples=150)
@given(
    name=st.sampled_from([*CONFIG, "id2label", "architectures", "num_labels"]),
    value=st.none()
    | st.integers(-1, 10**12)
    | st.floats()
    | st.text(max_size=9)
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
def test_any_configuration_gives_one_clear_error_or_a_checkpoint(
    sound: Path, name: str, value: object
) -> None:
    folder = sound.with_name("configured")
    shutil.copytree(sound, folder, dirs_exist_ok=True)
    values = json.loads((sound / "albert_config.json").read_text())
    (folder / "albert_config.json").write_text(json.dumps({**values, name: value}))
    try:
        read_checkpoint(folder)
    except AlbertEdgeError:
        return


def test_a_configuration_cannot_claim_the_memory_of_a_projection(sound: Path) -> None:
    folder = Path(shutil.copytree(sound, sound.with_name("wide")))
    values = json.loads((sound / "albert_config.json").read_text())
    sizes = dict.fromkeys(("embedding_size", "hidden_size"), 3 * 10**8)
    (folder / "albert_config.json").write_text(json.dumps({**values, **sizes}))
    with pytest.raises(CheckpointError, match=r"expected \[300000000\]"):
        read_checkpoint(folder)


def test_a_configuration_cannot_claim_the_time_of_a_billion_passes(sound: Path) -> None:
    # No tensor tells how many passes there are, so nothing else would stop the walk over them.
    folder = Path(shutil.copytree(sound, sound.with_name("deep")))
    values = json.loads((sound / "albert_config.json").read_text())
    (folder / "albert_config.json").write_text(json.dumps({**values, "num_hidden_layers": 2**30}))
    with pytest.raises(ConfigError, match=r"num_hidden_layers must be .* in \[1, 10000\]"):
        read_checkpoint(folder)


def test_an_index_of_something_else_is_no_checkpoint(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(PARITY / "gelu_features", tmp_path / "checkpoint"))
    (folder / "faiss.index").write_bytes(b"anything")
    assert read_checkpoint(folder).task == "feature-extraction"
