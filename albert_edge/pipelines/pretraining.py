"""Text, or two, to what pre-training tells of it: the masked words, and the order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from albert_edge.errors import InputError
from albert_edge.pipelines.base import Pipeline
from albert_edge.pipelines.fill_mask import check_top_k, fill
from albert_edge.pipelines.sentence_order import judge_order

__all__ = ["Pretraining"]


@final
class Pretraining(Pipeline):
    """Both heads of pre-training: `FillMask` and `SentenceOrder` in one pass.

    Example:
        >>> pipe("Ada [MASK] it.", "Nobody read it.")["order"]["label"]          # doctest: +SKIP
        'in order'
    """

    def __call__(
        self,
        text: str | None = None,
        pair: str | None = None,
        *,
        top_k: int = 5,
        input_ids: Sequence[int] | None = None,
        token_type_ids: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Fill the masks of a text or two, and judge the order of two.

        Args:
            text: The first text; or give `input_ids`.
            pair: The second one.
            top_k: How many candidates to give for a mask.
            input_ids: T token ids in [0, V), special ones included, instead of text.
            token_type_ids: T numbers, 1 for the second text; all 0 if left out.

        Returns:
            If there are masks, `text`, `pair` and `masks` as `FillMask` gives them; if there are
            two texts, `order`: `label`, `score` and `scores` as `SentenceOrder` gives them;
            `tokens`, how many the model read; `truncated`, whether text was cut off.

        Raises:
            InputError: There is neither a mask nor a second text, or the ids cannot be.
        """
        check_top_k(top_k, self.model.bundle.config.vocab_size)
        encoding, truncated = self.encode(text, pair, input_ids, token_type_ids, allow_special=True)
        ids, types, tokenizer = encoding.input_ids, encoding.token_type_ids, self.tokenizer
        masked, paired = tokenizer is None or tokenizer.mask_id in ids, 1 in types
        if not masked and not paired:
            raise InputError(
                "there is nothing to answer: put [MASK] where a word is to be found, or give a "
                "second text (--pair) to judge the order."
            )
        outputs = self.model.run(ids, types)
        logits = outputs["prediction_logits"][0]  # [T, V]
        answer: dict[str, Any] = {}
        if masked:
            answer = fill(text, pair, encoding, logits, tokenizer, top_k=top_k)
        if paired:
            answer["order"] = judge_order(outputs["sop_logits"][0])
        return {**answer, "tokens": len(ids), "truncated": truncated}
