"""The model that is embedded in the package."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert_edge.checkpoints import read_checkpoint
from albert_edge.checkpoints.init import count_parameters
from albert_edge.datasets.examples import read_examples
from albert_edge.datasets.options import EvaluateOptions
from albert_edge.errors import BundleError
from albert_edge.training.batching import encode_texts, make_batches

FOLDER = Path(__file__).parents[2] / "albert_edge" / "models" / "sentiment"
BASELINE = 0.736  # a tuned logistic regression over words and pairs of words


@pytest.fixture(scope="module")
def model() -> Any:
    from albert_edge.modeling import load_keras

    return load_keras("default")


def _answers(model: Any, texts: list[str]) -> np.ndarray:
    import tensorflow as tf

    from albert_edge.tokenizer import load_tokenizer

    ids = tf.TensorSpec([None, None], tf.int32)
    infer = tf.function(
        lambda ids, mask: model({"input_ids": ids, "attention_mask": mask})["logits"],
        input_signature=[ids, ids],
    )
    tokenizer = load_tokenizer("default")
    sequences = encode_texts(texts, tokenizer, max_length=model.config.max_position_embeddings)
    answers = np.zeros(len(texts), np.int64)
    for batch in make_batches(sequences, tokens=4096, pad_id=tokenizer.pad_id):
        logits = infer(batch.input_ids, batch.attention_mask).numpy()
        answers[batch.rows] = logits.argmax(axis=-1)
    return answers


def test_is_small_and_the_one_on_the_card() -> None:
    blob = (FOLDER / "model.safetensors").read_bytes()
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 17_000_000
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(blob).hexdigest() in card
    config = read_checkpoint("default").config
    assert f"{count_parameters(config, 'classification'):,} parameters" in card


def test_shape_shares_its_layer_and_suits_int8_kernels() -> None:
    checkpoint = read_checkpoint("default")
    config = checkpoint.config
    assert checkpoint.task == "classification"
    assert config.labels == ("negative", "positive")
    assert config.num_hidden_groups == config.inner_group_num == 1
    assert config.num_hidden_layers >= 4
    assert config.max_position_embeddings >= 256
    for width in (config.embedding_size, config.hidden_size, config.head_size):
        assert width % 16 == 0
    assert set(checkpoint.tokenizer_files) == {"spiece.model", "tokenizer_config.json"}


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("a warm, funny and moving film", "positive"),
        ("one of the best films of the year", "positive"),
        ("the acting is superb and the story is gripping", "positive"),
        ("dull, lifeless and far too long", "negative"),
        ("a complete waste of time", "negative"),
        ("the plot is a mess and the jokes fall flat", "negative"),
    ],
)
def test_answers_plain_sentences(model: Any, text: str, label: str) -> None:
    assert model.config.labels[_answers(model, [text])[0]] == label


def test_reads_a_long_review_to_its_end(model: Any) -> None:
    praise = "The cast is wonderful and the story moved me. "
    blame = "The jokes are stale and the pacing is dreadful. "
    # 40 sentences are beyond 400 tokens; only the last ones differ in nothing but their place.
    assert _answers(model, [praise * 40, blame * 40]).tolist() == [1, 0]


def test_beats_bags_of_words(model: Any, data_folder: Path) -> None:
    dev = read_examples(
        data_folder / "sentiment" / "dev.tsv",
        "classification",
        model.config.labels,
        EvaluateOptions(),
    )
    accuracy = (
        _answers(model, [inputs["text"] for inputs in dev.inputs]) == dev.class_indices()
    ).mean()
    assert accuracy > BASELINE


def test_the_file_is_made_of_these_weights(model: Any) -> None:
    from albert_edge.bundle import bundle
    from albert_edge.verification import verify

    inside = bundle.read(FOLDER / "model.tflite")
    blob = (FOLDER / "model.safetensors").read_bytes()
    assert inside.provenance["sha256"] == hashlib.sha256(blob).hexdigest()
    assert verify(FOLDER / "model.tflite", model)["passed"]


def test_the_file_is_what_convert_writes_of_the_checkpoint(model: Any) -> None:
    from albert_edge import convert
    from albert_edge.bundle.bundle import model_bytes, read

    embedded = FOLDER / "model.tflite"
    made = convert(model, early_exit=read(embedded).early_exit, verified=False)
    assert model_bytes(made.blob) == model_bytes(embedded)


def test_the_file_for_web_pages_is_what_convert_writes(model: Any) -> None:
    from albert_edge import convert
    from albert_edge.bundle.bundle import model_bytes

    made = convert(model, target="web", verified=False)
    assert model_bytes(made.blob) == model_bytes(FOLDER / "web.tflite")


def test_a_bit_that_is_off_is_noticed() -> None:
    import albert_edge

    blob = bytearray((FOLDER / "model.tflite").read_bytes())
    for at in (4_000, 1_000_000, 2_600_000, len(blob) - 40_000):
        damaged = bytes(blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :])
        with pytest.raises(BundleError, match="damaged"):
            albert_edge.load(damaged)
