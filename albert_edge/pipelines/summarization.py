"""An article to the sentences that stand for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, final

import numpy as np
import numpy.typing as npt

from albert_edge.errors import InputError
from albert_edge.pipelines.base import Pipeline
from albert_edge.pipelines.classification import sigmoid
from albert_edge.pipelines.sentence_windows import (
    SentenceTokens,
    article_spans,
    cut_sentences,
    join_sentences,
    split_ids,
    windows,
)

__all__ = ["WINDOW", "Summarization", "bigram_overlap", "centrality", "min_max_scale", "mmr_select"]

# The longest window that training shows a model unless told otherwise: behind it lie positions
# that it may never have seen.
WINDOW = 384
Numbers = npt.NDArray[np.float64]
# Chosen on SciTLDR's dev abstracts (`benchmarks/summarize.py`).
_THRESHOLD = 0.3  # of the way from the least to the largest cosine of an article
_EARLIER = 0.5  # what a likeness to an earlier sentence counts
_TINY = 1e-12


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
            scores, likeness = sigmoid(self._logits(read)), partial(bigram_overlap, read)
        else:
            scores, table = centrality(self._vectors(read))
            likeness = table.__getitem__
        chosen = mmr_select(min_max_scale(scores), likeness, count=bullets, redundancy=redundancy)
        return {
            "bullets": [_bullet(source, sentences[i], float(scores[i])) for i in chosen],
            "sentences": len(sentences),
            "truncated": any(len(sentence.ids) > room for sentence in sentences),
        }

    def _read(
        self, text: str | Sequence[str] | None, input_ids: Sequence[int] | None
    ) -> tuple[str | list[int], list[SentenceTokens]]:
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


def _bullet(source: str | list[int], sentence: SentenceTokens, score: float) -> dict[str, Any]:
    start, end = sentence.start, sentence.end
    return {"text": source[start:end], "start": start, "end": end, "score": score}


# Which sentences stand for an article: central ones, and not the same thing twice.


def min_max_scale(values: Numbers) -> Numbers:
    """Map the least value to 0 and the largest to 1; all to 1 if they are equal."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.ones_like(values)


def mmr_select(
    relevance: Numbers, likeness: Callable[[int], Numbers], *, count: int, redundancy: float
) -> list[int]:
    """Choose sentences one by one, each for what it says that those before do not.

    Maximal marginal relevance (Carbonell and Goldstein 1998, doi:10.1145/290941.291025), where
    lambda is 1 - `redundancy`.

    Args:
        relevance: How good each sentence is by itself, [n], in [0, 1].
        likeness: Tells how much a sentence says the same as each, [n], in [0, 1].
        count: How many to choose, if there are as many.
        redundancy: How much the likeness to a chosen sentence counts against another one, against
            its relevance, in [0, 1].

    Returns:
        The chosen ones, in the order of the article.

    Example:
        >>> same = np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]])
        >>> choose(np.array([1, 0.9, 0.5]), same.__getitem__, count=2, redundancy=0.5)
        [0, 2]
    """
    chosen: list[int] = []
    most = np.zeros_like(relevance)  # the likeness to the nearest one that is chosen
    while len(chosen) < min(count, len(relevance)):
        worth = (1 - redundancy) * relevance - redundancy * most
        worth[chosen] = -np.inf
        chosen.append(int(worth.argmax()))
        most = np.maximum(most, likeness(chosen[-1]))
    return sorted(chosen)


def centrality(vectors: Numbers) -> tuple[Numbers, Numbers]:
    """Find out which sentences the others are like.

    The degree in the graph of the article's sentences, where a likeness to what comes later counts
    more than one to what came before (PacSum: Zheng and Lapata 2019, arXiv:1906.03508, sec. 3),
    and small ones not at all.  Small is what is small in this article: the states of an encoder
    that was never taught to compare have large cosines throughout.

    Args:
        vectors: A vector of each sentence, [n, H].

    Returns:
        The centrality of each, [n], from 0 to 1, and the likeness of every two, [n, n], from 0 to
        1, the largest in this article; of a sentence to itself 0.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _TINY)
    cosines = unit @ unit.T  # [n, n]
    others = ~np.eye(len(vectors), dtype=bool)
    if not others.any():
        return np.ones(1), np.zeros((1, 1))
    low, high = cosines[others].min(), cosines[others].max()
    least = low + _THRESHOLD * (high - low)
    likeness = np.where(others, np.maximum(cosines - least, 0), 0) / max(high - least, _TINY)
    later, earlier = (part.sum(axis=1) for part in (np.triu(likeness), np.tril(likeness)))
    return min_max_scale(later + _EARLIER * earlier), likeness


def bigram_overlap(sentences: Sequence[Sequence[int]], one: int) -> Numbers:
    """Return which share of the neighbouring tokens of the shorter of two sentences both have.

    In the place of BERTSUM's rule that no three words may be there twice (Liu 2019,
    arXiv:1903.10318, sec. 3), of which this is the measure.

    Args:
        sentences: The token ids of n sentences, each at least one.
        one: The sentence that all are compared with.

    Returns:
        float64 [n], in [0, 1].

    Example:
        >>> shared_pairs([[7, 8, 9], [7, 8], [5]], 1).tolist()
        [1.0, 1.0, 0.0]
    """
    ours = _pairs(sentences[one])
    others = (_pairs(ids) for ids in sentences)
    return np.array([len(ours & pairs) / min(len(ours), len(pairs)) for pairs in others])


def _pairs(ids: Sequence[int]) -> set[tuple[int, ...]]:
    return {*pairwise(ids)} or {(ids[0],)}
