"""Metrics of a model in training on a dev set: those that `evaluate` reports of its file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias, final

import numpy as np
import tensorflow as tf

from albert_edge.bundle.bundle import Bundle
from albert_edge.checkpoints import Checkpoint
from albert_edge.datasets import EvaluateOptions, Examples
from albert_edge.early_exit import EarlyExit
from albert_edge.errors import AlbertEdgeError, InputError
from albert_edge.evaluation.metrics import Metric
from albert_edge.evaluation.predict import predict_one
from albert_edge.evaluation.task_metrics import compute_metrics
from albert_edge.modeling import assign, from_checkpoint
from albert_edge.pipelines import PIPELINES, Pipeline
from albert_edge.runtime.model import Model
from albert_edge.tasks import TASKS
from albert_edge.tokenizer import tokenizer_from_files
from albert_edge.training.batching import BUCKETS, make_batches

_BATCH_TOKENS = 8192
# The ids of a sequence and their types.
_Sequence: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]
_Outputs: TypeAlias = dict[str, np.ndarray]


@final
class KerasForward:
    """The forward pass of a Keras model over many sequences, in batches of like lengths.

    Args:
        checkpoint: The model's weights and configuration.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._model = from_checkpoint(checkpoint)
        self._pad_id = checkpoint.config.pad_token_id
        self._per_token = TASKS[checkpoint.task].per_token
        ids = tf.TensorSpec([None, None], tf.int32)
        self._compiled = tf.function(
            lambda ids, types, mask: self._model(
                {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}
            ),
            input_signature=[ids, ids, ids],
            autograph=False,
        )

    def set_weights(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Replace the model's weights, given by canonical name."""
        assign(self._model, tensors)

    def __call__(
        self,
        sequences: Sequence[Sequence[int]],
        types: Sequence[Sequence[int]] | None = None,
    ) -> Iterator[tuple[int, _Outputs]]:
        """Yield the place of every sequence, in any order, and its outputs.

        Args:
            sequences: Token ids in [0, V), T of each.
            types: As many token types, 0 or 1; None if all are 0.

        Yields:
            The place; and the outputs by name, float32 [1, ...], or [1, T, ...] per token.
        """
        batches = make_batches(sequences, tokens=_BATCH_TOKENS, pad_id=self._pad_id, types=types)
        for batch in batches:
            found = self._compiled(batch.input_ids, batch.token_type_ids, batch.attention_mask)
            outputs = {name: values.numpy() for name, values in found.items()}
            for at, row in enumerate(batch.rows.tolist()):
                length = len(sequences[row])  # what follows is padding
                yield (
                    row,
                    {
                        name: values[at : at + 1, :length]
                        if name in self._per_token
                        else values[at : at + 1]
                        for name, values in outputs.items()
                    },
                )


@final
class DevEvaluator:
    """Evaluates a model on the same examples after every epoch.

    The examples go through the pipeline of the device, so that the metrics are those of the device.
    The first run of the pipeline records the sequences that it passes to the model.  For every
    evaluation the Keras model computes their outputs in batches, and the pipeline runs on those.

    Args:
        start: A checkpoint with a head for the examples, and its tokenizer.
        examples: The dev set.  Those that are not valid inputs of the model are left out, if they
            are to be.

    Raises:
        InputError: An example is not a valid input of the model.

    Attributes:
        examples: The examples that are evaluated.
        predictions: Their predictions with the weights of the last evaluation.
    """

    def __init__(self, start: Checkpoint, examples: Examples) -> None:
        self.examples = examples
        self._model = KerasForward(start)
        self._outputs: dict[_Sequence, _Outputs] = {}
        self._per_token = TASKS[start.task].per_token
        ((_, self._sample),) = self._model([[0]])
        self._pipe = _pipeline(start, self._forward)
        self.predictions = self._predict()

    def __len__(self) -> int:
        return len(self.examples)

    def metrics(self, tensors: Mapping[str, np.ndarray]) -> list[Metric]:
        """Return the metrics of the examples' kind with these weights, the official one first."""
        self._model.set_weights(tensors)
        sequences = list(self._outputs)
        for row, outputs in self._model([ids for ids, _ in sequences], [t for _, t in sequences]):
            self._outputs[sequences[row]] = outputs
        self.predictions = self._predict()
        return compute_metrics(self.examples, self.predictions, EvaluateOptions())

    def _forward(self, inputs: _Outputs, _: EarlyExit | None) -> _Outputs:
        """Return the outputs of a sequence; zeros the first time, when it is recorded."""
        ids, types = (inputs[name][0].tolist() for name in ("input_ids", "token_type_ids"))
        sequence = tuple(ids), tuple(types)
        if sequence not in self._outputs:
            self._outputs[sequence] = {
                name: np.zeros_like(values).repeat(
                    len(ids) if name in self._per_token else 1, axis=1
                )
                for name, values in self._sample.items()
            }
        return self._outputs[sequence]

    def _predict(self) -> list[Any]:
        examples, predictions, bad = self.examples, [], {}
        for index, (inputs, place) in enumerate(zip(examples.inputs, examples.places, strict=True)):
            try:
                predictions.append(predict_one(self._pipe, examples.kind, inputs))
            except AlbertEdgeError as error:
                if not (examples.skip_bad and isinstance(error, InputError)):
                    raise type(error)(f"{place}: {error}") from error
                bad[index] = f"{place}: {error}"
        if bad:
            self.examples = examples.without(bad)
        return predictions


def _pipeline(start: Checkpoint, forward: Any) -> Pipeline:
    positions = min(start.config.max_position_embeddings, BUCKETS[-1])
    bundle = Bundle(
        task=start.task,
        layout="loop",
        quantize="float32",
        seq_len=None,
        # The metrics are of the last layer, also of a model with early exits.
        config=dataclasses.replace(
            start.config, max_position_embeddings=positions, early_exit=False
        ),
        tokenizer_files={},
        provenance={},
        verification=None,
    )
    tokenizer = tokenizer_from_files(start.tokenizer_files)
    vars(tokenizer)["tokenize"] = cache(tokenizer.tokenize)  # of every text once, not every epoch
    return PIPELINES[start.task](Model(bundle, forward, "Keras"), tokenizer)
