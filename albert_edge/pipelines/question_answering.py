"""Answer a question by a span of a text: windows over a long text, and the scores of all spans."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt

from albert_edge.errors import InputError
from albert_edge.pipelines.base import Pipeline, check_not_empty
from albert_edge.tokenizer import Encoding, Tokenizer

__all__ = ["plan_windows"]

# ALBERT is fine-tuned on SQuAD at this length (Google's run_squad); longer windows gain nothing.
_WINDOW = 384
_MAX_QUESTION = 64  # tokens, run_squad's max_query_length
_Array = npt.NDArray[Any]


@final
class QuestionAnswering(Pipeline):
    """An extractive question answerer.

    A long context is read in windows that overlap by at least the longest answer, so every span
    that may be the answer lies whole in at least one window; its score is that of the window where
    it has the most context.

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
        patience: int | None = None,
        threshold: float | None = None,
        max_layers: int | None = None,
    ) -> dict[str, Any]:
        """Answer a question from a text.

        Args:
            question: The question, of which at most 64 tokens are read, as in run_squad; or give
                `input_ids`.
            context: The text that contains the answer, of any length.
            max_answer_length: The most tokens of an answer.
            stride: The number of tokens of the context that neighbouring windows share.  Raised to
                `max_answer_length` if it is less, and lowered where windows are short.
            top_k: The number of answers under `answers`, the best first.
            allow_null: Whether "no answer" is allowed: for models trained on SQuAD 2.0.
            null_threshold: By how much `null_score` must exceed the best span's logits to win.
            input_ids: T token ids in [0, V), `[CLS] question [SEP] context [SEP]`, instead of text.
            token_type_ids: T types, 1 for the context; needed with `input_ids`.
            patience: For files with early exit, as in `EarlyExit`, in each window; this and the
                next two are the file's own if left out.
            threshold: As in `EarlyExit`, for the less probable of start and end.
            max_layers: As in `EarlyExit`.

        Returns:
            `answer`, exactly as in `context`, `context[start:end]`, or "" for no answer (then
            `start` and `end` are 0); `score`, its probability among all spans (and no answer, if
            allowed); `null_score`, the least sum of logits of `[CLS]` over all windows; `windows`,
            their number; `truncated`, whether the question was cut at its end; for files with early
            exit `layers_used`, the number of passes, of several windows the mean; and with `top_k`
            above 1, `answers`.  For `input_ids`, `answer` is the list `input_ids[start:end]`.

        Raises:
            ConfigError: An early-exit option is out of range.
            InputError: A text is empty, an option is out of range, or the file does not support
                early exit.
        """
        if min(max_answer_length, top_k) < 1 or stride < 0:
            raise InputError("max_answer_length and top_k must be at least 1, stride at least 0.")
        source: str | list[int]
        if question is not None and context is not None and input_ids is None:
            source = context
            windows, step, truncated = self._encode_text(
                question, context, max_answer_length, stride
            )
        elif question is None and context is None and input_ids is not None:
            source, step, truncated = list(input_ids), 1, False
            windows = [self._encode_ids(source, token_type_ids)]
        else:
            raise InputError("give a question and a context, or input_ids.")
        rule = self.early_exit_rule(patience=patience, threshold=threshold, max_layers=max_layers)
        outputs = [
            self.model.run(window.input_ids, window.token_type_ids, early_exit=rule)
            for window in windows
        ]
        starts, ends = (
            [each[f"{side}_logits"][0] for each in outputs] for side in ("start", "end")
        )
        null_score = min(float(s[0] + e[0]) for s, e in zip(starts, ends, strict=True))
        spans = _context_spans(windows, starts, ends, step=step, max_length=max_answer_length)
        null = (null_score, null_threshold) if allow_null else None
        answers = [
            {"answer": source[start:end], "score": score, "start": start, "end": end}
            for start, end, score in _best_answers(spans, top_k, null)
        ]
        best = answers[0] | {"null_score": null_score, "windows": len(windows)}
        best["truncated"] = truncated
        if rule:
            used = [int(each["layers_used"][0]) for each in outputs]
            best["layers_used"] = used[0] if len(used) == 1 else sum(used) / len(used)
        return best | ({"answers": answers} if top_k > 1 else {})

    def _encode_text(
        self, question: str, context: str, max_answer_length: int, stride: int
    ) -> tuple[list[Encoding], int, bool]:
        return plan_windows(
            self.text_tokenizer(),
            question,
            context,
            max_length=min(self.model.bundle.seq_len or _WINDOW, self.max_tokens),
            max_answer_length=max_answer_length,
            stride=stride,
        )

    def _encode_ids(
        self, input_ids: Sequence[int], token_type_ids: Sequence[int] | None
    ) -> Encoding:
        # The context is the list of ids itself: the offsets of its tokens are their positions.
        if token_type_ids is None or len(token_type_ids) != len(input_ids):
            raise InputError("input_ids need as many token_type_ids, 1 for the context.")
        ids, types = list(input_ids), list(token_type_ids)
        tokenizer = self.tokenizer
        separator = self.model.bundle.config.eos_token_id if tokenizer is None else tokenizer.sep_id
        stop = len(ids) - (ids[-1:] == [separator])
        start = types.index(1) if 1 in types[:stop] else stop
        if 0 in types[start:stop] or start == stop:
            raise InputError("token_type_ids must be 0 for the question, then 1 for the context.")
        if tokenizer is not None and separator in ids[start:stop]:
            raise InputError(
                f"the context has a separator, {separator}, before its end; remove it."
            )
        offsets = [(i, i + 1) if start <= i < stop else None for i in range(len(ids))]
        return Encoding(ids, types, offsets)


def plan_windows(
    tokenizer: Tokenizer,
    question: str,
    context: str,
    *,
    max_length: int,
    max_answer_length: int,
    stride: int,
) -> tuple[list[Encoding], int, bool]:
    """Divide a context into overlapping windows, each behind the question.

    Args:
        tokenizer: The model's tokenizer.
        question: The question, which is cut after 64 tokens, or if it leaves no room for context,
            after as many as leave it half of the window.
        context: The text that contains the answer.
        max_length: The most tokens of a window.
        max_answer_length: The most tokens of an answer; windows overlap by as many where they fit.
        stride: The number of tokens of the context that neighbouring windows should share.

    Returns:
        The windows, the number of tokens between the starts of two neighbours, and whether the
        question was cut.

    Raises:
        InputError: A text is empty, or the window has no room.
    """
    length = most = len(tokenizer.tokenize(question).ids)
    if length > min(_MAX_QUESTION, max_length - 4):
        most = min(_MAX_QUESTION, (max_length - 3) // 2)
    room = max_length - most - 3
    shared = max(min(stride, room // 2), min(max_answer_length, room - 1), 0)
    windows = tokenizer.windows(
        question, context, max_length=max_length, stride=shared, max_question=most
    )
    check_not_empty(windows[0], paired=True)
    return windows, room - shared, most < length


def score_spans(
    starts: Sequence[_Array], ends: Sequence[_Array], *, step: int, max_length: int
) -> Iterator[tuple[_Array, _Array, _Array]]:
    """Score every span of at most `max_length` tokens once, over all windows of a context.

    A span that lies in several windows has the score of the one where its shorter side has the most
    context, of equal ones the earlier (after run_squad's "max context", Devlin et al. 2018,
    arXiv:1810.04805, which looks at the span's first token only).  Every span is found if
    neighbouring windows share at least `max_length - 1` tokens.

    Args:
        starts: The start logits of the context's tokens in each window, float [n]; window `k`
            begins at token `k * step` of the context.
        ends: The end logits, of the same shapes.
        step: The number of tokens between the starts of neighbouring windows.
        max_length: The most tokens of a span, at least 1.

    Yields:
        For each window the first and the last tokens of its K spans, int64 [K], counted from its
        beginning, and their scores [K], the sums of a start and an end logit.
    """
    windows = [(k * step, k * step + len(logits)) for k, logits in enumerate(starts)]
    for k, (begin, end) in enumerate(windows):
        first, last = _all_spans(end - begin, max_length)
        contexts = [
            _min_context(first + begin, last + begin, window)
            for window in windows[max(k - 1, 0) : k + 2]
        ]
        # From window to window, the context of a span rises, then falls: so it is greatest here if
        # it is greater than in both neighbours.
        here = contexts.pop(1 if k else 0)
        greatest = np.ones(len(first), bool)
        if k:
            greatest &= here > contexts.pop(0)
        if contexts:
            greatest &= here >= contexts.pop()
        first, last = first[greatest], last[greatest]
        yield first, last, starts[k][first] + ends[k][last]


def _all_spans(count: int, max_length: int) -> tuple[_Array, _Array]:
    # First and last tokens of the spans of at most `max_length` among `count` tokens, int64 [K].
    lengths = np.arange(min(max_length, count))
    first, extra = np.nonzero(np.arange(count)[:, None] + lengths < count)
    return first, first + extra


def _min_context(first: _Array, last: _Array, window: tuple[int, int]) -> _Array:
    # The number of tokens beside a span on its shorter side; negative outside of the window.
    begin, end = window
    least: _Array = np.minimum(first - begin, end - 1 - last)
    return least


class _Spans(NamedTuple):
    # K spans of a window, in units of the context (code points, or ids), and their logits.
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]


def _context_spans(
    windows: Sequence[Encoding],
    starts: Sequence[_Array],
    ends: Sequence[_Array],
    *,
    step: int,
    max_length: int,
) -> Iterator[_Spans]:
    """Yield the spans of each window that can be an answer, from the logits [T] of all windows."""
    # The context's tokens: all of type 1 but the [SEP] at the end.
    slices = [
        slice(each.token_type_ids.index(1), len(each.offsets) - (each.offsets[-1] is None))
        for each in windows
    ]
    scored = score_spans(
        [values[part] for values, part in zip(starts, slices, strict=True)],
        [values[part] for values, part in zip(ends, slices, strict=True)],
        step=step,
        max_length=max_length,
    )
    for window, part, (first, last, logits) in zip(windows, slices, scored, strict=True):
        offsets = np.array(window.offsets[part])  # [n, 2]
        start, end = offsets[first, 0], offsets[last, 1]
        # No answer ends in a zero-width token, which marks the beginning of the next word.
        fits = offsets[last, 0] < end
        yield _Spans(start[fits], end[fits], logits[fits])


def _best_answers(
    windows: Iterable[_Spans], top_k: int, null: tuple[float, float] | None
) -> list[tuple[int, int, float]]:
    """Return the start, end and probability of the best answers, the best first.

    Of the spans of a window only the best are kept: a long context has 30 for each of its tokens.

    Args:
        windows: The spans of each window of the context.
        top_k: The most answers to return.
        null: The score of "no answer" and its threshold; None if every question has an answer.

    Raises:
        InputError: There is no span.
    """
    found: dict[tuple[int, int], float] = {}  # the logits of places in the text
    sums = [] if null is None else [(null[0], 1.0)]  # of each window: a logit, and exp(logits - it)
    for spans in windows:
        if len(spans.logits):
            logits = spans.logits.astype(np.float64)
            sums.append((float(logits.max()), float(np.exp(logits - logits.max()).sum())))
            found = _keep_best(found, spans, top_k)
    if not found:
        raise InputError("the context is empty: it contains no words.")
    most = max(logit for logit, _ in sums)
    total = sum(math.exp(logit - most) * share for logit, share in sums)
    answers = [(*place, math.exp(logit - most) / total) for place, logit in found.items()]
    if null is not None and null[0] - max(found.values()) > null[1]:
        answers = [(0, 0, math.exp(null[0] - most) / total), *answers][:top_k]
    return answers


def _keep_best(
    found: Mapping[tuple[int, int], float], spans: _Spans, top_k: int
) -> dict[tuple[int, int], float]:
    """Return the `top_k` best places among those that are known and those of a window."""
    # Several spans of tokens may be the same text: with and without a zero-width token before them.
    new: dict[tuple[int, int], float] = {}
    for index in np.argsort(-spans.logits, kind="stable").tolist():
        place = int(spans.start[index]), int(spans.end[index])
        new.setdefault(place, float(spans.logits[index]))
        if len(new) == top_k:
            break
    every = sorted([*found.items(), *new.items()], key=lambda item: -item[1])
    best: dict[tuple[int, int], float] = {}
    for place, logit in every:
        best.setdefault(place, logit)
    return dict(list(best.items())[:top_k])
