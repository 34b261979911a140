"""Text, or a pair of texts, to a label, to any number of labels, or to numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
import numpy.typing as npt

from albert_edge.early_exit import EarlyExit
from albert_edge.errors import InputError
from albert_edge.pipelines.base import Pipeline

__all__ = ["Classification", "sigmoid", "softmax"]


@final
class Classification(Pipeline):
    """A sequence classifier, or what a regression predicts.

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
        the result says so.

        Args:
            text: What to classify; or give `input_ids`.
            pair: The second text of tasks that compare two.
            input_ids: T token ids in [0, V), special ones included, instead of text.
            token_type_ids: T numbers; all 0 if left out.
            threshold: Of models that may give several labels, the least probability of one that
                is given; 0.5 if left out.  Of files that can leave early, as in `EarlyExit`.
            patience: As in `EarlyExit`, for files that can leave early; like `threshold` there and
                `max_layers`, the file's own if left out.
            max_layers: As in `EarlyExit`.

        Returns:
            `tokens`, how many the model read; `truncated`, whether text was cut off; and by the
            model's `problem_type`:
            one label (the default): `label`, the likeliest; `score`, its probability; `scores`,
            the probability of every label, which sum to 1;
            several labels: `labels`, those with at least the `threshold`, the likeliest first;
            `scores`, the probability of every label by itself;
            regression: `value`, the number; with several labels `values`, a number for each.
            Of files that can leave early also `layers_used`, how many passes were made.

        Raises:
            ConfigError: The patience, the threshold or the most layers of an early exit cannot be.
            InputError: The text is empty, the ids cannot be, the threshold is no probability, or
                the file cannot leave early.
        """
        several = self.model.bundle.config.kind == "multi-label"
        if several and not 0 <= (threshold or 0) <= 1:
            raise InputError(f"threshold must be in [0, 1], not {threshold}.")
        exits = {"patience": patience, "max_layers": max_layers}
        rule = self._rule(**exits, threshold=None if several else threshold)
        encoding, truncated = self.encode(text, pair, input_ids, token_type_ids)
        outputs = self.model.run(encoding.input_ids, encoding.token_type_ids, early_exit=rule)
        answer = self._answer(outputs["logits"][0], 0.5 if threshold is None else threshold)
        if rule:
            answer["layers_used"] = int(outputs["layers_used"][0])
        return {**answer, "tokens": len(encoding.input_ids), "truncated": truncated}

    def _rule(self, **given: float | None) -> EarlyExit | None:
        """Return when to leave: the file's rule, but for what is `given`."""
        usual = self.model.bundle.early_exit
        changes: dict[str, Any] = {name: one for name, one in given.items() if one is not None}
        if changes:
            self.model.check_leaving()
        return replace(usual, **changes) if usual else None

    def _answer(self, logits: npt.NDArray[np.float32], threshold: float) -> dict[str, Any]:
        config = self.model.bundle.config
        if config.kind == "regression":
            values = dict(zip(config.labels, logits.tolist(), strict=True))
            return {"value": logits[0].item()} if len(values) == 1 else {"values": values}
        several = config.kind == "multi-label"
        chances = (sigmoid if several else softmax)(logits).tolist()
        scores = dict(zip(config.labels, chances, strict=True))
        ranked = sorted(scores, key=scores.__getitem__, reverse=True)
        if several:
            return {"labels": [x for x in ranked if scores[x] >= threshold], "scores": scores}
        return {"label": ranked[0], "score": scores[ranked[0]], "scores": scores}


def sigmoid(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Turn each logit by itself into a float64 probability."""
    chances: npt.NDArray[np.float64] = 0.5 + 0.5 * np.tanh(0.5 * logits.astype(np.float64))
    return chances


def softmax(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Turn logits, of any shape, into float64 probabilities that sum to 1 over all of them."""
    wide = logits.astype(np.float64)
    powers = np.exp(wide - wide.max())
    chances: npt.NDArray[np.float64] = powers / powers.sum()
    return chances
