"""What a model in training scores on a dev set: the figures that `evaluate` gives of its file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, final

import numpy as np
import tensorflow as tf

from albert_edge.bundle.bundle import Bundle
from albert_edge.checkpoints import Checkpoint
from albert_edge.datasets.examples import Examples
from albert_edge.errors import AlbertEdgeError
from albert_edge.evaluation import EvaluateOptions
from albert_edge.evaluation.metrics import Metric
from albert_edge.evaluation.predict import predict_one
from albert_edge.evaluation.task_metrics import compute_metrics
from albert_edge.modeling import from_checkpoint
from albert_edge.modeling.layers import assign
from albert_edge.pipelines import PIPELINES, Pipeline
from albert_edge.runtime.model import Model
from albert_edge.tasks import TASKS
from albert_edge.tokenizer import Tokenizer, tokenizer_from_files
from albert_edge.tokenizer.base import Tokens
from albert_edge.training.batching import BUCKETS, make_batches

__all__ = ["DevEvaluator"]

_TOKENS = 8192  # in a batch
# A sequence that the model is given: its ids, and their types.
_Asked: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]
_Outputs: TypeAlias = dict[str, np.ndarray]


class DevEvaluator:
    """Examples that a model is asked again and again.

    The very pipeline of the device answers, so that the figures are those of the device.  It is
    gone through once to see what it asks of the model, all of which the Keras model then answers in
    batches, and again to hear what it makes of the answers.

    Args:
        start: A checkpoint with a head for the examples, and its tokenizer.
        examples: What to ask.

    Raises:
        InputError: An example cannot be given to the model.
    """

    def __init__(self, start: Checkpoint, examples: Examples) -> None:
        self._examples = examples
        self._pad = start.config.pad_token_id
        self._model = from_checkpoint(start)
        ids = tf.TensorSpec([None, None], tf.int32)
        self._answer = tf.function(self._call, input_signature=[ids, ids, ids], autograph=False)
        self._known = _CachedOutputs(
            self._outputs([[0]], [[0]], [[1]]), TASKS[start.task].per_token
        )
        self._pipe = _pipeline(start, self._known)
        self._ask()

    def __len__(self) -> int:
        return len(self._examples)

    def metrics(self, tensors: Mapping[str, np.ndarray]) -> list[Metric]:
        """Return the metrics of the examples' kind with these weights, the official one first."""
        assign(self._model, tensors)
        asked = list(self._known.outputs)
        batches = make_batches(
            [ids for ids, _ in asked],
            tokens=_TOKENS,
            pad_id=self._pad,
            types=[types for _, types in asked],
        )
        for batch in batches:
            outputs = self._outputs(batch.input_ids, batch.token_type_ids, batch.attention_mask)
            for at, row in enumerate(batch.rows.tolist()):
                one = {name: values[at : at + 1] for name, values in outputs.items()}
                self._known.learn(asked[row], one)
        return compute_metrics(self._examples, self._ask(), EvaluateOptions())

    def _call(self, input_ids: Any, types: Any, mask: Any) -> dict[str, Any]:
        inputs = {"input_ids": input_ids, "token_type_ids": types, "attention_mask": mask}
        outputs: dict[str, Any] = self._model(inputs)
        return outputs

    def _outputs(self, input_ids: Any, types: Any, mask: Any) -> _Outputs:
        outputs = self._answer(input_ids, types, mask)
        return {name: values.numpy() for name, values in outputs.items()}

    def _ask(self) -> list[Any]:
        answers = []
        for inputs, place in zip(self._examples.inputs, self._examples.places, strict=True):
            try:
                answers.append(predict_one(self._pipe, self._examples.kind, inputs))
            except AlbertEdgeError as error:
                raise type(error)(f"{place}: {error}") from error
        return answers


@final
class _CachedOutputs:
    """What passes for an interpreter, and knows the answers to what it was asked before.

    Args:
        sample: Outputs for one token, [1, ...] or [1, 1, ...].
        per_token: The names of those that have an entry for each token.
    """

    def __init__(self, sample: _Outputs, per_token: Sequence[str]) -> None:
        self._sample, self._per_token = sample, per_token
        self.outputs: dict[_Asked, _Outputs] = {}

    def learn(self, asked: _Asked, outputs: _Outputs) -> None:
        """Take the outputs [1, ...] for a sequence; those of its padding are cut off."""
        self.outputs[asked] = {
            name: values[:, : len(asked[0])] if name in self._per_token else values
            for name, values in outputs.items()
        }

    def __call__(self, input_ids: np.ndarray, token_type_ids: np.ndarray) -> _Outputs:
        asked = tuple(input_ids[0].tolist()), tuple(token_type_ids[0].tolist())
        if asked not in self.outputs:
            blank = {
                name: np.zeros_like(values).repeat(len(asked[0]), axis=1)
                if name in self._per_token
                else np.zeros_like(values)
                for name, values in self._sample.items()
            }
            self.learn(asked, blank)
        return self.outputs[asked]

    def get_signature_list(self) -> dict[str, Any]:
        return {"serving_default": {"inputs": ["input_ids", "token_type_ids"]}}

    def get_signature_runner(self, _: str) -> Any:
        return self

    def get_input_details(self) -> dict[str, Any]:
        return {"input_ids": {"shape": np.array([1, 1])}}


@final
class _CachingTokenizer(Tokenizer):
    """A tokenizer that cuts every text once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._found: dict[str, Tokens] = {}
        self.vocab_size, self.do_lower_case = tokenizer.vocab_size, tokenizer.do_lower_case
        self.cls_id, self.sep_id, self.pad_id = tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id
        self.unk_id, self.mask_id = tokenizer.unk_id, tokenizer.mask_id

    def tokenize(self, text: str) -> Tokens:
        if text not in self._found:
            self._found[text] = self._tokenizer.tokenize(text)
        return self._found[text]

    def id_to_piece(self, token_id: int) -> str:
        return self._tokenizer.id_to_piece(token_id)

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids)

    def files(self) -> dict[str, bytes]:
        return self._tokenizer.files()


def _pipeline(start: Checkpoint, known: _CachedOutputs) -> Pipeline:
    positions = min(start.config.max_position_embeddings, BUCKETS[-1])
    bundle = Bundle(
        task=start.task,
        layout="loop",
        quantize="float32",
        seq_len=None,
        # What is asked is what the last pass says, also of a model that can leave early.
        config=dataclasses.replace(
            start.config, max_position_embeddings=positions, early_exit=False
        ),
        tokenizer_files={},
        provenance={},
        verification=None,
    )
    tokenizer = _CachingTokenizer(tokenizer_from_files(start.tokenizer_files))
    return PIPELINES[start.task](Model(bundle, known, "Keras"), tokenizer)
