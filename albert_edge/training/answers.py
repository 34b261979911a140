"""What a classifier says of texts."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from albert_edge.checkpoints import Checkpoint
from albert_edge.modeling import from_checkpoint
from albert_edge.tokenizer import tokenizer_from_files
from albert_edge.training.batches import LENGTHS, encode_texts, make_batches
from albert_edge.training.data import LabelledTexts

__all__ = ["Answering"]


class Answering:
    """A classifier that answers many texts at once.

    Args:
        checkpoint: A classification model with its tokenizer.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._model = from_checkpoint(checkpoint)
        self._tokenizer = tokenizer_from_files(checkpoint.tokenizer_files)
        ids = tf.TensorSpec([None, None], tf.int32)
        self._answer = tf.function(
            lambda ids, mask: self._model({"input_ids": ids, "attention_mask": mask})["logits"],
            input_signature=[ids, ids],
            autograph=False,
        )

    def shares(self, data: LabelledTexts) -> np.ndarray:
        """Return the share of each class in the answer to each text: float32 [n, num_labels].

        Texts are cut where a device cuts them: at the model's number of positions.
        """
        most = min(self._model.config.max_position_embeddings, LENGTHS[-1])
        sequences = encode_texts(data.texts, self._tokenizer, max_length=most)
        shares = np.zeros((len(data), self._model.config.num_labels), np.float32)
        for batch in make_batches(sequences, tokens=8192, pad_id=self._tokenizer.pad_id):
            logits = self._answer(batch.input_ids, batch.attention_mask)
            shares[batch.rows] = tf.nn.softmax(logits).numpy()
        return shares
