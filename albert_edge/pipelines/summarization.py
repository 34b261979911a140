"""Summarize an article by extracting sentences: central ones that do not repeat each other.

A summarization head scores sentences in their context; without one, the centrality of sentence
embeddings does.  Maximal marginal relevance (`mmr_select`) trades these scores against redundancy.
"""

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
    join_sentences,
    sentence_spans,
    split_ids,
    split_into_windows,
    tokenize_sentences,
)

# The default window of training: a model may be untrained at positions beyond it.
_WINDOW = 384
_Floats = npt.NDArray[np.float64]
# Both chosen on SciTLDR's dev abstracts (`benchmarks/summarize.py`).
_THRESHOLD = 0.3  # the position of the threshold between the least and the largest cosine
_EARLIER_WEIGHT = 0.5  # of the similarity to an earlier sentence
_EPSILON = 1e-12
_BLOCK = 1 << 22  # cosines that are computed at a time: 32 MiB


@final
class Summarization(Pipeline):
    """An extractive summarizer: every sentence of the summary is one of the article.

    A model with a summarization head scores every sentence in its context.  An encoder without a
    head (`feature-extraction`) is not trained for that; then the sentences most similar to the
    others are selected.

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
        """Select the sentences that summarize an article.

        An article that is longer than the model takes is read in windows of whole sentences.
        Memory grows with its length; without a head, time grows with the square of the number of
        its sentences: 60,000 of them are compared in about a minute.

        Args:
            text: The article, of any length, or its sentences, which are then joined by spaces; or
                give `input_ids`.
            bullets: The number of sentences to select, at most those of the article.
            redundancy: The weight of a sentence's similarity to the selected ones against its
                score, in [0, 1]; see `mmr_select`.
            input_ids: T token ids in [0, V), `[CLS] sentence [SEP] sentence [SEP]`, instead of
                text.
            token_type_ids: Not used: types alternate from sentence to sentence.

        Returns:
            `bullets`, in the order of the article, each with `text`, exactly as in the article,
            `text[start:end]`, its place `start` and `end`, and its `score` without regard to the
            others, in [0, 1]: of a head, how good a summary the sentence is (for heads trained
            here, the predicted ROUGE); otherwise its centrality, from the least (0) to the most (1)
            central sentence.  `sentences`, the number of sentences of the article; and `truncated`,
            whether one was cut because the model takes no sentence that long.  For
            `input_ids`, `text` is the list `input_ids[start:end]`.

        Raises:
            InputError: The article is empty, the ids are invalid, or an option is out of range.
        """
        if bullets < 1 or not 0 <= redundancy <= 1:
            raise InputError("bullets must be at least 1, redundancy in [0, 1].")
        source, sentences = self._tokenize(text, input_ids)
        if not sentences:
            raise InputError("the text is empty: it contains no sentences.")
        ids = [sentence.ids for sentence in sentences]
        similarity: Callable[[int], _Floats]
        if self.model.bundle.task == "summarization":
            scores, similarity = sigmoid(self._sentence_logits(ids)), partial(bigram_overlap, ids)
        else:
            scores, similarity = centrality(self._embed_sentences(ids))
        selected = mmr_select(
            min_max_scale(scores), similarity, count=bullets, redundancy=redundancy
        )
        return {
            "bullets": [_bullet(source, sentences[i], float(scores[i])) for i in selected],
            "sentences": len(sentences),
            "truncated": any(sentence.truncated for sentence in sentences),
        }

    def _tokenize(
        self, text: str | Sequence[str] | None, input_ids: Sequence[int] | None
    ) -> tuple[str | list[int], list[SentenceTokens]]:
        # The article, and its sentences with their places in it.
        most = self._window - 2
        if text is not None and input_ids is None:
            article, spans = sentence_spans(text)
            tokenizer = self.text_tokenizer()
            return article, tokenize_sentences(article, spans, tokenizer, most=most)
        if text is None and input_ids is not None:
            return list(input_ids), split_ids(input_ids, *self._special_ids, most=most)
        raise InputError("give a text or input_ids.")

    @property
    def _window(self) -> int:
        return min(self.max_tokens, _WINDOW)

    @property
    def _special_ids(self) -> tuple[int, int]:
        config = self.model.bundle.config
        if self.tokenizer is None:
            return config.bos_token_id, config.eos_token_id
        return self.tokenizer.cls_id, self.tokenizer.sep_id

    def _sentence_logits(self, sentences: Sequence[Sequence[int]]) -> _Floats:
        """Return the mean logit of every sentence, [n], from the first window that contains it."""
        logits: list[float] = []
        types = self.model.bundle.config.type_vocab_size
        for window in split_into_windows(sentences, self._window):
            part = sentences[window.start : window.stop]
            ids, type_ids, starts = join_sentences(part, *self._special_ids, types=types)
            row = self.model.run(ids, type_ids)["sentence_logits"][0]  # [T]
            sums = np.add.reduceat(row.astype(np.float64), starts)
            means = sums / np.diff([*starts, len(ids)])
            logits += means[window.first_new - window.start :].tolist()
        return np.array(logits)

    def _embed_sentences(self, sentences: Sequence[Sequence[int]]) -> _Floats:
        """Return the mean hidden state of every sentence on its own, [n, H]."""
        vectors = np.empty((len(sentences), self.model.bundle.config.hidden_size))
        first: dict[bytes, int] = {}  # of equal sentences
        for index, ids in enumerate(sentences):
            earlier = first.setdefault(np.array(ids, np.int32).tobytes(), index)
            if earlier == index:
                joined = join_sentences([ids], *self._special_ids)
                states = self.model.run(joined.input_ids)["last_hidden_state"][0]  # [T, H]
                vectors[index] = states.mean(axis=0, dtype=np.float64)
            else:
                vectors[index] = vectors[earlier]
        return vectors


def mmr_select(
    relevance: _Floats, similarity: Callable[[int], _Floats], *, count: int, redundancy: float
) -> list[int]:
    """Select sentences one by one, by relevance less similarity to those already selected.

    Maximal marginal relevance (Carbonell and Goldstein 1998, doi:10.1145/290941.291025), where
    lambda is 1 - `redundancy`.

    Args:
        relevance: The relevance of each sentence on its own, [n], in [0, 1].
        similarity: Returns the similarity of a sentence to each, [n], in [0, 1].
        count: The number of sentences to select, at most n.
        redundancy: The weight of the similarity to a selected sentence against relevance, in
            [0, 1].

    Returns:
        The selected sentences, in the order of the article.

    Example:
        >>> same = np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]])
        >>> mmr_select(np.array([1, 0.9, 0.5]), same.__getitem__, count=2, redundancy=0.5)
        [0, 2]
    """
    selected: list[int] = []
    max_similarity = np.zeros_like(relevance)  # to any selected sentence
    while len(selected) < min(count, len(relevance)):
        marginal = (1 - redundancy) * relevance - redundancy * max_similarity
        marginal[selected] = -np.inf
        selected.append(int(marginal.argmax()))
        max_similarity = np.maximum(max_similarity, similarity(selected[-1]))
    return sorted(selected)


def centrality(vectors: _Floats) -> tuple[_Floats, Callable[[int], _Floats]]:
    """Compute which sentences are the most similar to the others.

    The degree in the graph of the article's sentences, where similarity to a later sentence counts
    more than to an earlier one (PacSum: Zheng and Lapata 2019, arXiv:1906.03508, sec. 3), and
    similarity below a threshold not at all.  The threshold is relative to the article's cosines:
    those of an encoder that was never trained to compare are all large.

    Args:
        vectors: An embedding of each sentence, [n, H].

    Returns:
        The centrality of each sentence, [n], from 0 to 1, and a function that returns the
        similarity of a sentence to each, [n], from 0 to 1, the largest in this article; 0 to
        itself.  The similarities of all pairs are never in memory at once.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _EPSILON)
    count = len(unit)
    if count == 1:
        return np.ones(1), lambda _: np.zeros(1)
    step = max(_BLOCK // count, 1)

    def upper(start: int, below: float) -> _Floats:
        # The cosines of some sentences with those behind them; `below` for the others.
        rows: _Floats = unit[start : start + step] @ unit[start:].T  # [step, n - start]
        rows[np.tril_indices(len(rows))] = below
        return rows

    starts = range(0, count, step)
    low, high = np.inf, -np.inf
    for start in starts:
        rows = upper(start, np.inf)
        low = min(low, float(rows.min()))
        rows[np.tril_indices(len(rows))] = -np.inf
        high = max(high, float(rows.max()))
    least = low + _THRESHOLD * (high - low)
    scale = max(high - least, _EPSILON)
    degrees = np.zeros(count)
    for start in starts:
        rows = upper(start, -np.inf)
        rows -= least
        np.maximum(rows, 0, out=rows)
        degrees[start : start + step] += rows.sum(axis=1)
        degrees[start:] += _EARLIER_WEIGHT * rows.sum(axis=0)

    def similarity(index: int) -> _Floats:
        row: _Floats = np.maximum(unit @ unit[index] - least, 0) / scale
        row[index] = 0
        return row

    return min_max_scale(degrees / scale), similarity


def min_max_scale(values: _Floats) -> _Floats:
    """Scale values so that the least is 0 and the largest 1; all are 1 if they are equal."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.ones_like(values)


def bigram_overlap(sentences: Sequence[Sequence[int]], index: int) -> _Floats:
    """Return the proportion of token bigrams of the shorter of two sentences that both contain.

    This replaces the trigram blocking of BERTSUM (Liu 2019, arXiv:1903.10318, sec. 3), which allows
    no three words twice, by a number.

    Args:
        sentences: The token ids of n sentences, each at least one.
        index: The sentence to compare with all.

    Returns:
        float64 [n], in [0, 1].

    Example:
        >>> bigram_overlap([[7, 8, 9], [7, 8], [5]], 1).tolist()
        [1.0, 1.0, 0.0]
    """
    ours = _bigrams(sentences[index])
    others = (_bigrams(ids) for ids in sentences)
    return np.array([len(ours & theirs) / min(len(ours), len(theirs)) for theirs in others])


def _bigrams(ids: Sequence[int]) -> set[tuple[int, ...]]:
    return {*pairwise(ids)} or {(ids[0],)}


def _bullet(source: str | list[int], sentence: SentenceTokens, score: float) -> dict[str, Any]:
    start, end = sentence.start, sentence.end
    return {"text": source[start:end], "start": start, "end": end, "score": score}
