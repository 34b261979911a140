"""A question and a text to the words of the text that answer it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt

from albert_edge.errors import InputError
from albert_edge.pipelines.base import Pipeline, check_not_empty
from albert_edge.pipelines.classification import softmax
from albert_edge.tokenizer import Encoding, Tokenizer

__all__ = ["QuestionAnswering", "plan_windows", "score_spans"]

# The length at which ALBERT is fine-tuned on SQuAD (Google's run_squad): no use in more at once.
_WINDOW = 384
Numbers = npt.NDArray[Any]


class _Candidates(NamedTuple):
    # K spans of the context, in its own units (code points, or ids), and their logits.
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]


@final
class QuestionAnswering(Pipeline):
    """An extractive question answerer.

    A long context is read in windows that overlap by at least the longest answer, so every span
    that may be the answer lies whole in at least one window; it is scored in the one where it has
    the most context.

    Example:
        >>> pipe(question="Who?", context="It was Ada.")["answer"]          # doctest: +SKIP
        'Ada'
    """

    def __call__(
        self,
        question: str | None = None,
        context: str | None = None,
        *,
        max_answer_length: int = 30,
        stride: int = 128,
        top_k: int = 1,
        allow_null: bool = False,
        null_threshold: float = 0.0,
        input_ids: Sequence[int] | None = None,
        token_type_ids: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Answer a question from a text.

        Args:
            question: What to answer; or give `input_ids`.
            context: The text that holds the answer, of any length.
            max_answer_length: The most tokens of an answer.
            stride: How many tokens of the context neighbouring windows share.  Raised to
                `max_answer_length` if it is less, and lowered where windows are short.
            top_k: How many answers to give under `answers`, the best first.
            allow_null: Whether "there is no answer" is an answer: for models trained on SQuAD 2.
            null_threshold: By how much `null_score` must exceed the best span's logits to win.
            input_ids: T token ids in [0, V), `[CLS] question [SEP] context [SEP]`, instead of text.
            token_type_ids: T numbers, 1 for the context; needed with `input_ids`.

        Returns:
            `answer`, the words as they stand in `context`, `context[start:end]`, or "" for no
            answer (then `start` and `end` are 0); `score`, its probability among all spans (and no
            answer, if allowed); `null_score`, the least sum of logits of `[CLS]` over all windows;
            `windows`, their number; and with `top_k` above 1, `answers`.  Of `input_ids`, `answer`
            is the list `input_ids[start:end]`.

        Raises:
            InputError: A text is empty, the question too long, an option out of range.
        """
        if min(max_answer_length, top_k) < 1 or stride < 0:
            raise InputError("max_answer_length and top_k must be at least 1, stride at least 0.")
        source: str | list[int]
        if question is not None and context is not None and input_ids is None:
            source = context
            windows, step = self._windows(question, context, max_answer_length, stride)
        elif question is None and context is None and input_ids is not None:
            source, step = list(input_ids), 1
            windows = [self._given(source, token_type_ids)]
        else:
            raise InputError("give a question and a context, or input_ids.")
        runs = [self.model.run(window.input_ids, window.token_type_ids) for window in windows]
        starts, ends = ([run[f"{side}_logits"][0] for run in runs] for side in ("start", "end"))
        null_score = min(float(s[0] + e[0]) for s, e in zip(starts, ends, strict=True))
        candidates = _candidates(windows, starts, ends, step=step, longest=max_answer_length)
        null = (null_score, null_threshold) if allow_null else None
        answers = [
            {"answer": source[start:end], "score": score, "start": start, "end": end}
            for start, end, score in _ranked(candidates, top_k, null)
        ]
        best = answers[0] | {"null_score": null_score, "windows": len(windows)}
        return best | ({"answers": answers} if top_k > 1 else {})

    def _windows(
        self, question: str, context: str, longest: int, stride: int
    ) -> tuple[list[Encoding], int]:
        length = self.model.bundle.seq_len or min(_WINDOW, self.model.max_tokens)
        return plan_windows(
            self.text_tokenizer(), question, context, length=length, longest=longest, stride=stride
        )

    def _given(self, input_ids: Sequence[int], token_type_ids: Sequence[int] | None) -> Encoding:
        # Ids have themselves for a context: the offsets of its tokens are their places.
        if token_type_ids is None or len(token_type_ids) != len(input_ids):
            raise InputError("input_ids need as many token_type_ids, 1 for the context.")
        ids, types = list(input_ids), list(token_type_ids)
        stop = len(ids) - (ids[-1:] == [self.model.bundle.config.eos_token_id])
        start = types.index(1) if 1 in types[:stop] else stop
        if 0 in types[start:stop] or start == stop:
            raise InputError("token_type_ids must be 0 for the question, then 1 for the context.")
        spans = [(i, i + 1) if start <= i < stop else None for i in range(len(ids))]
        return Encoding(ids, types, spans)


def plan_windows(
    tokenizer: Tokenizer, question: str, context: str, *, length: int, longest: int, stride: int
) -> tuple[list[Encoding], int]:
    """Divide a context into windows that overlap, each behind the question.

    Args:
        tokenizer: The model's.
        question: What to answer.
        context: Where to look for the answer.
        length: The most tokens of a window.
        longest: The most tokens of an answer; windows overlap by as many where there is room.
        stride: How many tokens of the context neighbouring windows should share.

    Returns:
        The windows, and how many tokens lie between their beginnings.

    Raises:
        InputError: A text is empty, or the question leaves no room.
    """
    room = length - len(tokenizer.tokenize(question).ids) - 3
    shared = max(min(stride, room // 2), min(longest, room - 1), 0)
    windows = tokenizer.windows(question, context, max_length=length, stride=shared)
    check_not_empty(windows[0], paired=True)
    return windows, room - shared


def _candidates(
    windows: Sequence[Encoding],
    starts: Sequence[npt.NDArray[Any]],
    ends: Sequence[npt.NDArray[Any]],
    *,
    step: int,
    longest: int,
) -> _Candidates:
    # The spans of the context that can be an answer, from the logits [T] of all windows.
    places = [_context(window) for window in windows]
    first, last, logits = score_spans(
        [values[place] for values, place in zip(starts, places, strict=True)],
        [values[place] for values, place in zip(ends, places, strict=True)],
        step=step,
        longest=longest,
    )
    pieces = [window.offsets[place] for window, place in zip(windows, places, strict=True)]
    joined = [span for spans in pieces[:-1] for span in spans[:step]] + pieces[-1]
    offsets = np.array(joined)  # [n, 2]
    start, end = offsets[first, 0], offsets[last, 1]
    some = offsets[last, 0] < end  # no answer ends in a mark that announces the next word
    if not some.any():
        raise InputError("the context is empty: there is nothing in it to read.")
    return _Candidates(start[some], end[some], logits[some])


def _context(window: Encoding) -> slice:
    # Where the context's tokens are: all of type 1 but the [SEP] at the end.
    return slice(window.token_type_ids.index(1), len(window.offsets) - (window.offsets[-1] is None))


def _ranked(
    found: _Candidates, top_k: int, null: tuple[float, float] | None
) -> list[tuple[int, int, float]]:
    # The best answers' starts, ends and probabilities.  `null` is its score and threshold.
    scores = found.logits if null is None else np.append(found.logits, null[0])
    chances = softmax(scores)
    answers = list(islice(_distinct(found, chances), top_k))
    if null is not None and null[0] - float(found.logits.max()) > null[1]:
        answers = [(0, 0, float(chances[-1])), *answers][:top_k]
    return answers


def _distinct(
    found: _Candidates, chances: npt.NDArray[np.float64]
) -> Iterator[tuple[int, int, float]]:
    # Several spans of tokens may be the same words: with and without a lone mark before them.
    seen = set()
    for index in np.argsort(-found.logits, kind="stable").tolist():
        words = int(found.start[index]), int(found.end[index])
        if words not in seen:
            seen.add(words)
            yield *words, float(chances[index])


# Which span of a context answers best: the arithmetic of extractive question answering.


def score_spans(
    starts: Sequence[Numbers], ends: Sequence[Numbers], *, step: int, longest: int
) -> tuple[Numbers, Numbers, Numbers]:
    """Score every span of at most `longest` tokens once, over all windows of a context.

    A span that lies in several windows is scored where its shorter side has the most context, in
    the earlier of two that are equal (after run_squad's "max context", Devlin et al. 2018,
    arXiv:1810.04805, which looks at the span's first token only).  Every span is found if
    neighbouring windows share at least `longest - 1` tokens.

    Args:
        starts: The start logits of the context's tokens in each window, float [n]; window `k`
            begins at token `k * step` of the context.
        ends: The end logits, of the same shapes.
        step: The number of tokens between the beginnings of neighbouring windows.
        longest: The most tokens of a span, at least 1.

    Returns:
        The K spans' first tokens and last tokens, int64 [K], counted over the whole context, and
        their scores [K], the sums of a start and an end logit.
    """
    edges = [(k * step, k * step + len(logits)) for k, logits in enumerate(starts)]
    parts = []
    for k, (begin, end) in enumerate(edges):
        first, last = _all_spans(end - begin, longest)
        context = [
            _context_mask(first + begin, last + begin, edge)
            for edge in edges[max(k - 1, 0) : k + 2]
        ]
        # Context rises, then falls from window to window: the neighbours tell where it is greatest.
        here = context.pop(1 if k else 0)
        ours = np.ones(len(first), bool)
        if k:
            ours &= here > context.pop(0)
        if context:
            ours &= here >= context.pop()
        first, last = first[ours], last[ours]
        parts.append((first + begin, last + begin, starts[k][first] + ends[k][last]))
    firsts, lasts, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    return firsts, lasts, scores


def _all_spans(count: int, longest: int) -> tuple[Numbers, Numbers]:
    # First and last tokens of the spans of at most `longest` among `count` tokens.
    lengths = np.arange(min(longest, count))
    first, extra = np.nonzero(np.arange(count)[:, None] + lengths < count)
    return first, first + extra


def _context_mask(first: Numbers, last: Numbers, edge: tuple[int, int]) -> Numbers:
    # The tokens beside a span on its shorter side; negative if it is not inside of the window.
    begin, end = edge
    least: Numbers = np.minimum(first - begin, end - 1 - last)
    return least
