"""Text to vectors: one a token, and one for all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from albert_edge.pipelines.base import Pipeline

__all__ = ["FeatureExtraction"]


@final
class FeatureExtraction(Pipeline):
    """An encoder without a task's head.

    Example:
        >>> pipe("a quiet, moving film")["pooler_output"].shape          # doctest: +SKIP
        (768,)
    """

    def __call__(
        self,
        text: str | None = None,
        pair: str | None = None,
        *,
        input_ids: Sequence[int] | None = None,
        token_type_ids: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Encode a text, or a text and a second one.

        A text that is longer than the model takes is cut at its end (of two, the longer one), and
        the result says so.

        Args:
            text: What to encode; or give `input_ids`.
            pair: A second text.
            input_ids: T token ids in [0, V), special ones included, instead of text.
            token_type_ids: T numbers; all 0 if left out.

        Returns:
            `last_hidden_state`, float32 [T, H]; `mean`, its mean over all T tokens, float32 [H];
            `pooler_output`, float32 [H], in (-1, 1), unless the model has no pooler; `tokens`, the
            T pieces of text, or the ids if the file carries no tokenizer; `truncated`, whether text
            was cut off.

        Raises:
            InputError: The text is empty, or the ids cannot be.
        """
        encoding, truncated = self.encode(text, pair, input_ids, token_type_ids)
        ids = encoding.input_ids
        outputs = self.model.run(ids, encoding.token_type_ids)
        states = outputs["last_hidden_state"][0]  # [T, H]
        name = self.tokenizer.id_to_piece if self.tokenizer else int
        return {
            **{key: values[0] for key, values in outputs.items()},
            "mean": states.mean(axis=0),
            "tokens": [name(token) for token in ids],
            "truncated": truncated,
        }
