"""Train the weights of `tests/web/trained_heads.py`, all but the embeddings, in some minutes.

Not run by the tests.  Words are trained by `albert-edge finetune` on WNUT 2017's tags, masked words
here, on the batches of `albert-edge pretrain`, which would train the embeddings too.

    ALBERT_EDGE_DATA=DATA python tests/data/make_trained_heads.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

sys.path.insert(0, str(Path(__file__).parents[1]))

from albert_edge.checkpoints import read_checkpoint
from albert_edge.modeling import MASKED, canonical_name, from_checkpoint, tensors
from albert_edge.tokenizer import load_tokenizer
from albert_edge.training.pretraining.corpus import encode_documents, read_documents
from albert_edge.training.pretraining.masking import Cursor, PretrainBatches
from web.trained_heads import (
    ENCODER,
    masked_documents,
    read_start,
    tagged_sentences,
    write_sentences,
    write_trained,
)

DATA = Path(os.environ["ALBERT_EDGE_DATA"])
TUNING = (
    *("--init-head", "--embeddings-rate", "0", "--epochs", "5", "--learning-rate", "7e-4"),
    *("--batch-tokens", "1024", "--max-length", "64", "--keep", "best"),
)
# Of masked words: pairs of a batch, their tokens, and the optimizer's steps and peak rate.
BATCH, LENGTH, STEPS, RATE = 16, 64, 500, 1e-3
MASKED_WORDS = "fill-mask"


def main() -> None:
    """Write both files; print what they learned."""
    with tempfile.TemporaryDirectory() as scratch:
        words = train_words(Path(scratch))
        write_trained("token-classification", words, DATA)
        write_trained(MASKED_WORDS, train_masked(Path(scratch)), DATA)


def train_words(scratch: Path) -> dict[str, np.ndarray]:
    """Fine-tune the encoder on the tags."""
    for part in ("train", "dev"):
        write_sentences(scratch / f"{part}.conll", tagged_sentences(DATA, part))
    run = "from albert_edge.cli import main; main()"
    files = (scratch / "train.conll", "--dev", scratch / "dev.conll", "-o", scratch / "words")
    start = ("--from", DATA / ENCODER)
    subprocess.run([sys.executable, "-c", run, "finetune", *files, *start, *TUNING], check=True)
    return dict(read_checkpoint(scratch / "words").tensors)


def train_masked(scratch: Path) -> dict[str, np.ndarray]:
    """Train the layer and the head of masked words; show the loss and the accuracy."""
    tokenizer = load_tokenizer("default")
    (scratch / "texts.txt").write_text("\n\n".join(masked_documents(DATA)[0]), encoding="utf-8")
    documents = encode_documents(read_documents([scratch / "texts.txt"]), tokenizer)
    model = with_first_head(np.concatenate([np.concatenate(one) for one in documents]))
    trained = [v for v in model.trainable_variables if "embeddings" not in canonical_name(v)]
    optimizer = tf_keras.optimizers.Adam(tf_keras.optimizers.schedules.CosineDecay(RATE, STEPS))

    @tf.function
    def step(batch: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = predict(model, batch)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(batch["targets"], logits)
            count = tf.reduce_sum(batch["weights"])
            loss = tf.reduce_sum(losses * batch["weights"]) / count
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, trained), 1.0)
        optimizer.apply_gradients(zip(gradients, trained, strict=True))
        right = tf.cast(tf.argmax(logits, -1, tf.int32) == batch["targets"], tf.float32)
        return loss, tf.reduce_sum(right * batch["weights"]) / count

    batches = PretrainBatches(documents, tokenizer, batch_size=BATCH, max_length=LENGTH, seed=0)
    for at, (_, batch) in enumerate(islice(batches.after(Cursor()), STEPS)):
        loss, accuracy = step(batch)
        if at % 25 == 0:
            sys.stdout.write(f"step {at}: loss {loss:.2f}, accuracy {accuracy:.3f}\n")
    return dict(tensors(model))


def with_first_head(tokens: np.ndarray) -> Any:
    """Return the model with a head that knows how frequent tokens are.

    Its way out of the hidden size is the inverse of the encoder's way in.
    """
    start = read_start(MASKED_WORDS, DATA)
    counts = np.bincount(tokens, minlength=start.config.vocab_size) + 0.1
    head = {
        "predictions/dense/kernel": np.linalg.pinv(start.tensors["embeddings/projection/kernel"]),
        "predictions/bias": np.log(counts / counts.sum()).astype(np.float32),
    }
    return from_checkpoint(replace(start, tensors={**start.tensors, **head}))


def predict(model: Any, batch: Any) -> Any:
    """Return the logits of masked places, float32 [B, M, V]."""
    bias = (1 - tf.cast(batch["attention_mask"], tf.float32))[:, None, None, :] * MASKED
    hidden = model.embed(batch["input_ids"], batch["token_type_ids"])
    for index in range(model.config.num_hidden_layers):
        hidden = model.layer(index, hidden, bias)  # [B, T, H]
    return model.head(tf.gather(hidden, batch["places"], batch_dims=1))["logits"]


if __name__ == "__main__":
    main()
