"""Train extractive summarization: the ROUGE of every sentence with the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

import numpy as np
import tensorflow as tf

from albert_edge.datasets.examples import Examples
from albert_edge.errors import TrainingError
from albert_edge.evaluation.rouge import rouge
from albert_edge.pipelines.sentence_windows import (
    join_sentences,
    sentence_spans,
    split_into_windows,
    tokenize_sentences,
)
from albert_edge.tokenizer import Span, Tokenizer
from albert_edge.training.batching import token_dropout
from albert_edge.training.objective import (
    IGNORE_INDEX,
    EncodedEpoch,
    TaskObjective,
    divergence,
    reject_class_weights,
)
from albert_edge.training.options import FinetuneOptions

_MASKED = 1e9  # subtracted from the scores of padding


class _Article(NamedTuple):
    # A text, and the score of each of its sentences, by span.
    text: str
    scores: dict[Span, float]


@final
class SummarizationObjective(TaskObjective):
    """Train on articles and the overlap of each sentence with the reference summaries.

    A sentence's target is the mean of its ROUGE-1, -2 and -L.  BERTSUM's targets are 1 for the few
    sentences that score best together (Liu 2019, arXiv:1903.10318, sec. 3.2); the scores themselves
    also distinguish the sentences that come close.

    Args:
        examples: Of the kind `summarization`, with articles.
    """

    task = "summarization"

    def __init__(self, examples: Examples) -> None:
        self.examples = examples
        self._articles = [
            _scored(inputs, summaries, place)
            for inputs, summaries, place in zip(
                examples.inputs, examples.targets, examples.places, strict=True
            )
        ]

    def check(self, options: FinetuneOptions) -> None:
        reject_class_weights(options.class_weights, "summarization")
        if not any(score for article in self._articles for score in article.scores.values()):
            raise TrainingError(
                "no sentence has a word in common with its summary; training needs some."
            )

    def encode_epoch(
        self, tokenizer: Tokenizer, options: FinetuneOptions, random: np.random.Generator
    ) -> EncodedEpoch:
        sequences, types, targets, truncated = [], [], [], 0
        for (text, scores), place in zip(self._articles, self.examples.places, strict=True):
            most = options.window - 2
            sentences = tokenize_sentences(text, list(scores), tokenizer, most=most)
            if not sentences:
                raise TrainingError(f"{place}: the text is empty: it contains no sentences.")
            read = [sentence.ids for sentence in sentences]
            truncated += any(sentence.truncated for sentence in sentences)
            for window in split_into_windows(read, options.window):
                part = slice(window.start, window.stop)
                ids, kinds, starts = join_sentences(read[part], tokenizer.cls_id, tokenizer.sep_id)
                row = np.full(len(ids), IGNORE_INDEX, np.float32)
                ends = np.array([*starts[1:], len(ids)])
                row[ends - 1] = [scores[s.start, s.end] for s in sentences[part]]
                share = options.word_dropout
                sequences.append(token_dropout(ids, tokenizer, share=share, random=random))
                types.append(kinds)
                targets.append(row)
        return EncodedEpoch(
            input_ids=sequences,
            token_type_ids=types,
            targets=targets,
            per_token=True,
            truncated=truncated,
        )

    def pass_loss(
        self, outputs: Mapping[str, Any], targets: Any, mask: Any, options: FinetuneOptions
    ) -> Any:
        means, scores, known = _sentences(outputs["sentence_logits"], targets)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(scores, means)  # [B, S]
        return tf.reduce_sum(losses * known) / tf.reduce_sum(known)

    def imitation(
        self,
        outputs: Mapping[str, Any],
        taught: Mapping[str, Any],
        targets: Any,
        mask: Any,
        temperature: float,
    ) -> Any:
        means, _, known = _sentences(outputs["sentence_logits"], targets)
        wanted, _, _ = _sentences(taught["sentence_logits"], targets)
        losses = divergence(means, wanted, temperature, independent=True)  # [B, S]
        return tf.reduce_sum(losses * known) / tf.reduce_sum(known)

    def accuracy(self, outputs: Mapping[str, Any], targets: Any, mask: Any) -> Any:
        """Return the share of windows in which the sentence with the best target scores highest."""
        means, scores, known = _sentences(outputs["sentence_logits"], targets)
        bias = (known - 1) * _MASKED
        same = tf.equal(tf.argmax(means + bias, axis=-1), tf.argmax(scores + bias, axis=-1))
        return tf.reduce_mean(tf.cast(same, tf.float32))


def _scored(inputs: Mapping[str, Any], summaries: Sequence[str], place: str) -> _Article:
    if "text" not in inputs:
        raise TrainingError(f"{place}: there is no article; its column must be text or source.")
    text, spans = sentence_spans(inputs["text"])
    scores = {
        (start, end): float(np.mean(rouge(text[start:end], summaries))) for start, end in spans
    }
    return _Article(text, scores)


def _sentences(logits: Any, targets: Any) -> tuple[Any, Any, Any]:
    """Aggregate tokens to sentences; a sentence ends at the token with its target.

    Args:
        logits: float32 [B, T].
        targets: float32 [B, T].

    Returns:
        The mean logit and the target of each of S sentences, both float32 [B, S]; and a mask,
        float32 [B, S], 1 for sentences, 0 for padding.
    """
    logits, targets = logits[:, 1:], targets[:, 1:]  # without [CLS]
    ends = tf.cast(targets > IGNORE_INDEX, tf.float32)
    count = tf.cast(tf.reduce_max(tf.reduce_sum(ends, axis=1)), tf.int32)
    number = tf.cast(tf.cumsum(ends, axis=1, exclusive=True), tf.int32)
    inside = tf.one_hot(number, count)  # [B, T, S]; padding belongs to a sentence without an end
    lengths = tf.maximum(tf.reduce_sum(inside, axis=1), 1.0)
    means = tf.einsum("bt,bts->bs", logits, inside) / lengths
    scores = tf.einsum("bt,bts->bs", targets * ends, inside)
    return means, scores, tf.einsum("bt,bts->bs", ends, inside)
