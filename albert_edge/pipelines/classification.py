"""Classify a text, or a pair of texts, or predict numbers for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from albert_edge.errors import InputError
from albert_edge.pipelines.base import Pipeline

__all__ = ["ORDER_LABELS", "sigmoid", "softmax"]

ORDER_LABELS = ("in order", "swapped")  # as ALBERT numbers them in pre-training


@final
class Classification(Pipeline):
    """A classifier with one label or several a text, or a regression.

    Example:
        >>> pipe("a quiet, moving film")["label"]          # doctest: +SKIP
        'positive'
    """

    def __call__(
        self,
        text: str | None = None,
        pair: str | None = None,
        *,
        input_ids: Sequence[int] | None = None,
        token_type_ids: Sequence[int] | None = None,
        threshold: float | None = None,
        patience: int | None = None,
        max_layers: int | None = None,
    ) -> dict[str, Any]:
        """Classify a text, or a text and a second one.

        A text that is longer than the model takes is cut at its end (of two, the longer one), and
        `truncated` is true.

        Args:
            text: The text to classify; or give `input_ids`.
            pair: The second text, for tasks that compare two.
            input_ids: T token ids in [0, V), special ones included, instead of text.
            token_type_ids: T types, 0 or 1; all 0 if left out.
            threshold: For multi-label models, the least probability of a label in `labels`; 0.5 if
                left out.  For files with early exit, as in `EarlyExit`.
            patience: For files with early exit, as in `EarlyExit`; this, `max_layers` and the
                `threshold` of an early exit are the file's own if left out.
            max_layers: As in `EarlyExit`.

        Returns:
            `tokens`, the number of tokens that the model read; `truncated`, whether text was cut
            off; and by the model's `problem_type`:
            one label (the default): `label`, the most probable; `score`, its probability; `scores`,
            the probability of every label, which sum to 1 (of a single label, the logistic of its
            logit);
            multi-label: `labels`, those with at least the `threshold`, the most probable first;
            `scores`, the probability of every label on its own;
            regression: `value`, the number; with several labels `values`, a number for each.
            For files with early exit also `layers_used`, the number of passes.

        Raises:
            ConfigError: An early-exit option is out of range.
            InputError: The text is empty, the ids are invalid, the threshold is not a probability,
                or the file does not support early exit.
        """
        multi_label = self.model.bundle.config.kind == "multi-label"
        if multi_label and not 0 <= (threshold or 0) <= 1:
            raise InputError(f"threshold must be in [0, 1], not {threshold}.")
        early_exit = self.early_exit_rule(
            patience=patience,
            max_layers=max_layers,
            threshold=None if multi_label else threshold,
        )
        encoding, truncated = self.encode(text, pair, input_ids, token_type_ids)
        outputs = self.model.run(encoding.input_ids, encoding.token_type_ids, early_exit=early_exit)
        result = self._postprocess(outputs, 0.5 if threshold is None else threshold)
        if early_exit:
            result["layers_used"] = int(outputs["layers_used"][0])
        return {**result, "tokens": len(encoding.input_ids), "truncated": truncated}

    def _postprocess(
        self, outputs: Mapping[str, npt.NDArray[np.float32]], threshold: float
    ) -> dict[str, Any]:
        config = self.model.bundle.config
        if config.kind == "regression":
            logits = outputs["logits"][0]
            values = dict(zip(config.labels, logits.tolist(), strict=True))
            return {"value": logits[0].item()} if len(values) == 1 else {"values": values}
        probabilities = self._probabilities(outputs)
        if config.kind != "multi-label":
            return top_label(probabilities, config.labels)
        scores = dict(zip(config.labels, probabilities.tolist(), strict=True))
        ranked = sorted(scores, key=scores.__getitem__, reverse=True)
        return {"labels": [x for x in ranked if scores[x] >= threshold], "scores": scores}

    def _probabilities(
        self, outputs: Mapping[str, npt.NDArray[np.float32]]
    ) -> npt.NDArray[np.float64]:
        """Return the probability of each label, float64 [C]."""
        if "probabilities" in outputs:  # a file of the target mediapipe
            found: npt.NDArray[np.float64] = outputs["probabilities"][0].astype(np.float64)
            return found
        logits = outputs["logits"][0]
        independent = self.model.bundle.config.labels_are_independent
        return sigmoid(logits) if independent else softmax(logits)


def top_label(probabilities: npt.NDArray[np.float64], labels: Sequence[str]) -> dict[str, Any]:
    """Return the most probable label.

    Args:
        probabilities: float64 [C].
        labels: The C labels.

    Returns:
        `label`; `score`, its probability; `scores`, the probability of every label.
    """
    scores = dict(zip(labels, probabilities.tolist(), strict=True))
    label = max(scores, key=scores.__getitem__)
    return {"label": label, "score": scores[label], "scores": scores}


def sigmoid(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the probability of each logit on its own: float64 in [0, 1], same shape."""
    probabilities: npt.NDArray[np.float64] = 0.5 + 0.5 * np.tanh(0.5 * logits.astype(np.float64))
    return probabilities


def softmax(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return float64 probabilities, same shape, that sum to 1 over all axes."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max())
    probabilities: npt.NDArray[np.float64] = exponentials / exponentials.sum()
    return probabilities


# Predict whether the second of two texts follows the first.


@final
class SentenceOrder(Pipeline):
    """The sentence-order head of pre-training: whether two segments are in their order.

    Example:
        >>> pipe("Ada wrote it.", "Nobody read it.")["label"]          # doctest: +SKIP
        'in order'
    """

    def __call__(
        self,
        text: str | None = None,
        pair: str | None = None,
        *,
        input_ids: Sequence[int] | None = None,
        token_type_ids: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Predict the order of two texts.

        Texts that are longer than the model takes are cut at the end of the longer one, and
        `truncated` is true.

        Args:
            text: The first text; or give `input_ids`.
            pair: The second text.
            input_ids: T token ids in [0, V), `[CLS] text [SEP] pair [SEP]`, instead of text.
            token_type_ids: T types, 1 for the second text; needed with `input_ids`.

        Returns:
            `label`, "in order" or "swapped"; `score`, its probability; `scores`, of both;
            `tokens`, the number of tokens that the model read; `truncated`, whether text was cut
            off.

        Raises:
            InputError: A text is missing or empty, or the ids are invalid.
        """
        if text is not None and pair is None:
            raise InputError("sentence order needs two texts: give a second one (--pair).")
        if text is None and input_ids is not None and not np.any(token_type_ids or 0):
            raise InputError("input_ids need token_type_ids that are 1 for the second text.")
        encoding, truncated = self.encode(text, pair, input_ids, token_type_ids)
        outputs = self.model.run(encoding.input_ids, encoding.token_type_ids)
        return {
            **top_label(softmax(outputs["sop_logits"][0]), ORDER_LABELS),
            "tokens": len(encoding.input_ids),
            "truncated": truncated,
        }
