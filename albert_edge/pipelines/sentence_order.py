"""Two texts to whether the second follows on the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from albert_edge.errors import InputError
from albert_edge.pipelines.base import Pipeline
from albert_edge.pipelines.classification import softmax

__all__ = ["ORDER_LABELS", "SentenceOrder", "judge_order"]

ORDER_LABELS = ("in order", "swapped")  # as ALBERT numbers them in pre-training


@final
class SentenceOrder(Pipeline):
    """What pre-training tells of two segments: whether they stand in their order.

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
        """Judge the order of two texts.

        Texts that are longer than the model takes are cut at the end of the longer one, and the
        result says so.

        Args:
            text: The first text; or give `input_ids`.
            pair: The second one.
            input_ids: T token ids in [0, V), `[CLS] text [SEP] pair [SEP]`, instead of text.
            token_type_ids: T numbers, 1 for the second text; needed with `input_ids`.

        Returns:
            `label`, "in order" or "swapped"; `score`, its probability; `scores`, of both;
            `tokens`, how many the model read; `truncated`, whether text was cut off.

        Raises:
            InputError: A text is missing or empty, or the ids cannot be.
        """
        if text is not None and pair is None:
            raise InputError("the order is one of two texts: give a second one (--pair).")
        if text is None and input_ids is not None and not np.any(token_type_ids or 0):
            raise InputError("input_ids need token_type_ids that are 1 for the second text.")
        encoding, truncated = self.encode(text, pair, input_ids, token_type_ids)
        outputs = self.model.run(encoding.input_ids, encoding.token_type_ids)
        return {
            **judge_order(outputs["sop_logits"][0]),
            "tokens": len(encoding.input_ids),
            "truncated": truncated,
        }


def judge_order(logits: npt.NDArray[np.float32]) -> dict[str, Any]:
    """Return `label`, `score` and `scores`, as `SentenceOrder` gives them, from logits [2]."""
    scores = dict(zip(ORDER_LABELS, softmax(logits).tolist(), strict=True))
    label = max(scores, key=scores.__getitem__)
    return {"label": label, "score": scores[label], "scores": scores}
