"""An article to the sentences that stand for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, final

import numpy as np
import numpy.typing as npt

from albert_edge.errors import InputError
from albert_edge.pipelines.articles import (
    Sentence,
    article_spans,
    cut_sentences,
    join_sentences,
    split_ids,
    windows,
)
from albert_edge.pipelines.base import Pipeline
from albert_edge.pipelines.bullets import centrality, choose, scale, shared_pairs
from albert_edge.pipelines.classification import sigmoid

__all__ = ["WINDOW", "Summarization"]

# The longest window that training shows a model unless told otherwise: behind it lie positions
# that it may never have seen.
WINDOW = 384

Numbers = npt.NDArray[np.float64]


@final
class Summarization(Pipeline):
    """An extractive summarizer: what it says stands in the article.

    A model with the task's head scores every sentence in its place in the article.  An encoder
    without a head (`feature-extraction`) has learned no such thing; then those sentences are taken
    that the others are like.

    Example:
        >>> [b["text"] for b in pipe(article, bullets=2)["bullets"]]          # doctest: +SKIP
        ['The mill was built by a widow.', 'A storm took its roof.']
    """

    def __call__(
        self,
        text: str | Sequence[str] | None = None,
        *,
        bullets: int = 3,
        redundancy: float = 0.3,
        input_ids: Sequence[int] | None = None,
        token_type_ids: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Choose the sentences that sum up an article.

        An article that is longer than the model takes is read in windows of whole sentences.

        Args:
            text: The article, of any length, or its sentences, which are then joined by spaces; or
                give `input_ids`.
            bullets: How many sentences to choose; an article of fewer has fewer.
            redundancy: How much a sentence's likeness to a chosen one counts against it, from 0,
                not at all, to 1, alone; see `bullets.choose`.
            input_ids: T token ids in [0, V), `[CLS] sentence [SEP] sentence [SEP]`, instead of
                text.
            token_type_ids: Not used: sentences take turns.

        Returns:
            `bullets`, in the order of the article, each with `text`, as it stands there,
            `text[start:end]`, its place `start` and `end`, and its `score` by itself, in [0, 1]: of
            a head, how good a summary it is (trained here, the ROUGE that it expects); otherwise
            how central it is, from the least (0) to the most (1) central sentence.  `sentences`,
            how many were read; and `truncated`, whether one was cut at its end, for being longer
            than the model takes.  Of `input_ids`, `text` is the list `input_ids[start:end]`.

        Raises:
            InputError: The article is empty, the ids cannot be, or an option is out of range.
        """
        if bullets < 1 or not 0 <= redundancy <= 1:
            raise InputError("bullets must be at least 1, redundancy in [0, 1].")
        source, sentences = self._read(text, input_ids)
        if not sentences:
            raise InputError("the text is empty: there is nothing in it to sum up.")
        room = self._window - 2
        read = [sentence.ids[:room] for sentence in sentences]
        likeness: Callable[[int], Numbers]
        if self.model.bundle.task == "summarization":
            scores, likeness = sigmoid(self._logits(read)), partial(shared_pairs, read)
        else:
            scores, table = centrality(self._vectors(read))
            likeness = table.__getitem__
        chosen = choose(scale(scores), likeness, count=bullets, redundancy=redundancy)
        return {
            "bullets": [_bullet(source, sentences[i], float(scores[i])) for i in chosen],
            "sentences": len(sentences),
            "truncated": any(len(sentence.ids) > room for sentence in sentences),
        }

    def _read(
        self, text: str | Sequence[str] | None, input_ids: Sequence[int] | None
    ) -> tuple[str | list[int], list[Sentence]]:
        # The article, and its sentences with their places in it.
        if text is not None and input_ids is None:
            article, spans = article_spans(text)
            return article, cut_sentences(article, spans, self.text_tokenizer())
        if text is None and input_ids is not None:
            return list(input_ids), split_ids(input_ids, *self._special)
        raise InputError("give a text or input_ids.")

    @property
    def _window(self) -> int:
        return min(self.model.max_tokens, WINDOW)

    @property
    def _special(self) -> tuple[int, int]:
        config = self.model.bundle.config
        if self.tokenizer is None:
            return config.bos_token_id, config.eos_token_id
        return self.tokenizer.cls_id, self.tokenizer.sep_id

    def _logits(self, sentences: Sequence[Sequence[int]]) -> Numbers:
        """Return the mean logit of every sentence, [n], each from the first window it is in."""
        logits: list[float] = []
        types = self.model.bundle.config.type_vocab_size
        for window in windows(sentences, self._window):
            part = slice(window.begin, window.stop)
            ids, kinds, starts = join_sentences(sentences[part], *self._special, types=types)
            row = self.model.run(ids, kinds)["sentence_logits"][0]  # [T]
            sums = np.add.reduceat(row.astype(np.float64), starts)
            means = sums / np.diff([*starts, len(ids)])
            logits += means[window.new - window.begin :].tolist()
        return np.array(logits)

    def _vectors(self, sentences: Sequence[Sequence[int]]) -> Numbers:
        """Return the mean hidden state of every sentence by itself, [n, H]."""
        joined = (join_sentences([ids], *self._special) for ids in sentences)
        runs = (self.model.run(one.input_ids)["last_hidden_state"][0] for one in joined)
        return np.stack([states.mean(axis=0, dtype=np.float64) for states in runs])


def _bullet(source: str | list[int], sentence: Sentence, score: float) -> dict[str, Any]:
    start, end = sentence.start, sentence.end
    return {"text": source[start:end], "start": start, "end": end, "score": score}
