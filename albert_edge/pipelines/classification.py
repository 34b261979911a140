"""Text, or a pair of texts, to one of several labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from albert_edge.pipelines.base import Pipeline

__all__ = ["Classification", "softmax"]


@final
class Classification(Pipeline):
    """A sequence classifier.

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
    ) -> dict[str, Any]:
        """Classify a text, or a text and a second one.

        A text that is longer than the model takes is cut at its end (of two, the longer one), and
        the result says so.

        Args:
            text: What to classify; or give `input_ids`.
            pair: The second text of tasks that compare two.
            input_ids: T token ids in [0, V), special ones included, instead of text.
            token_type_ids: T numbers; all 0 if left out.

        Returns:
            `label`, the likeliest; `score`, its probability; `scores`, the probability of every
            label; `tokens`, how many the model read; `truncated`, whether text was cut off.

        Raises:
            InputError: The text is empty, or the ids cannot be.
        """
        encoding, truncated = self.encode(text, pair, input_ids, token_type_ids)
        outputs = self.model.run(encoding.input_ids, encoding.token_type_ids)
        scores = softmax(outputs["logits"][0]).tolist()  # [C]
        labels = self.model.bundle.config.labels
        best = max(range(len(scores)), key=scores.__getitem__)
        return {
            "label": labels[best],
            "score": scores[best],
            "scores": dict(zip(labels, scores, strict=True)),
            "tokens": len(encoding.input_ids),
            "truncated": truncated,
        }


def softmax(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Turn logits, of any shape, into float64 probabilities that sum to 1 over all of them."""
    wide = logits.astype(np.float64)
    powers = np.exp(wide - wide.max())
    chances: npt.NDArray[np.float64] = powers / powers.sum()
    return chances
