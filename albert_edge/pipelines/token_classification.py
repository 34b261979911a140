"""Label every word of a text: named entities, parts of speech."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from albert_edge.errors import InputError
from albert_edge.pipelines.base import Pipeline
from albert_edge.pipelines.classification import softmax
from albert_edge.pipelines.words import align_words, bio_to_entities

_Floats = npt.NDArray[np.float64]
# The probabilities of a word's labels, from those of its tokens, float64 [n, C].
_AGGREGATIONS: dict[str, Callable[[_Floats], _Floats]] = {
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
        patience: int | None = None,
        threshold: float | None = None,
        max_layers: int | None = None,
    ) -> dict[str, Any]:
        """Label every word of a text.

        A text that is longer than the model takes is cut at its end, and `truncated` is true.

        Args:
            text: The text to label; or give `input_ids`.
            aggregation: How to label a word of several tokens: `first`, by its first token;
                `average`, by the mean of their probabilities; `max`, by the token with the highest
                probability.
            entities: Whether to group words into entities by their labels, such as `B-PER` and
                `I-PER`.
            input_ids: T token ids in [0, V), special ones included, instead of text.
            token_type_ids: T types, 0 or 1; all 0 if left out.
            patience: For files with early exit, as in `EarlyExit`; this and the next two are the
                file's own if left out.
            threshold: As in `EarlyExit`, for the least probable of all labels.
            max_layers: As in `EarlyExit`.

        Returns:
            `words`, each with `text`, exactly as in the text, `text[start:end]`, `start`, `end`,
            `label` and `score`, the label's probability; with `entities` also `entities`, each
            with its type as `label`, its place, and the mean of its words' `score`; `tokens`, the
            number of tokens that the model read; `truncated`, whether text was cut off; for files
            with early exit `layers_used`, the number of passes.  For `input_ids`, every token is a
            word, `text` is its id and the place is that in `input_ids`.

        Raises:
            ConfigError: An early-exit option is out of range.
            InputError: The text is empty, the ids are invalid, there is no such aggregation, or
                the file does not support early exit.
        """
        if aggregation not in _AGGREGATIONS:
            raise InputError(
                f"aggregation is {aggregation!r}; choose from {', '.join(_AGGREGATIONS)}."
            )
        rule = self.early_exit_rule(patience=patience, threshold=threshold, max_layers=max_layers)
        encoding, truncated = self.encode(text, None, input_ids, token_type_ids)
        outputs = self.model.run(encoding.input_ids, encoding.token_type_ids, early_exit=rule)
        probabilities = np.stack([softmax(row) for row in outputs["logits"][0]])  # [T, C]
        if text is None:
            rows = [(i, i + 1, row) for i, row in enumerate(probabilities)]
        else:
            spans = [span for span in encoding.offsets if span is not None]
            aggregate = _AGGREGATIONS[aggregation]
            first = encoding.offsets.index(spans[0])  # behind [CLS]
            rows = [
                (word.start, word.end, aggregate(probabilities[[first + i for i in word.tokens]]))
                for word in align_words(text, spans)
            ]
        words = [self._word(encoding.input_ids if text is None else text, *row) for row in rows]
        return {
            "words": words,
            **({"entities": _group_entities(text, words)} if entities else {}),
            "tokens": len(encoding.input_ids),
            "truncated": truncated,
            **({"layers_used": int(outputs["layers_used"][0])} if rule else {}),
        }

    def _word(
        self, source: str | list[int], start: int, end: int, probabilities: _Floats
    ) -> dict[str, Any]:
        best = int(probabilities.argmax())
        return {
            "text": source[start:end] if isinstance(source, str) else source[start],
            "start": start,
            "end": end,
            "label": self.model.bundle.config.labels[best],
            "score": float(probabilities[best]),
        }


def _group_entities(text: str | None, words: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    entities = []
    for label, first, stop in bio_to_entities([word["label"] for word in words]):
        start, end = words[first]["start"], words[stop - 1]["end"]
        score = float(np.mean([word["score"] for word in words[first:stop]]))
        inner = [word["text"] for word in words[first:stop]] if text is None else text[start:end]
        entities.append({"text": inner, "start": start, "end": end, "label": label, "score": score})
    return entities
