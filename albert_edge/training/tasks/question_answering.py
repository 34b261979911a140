"""Train extractive question answering: the start and the end of the answer in its context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
import tensorflow as tf

from albert_edge.datasets.examples import Examples
from albert_edge.errors import InputError, TrainingError
from albert_edge.pipelines.question_answering import plan_windows
from albert_edge.tokenizer import Encoding, Span, Tokenizer
from albert_edge.training.batching import token_dropout
from albert_edge.training.objective import (
    EncodedEpoch,
    TaskObjective,
    divergence,
    reject_class_weights,
)
from albert_edge.training.options import FinetuneOptions

_STRIDE, _LONGEST = 128, 30  # the defaults of the pipeline
_MASKED = -1e4  # added to the logits of padding


@final
class QuestionAnsweringObjective(TaskObjective):
    """Train on questions, contexts and the positions of the answers.

    A long context is divided into the same windows as on a device.  In a window without the whole
    answer, as for a question without one, the target is `[CLS]` for both start and end (Devlin et
    al. 2018, arXiv:1810.04805, sec. 4.3).

    Args:
        examples: Of the kind `question-answering`.  An answer whose position the file does not give
            is the first occurrence of its words in the context.

    Raises:
        TrainingError: An answer is not in its context.
    """

    task = "question-answering"

    def __init__(self, examples: Examples) -> None:
        self.examples = examples
        self._spans = [
            _find(inputs["context"], answers, start, place)
            for inputs, answers, start, place in zip(
                examples.inputs,
                examples.targets,
                examples.answer_starts,
                examples.places,
                strict=True,
            )
        ]

    def check(self, options: FinetuneOptions) -> None:
        reject_class_weights(options.class_weights, self.task)
        if not any(self._spans):
            raise TrainingError("no question has an answer; training needs some.")

    def encode_epoch(
        self, tokenizer: Tokenizer, options: FinetuneOptions, random: np.random.Generator
    ) -> EncodedEpoch:
        sequences: list[list[int]] = []
        types: list[list[int]] = []
        targets: list[tuple[int, int]] = []
        truncated = 0
        for inputs, span, place in zip(
            self.examples.inputs, self._spans, self.examples.places, strict=True
        ):
            windows, cut = _windows(inputs, tokenizer, options.window, place)
            truncated += cut
            targets += _targets(windows, span, place)
            types += [window.token_type_ids for window in windows]
            sequences += [
                token_dropout(w.input_ids, tokenizer, share=options.word_dropout, random=random)
                for w in windows
            ]
        rows = np.array(targets, np.float32)  # [m, 2]
        return EncodedEpoch(
            input_ids=sequences, token_type_ids=types, targets=rows, truncated=truncated
        )

    def pass_loss(
        self, outputs: Mapping[str, Any], targets: Any, mask: Any, options: FinetuneOptions
    ) -> Any:
        losses = [
            tf.nn.sparse_softmax_cross_entropy_with_logits(true, logits)
            for true, logits in _starts_and_ends(outputs, targets, mask)
        ]
        return tf.reduce_mean(losses)

    def imitation(
        self,
        outputs: Mapping[str, Any],
        taught: Mapping[str, Any],
        targets: Any,
        mask: Any,
        temperature: float,
    ) -> Any:
        pairs = zip(
            _starts_and_ends(outputs, targets, mask),
            _starts_and_ends(taught, targets, mask),
            strict=True,
        )
        return tf.reduce_mean(
            [divergence(logits, wanted, temperature) for (_, logits), (_, wanted) in pairs]
        )

    def accuracy(self, outputs: Mapping[str, Any], targets: Any, mask: Any) -> Any:
        same = [
            tf.equal(tf.argmax(logits, axis=-1, output_type=tf.int32), true)
            for true, logits in _starts_and_ends(outputs, targets, mask)
        ]
        return tf.reduce_mean(tf.cast(tf.logical_and(*same), tf.float32))


def _starts_and_ends(outputs: Mapping[str, Any], targets: Any, mask: Any) -> list[tuple[Any, Any]]:
    """Return the targets int32 [B] and the masked logits float32 [B, T] of starts, and of ends."""
    bias = (1.0 - tf.cast(mask, tf.float32)) * _MASKED  # [B, T]
    true = tf.unstack(tf.cast(targets, tf.int32), 2, axis=1)
    names = ("start_logits", "end_logits")
    return [(position, outputs[name] + bias) for position, name in zip(true, names, strict=True)]


def _find(
    context: str, answers: Sequence[str], start: int | None, place: str
) -> tuple[int, int] | None:
    """Return the span of the first answer in its context; None if there is no answer."""
    if not answers:
        return None
    answer = answers[0]
    begin = context.find(answer) if start is None else start
    if not answer.strip() or begin < 0 or context[begin : begin + len(answer)] != answer:
        where = "anywhere" if start is None else f"at answer_start {start}"
        raise TrainingError(
            f"{place}: the answer {answer[:60]!r} is not in the context {where}. --skip-bad leaves "
            "such examples out."
        )
    return begin, begin + len(answer)


def _windows(
    inputs: Mapping[str, str], tokenizer: Tokenizer, length: int, place: str
) -> tuple[list[Encoding], bool]:
    try:
        windows, _, cut = plan_windows(
            tokenizer, **inputs, max_length=length, max_answer_length=_LONGEST, stride=_STRIDE
        )
    except InputError as error:
        raise TrainingError(f"{place}: {error}") from error
    return windows, cut


def _targets(
    windows: Sequence[Encoding], span: tuple[int, int] | None, place: str
) -> list[tuple[int, int]]:
    """Return the answer's first and last token in each window; 0, 0 where it is not whole."""
    if span is None:
        return [(0, 0)] * len(windows)
    inside = [_overlapping(window, span) for window in windows]
    tokens = {token for found in inside for token in found.values()}
    if not tokens:
        raise TrainingError(f"{place}: the tokenizer has no tokens for the answer.")
    return [
        (min(found), max(found)) if set(found.values()) == tokens else (0, 0) for found in inside
    ]


def _overlapping(window: Encoding, span: tuple[int, int]) -> dict[int, Span]:
    """Return the spans of the context's tokens that overlap a span of it, by index."""
    start, end = span
    return {
        index: offset
        for index, offset in enumerate(window.offsets)
        if offset and window.token_type_ids[index] and max(start, offset[0]) < min(end, offset[1])
    }
