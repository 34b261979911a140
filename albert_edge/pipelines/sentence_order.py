"""Predict whether the second of two texts follows the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from albert_edge.errors import InputError
from albert_edge.pipelines.base import Pipeline
from albert_edge.pipelines.classification import top_label

__all__ = ["ORDER_LABELS", "SentenceOrder"]

ORDER_LABELS = ("in order", "swapped")  # as ALBERT numbers them in pre-training


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
            **top_label(outputs["sop_logits"][0], ORDER_LABELS),
            "tokens": len(encoding.input_ids),
            "truncated": truncated,
        }
