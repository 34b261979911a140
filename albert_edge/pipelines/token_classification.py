"""Text to labelled words: names, parts of speech."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from albert_edge.errors import InputError
from albert_edge.pipelines.base import Pipeline
from albert_edge.pipelines.classification import softmax
from albert_edge.pipelines.words import align_words, bio_to_entities

__all__ = ["TokenClassification"]

# How the label of a word follows from the probabilities of its tokens, float64 [n, C].
_AGGREGATIONS: dict[str, Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]] = {
    "first": lambda rows: rows[0],  # models are trained on the first token of each word
    "average": lambda rows: rows.mean(axis=0),
    "max": lambda rows: rows[rows.max(axis=1).argmax()],
}


@final
class TokenClassification(Pipeline):
    """A tagger.

    Example:
        >>> pipe("Ada met Charles.")["words"][0]          # doctest: +SKIP
        {'text': 'Ada', 'start': 0, 'end': 3, 'label': 'B-PER', 'score': 0.99}
    """

    def __call__(
        self,
        text: str | None = None,
        *,
        aggregation: str = "first",
        entities: bool = False,
        input_ids: Sequence[int] | None = None,
        token_type_ids: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Label every word of a text.

        A text that is longer than the model takes is cut at its end, and the result says so.

        Args:
            text: What to label; or give `input_ids`.
            aggregation: What decides the label of a word of several tokens: `first`, its first
                token; `average`, the mean of their probabilities; `max`, the surest token.
            entities: Whether to put words together to entities by their labels, as `B-PER` and
                `I-PER`.
            input_ids: T token ids in [0, V), special ones included, instead of text.
            token_type_ids: T numbers; all 0 if left out.

        Returns:
            `words`, each with `text`, `text[start:end]` as it stands there, `start`, `end`,
            `label` and `score`, the label's probability; with `entities` also `entities`, each
            with the kind as `label`, the place, and the mean of its words' `score`; `tokens`, how
            many the model read; `truncated`, whether text was cut off.  Of `input_ids`, every
            token is a word, `text` is its id and the place is that in `input_ids`.

        Raises:
            InputError: The text is empty, the ids cannot be, or there is no such aggregation.
        """
        if aggregation not in _AGGREGATIONS:
            raise InputError(
                f"aggregation is {aggregation!r}; choose from {', '.join(_AGGREGATIONS)}."
            )
        encoding, truncated = self.encode(text, None, input_ids, token_type_ids)
        logits = self.model.run(encoding.input_ids, encoding.token_type_ids)["logits"][0]  # [T, C]
        chances = np.stack([softmax(row) for row in logits])
        if text is None:
            found = [(i, i + 1, chances[i]) for i in range(len(chances))]
        else:
            spans = [span for span in encoding.offsets if span is not None]
            choose = _AGGREGATIONS[aggregation]
            first = encoding.offsets.index(spans[0])  # behind [CLS]
            found = [
                (word.start, word.end, choose(chances[[first + i for i in word.tokens]]))
                for word in align_words(text, spans)
            ]
        words = [self._word(encoding.input_ids if text is None else text, *one) for one in found]
        return {
            "words": words,
            **({"entities": _entities(text, words)} if entities else {}),
            "tokens": len(encoding.input_ids),
            "truncated": truncated,
        }

    def _word(
        self, source: str | list[int], start: int, end: int, chances: npt.NDArray[np.float64]
    ) -> dict[str, Any]:
        best = int(chances.argmax())
        return {
            "text": source[start:end] if isinstance(source, str) else source[start],
            "start": start,
            "end": end,
            "label": self.model.bundle.config.labels[best],
            "score": float(chances[best]),
        }


def _entities(text: str | None, words: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    entities = []
    for kind, first, stop in bio_to_entities([word["label"] for word in words]):
        start, end = words[first]["start"], words[stop - 1]["end"]
        score = float(np.mean([word["score"] for word in words[first:stop]]))
        inner = [word["text"] for word in words[first:stop]] if text is None else text[start:end]
        entities.append({"text": inner, "start": start, "end": end, "label": kind, "score": score})
    return entities
