"""A model's answers to examples, on all cores."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np

from albert_edge.datasets.examples import Examples
from albert_edge.errors import AlbertEdgeError, InputError
from albert_edge.pipelines import Pipeline, load
from albert_edge.pipelines.words import first_tokens

__all__ = ["Predicted", "ProgressCallback", "predict_all", "predict_one"]

ProgressCallback = Callable[[int, int], None]  # of so many examples, so many are done


class Predicted(NamedTuple):
    """What a model says to n examples.

    Attributes:
        predictions: Ready for JSON, by the examples' kind: as their targets, but one text for
            `question-answering`, as `{"answer": ..., "null_odds": ...}`, by how much the logits of
            no answer exceed those of this one; and for `fill-mask` what `_fill_mask` says.
        truncated: How many texts were longer than the model takes, and so cut; None if unknown.
        unanswered: How many questions have no prediction.
        layers_used: How many passes each answer took; None of a model that makes all of them.
    """

    predictions: list[Any]
    truncated: int | None
    unanswered: int = 0
    layers_used: list[int] | None = None


def predict_all(
    source: str | Path,
    examples: Examples,
    *,
    workers: int,
    tell: ProgressCallback | None = None,
    early_exit: Mapping[str, Any] | None = None,
) -> Predicted:
    """Ask a model all examples.

    Every worker is a thread with a model of its own; the runtime leaves Python's lock while it
    computes, so that they run at once.  What one says does not depend on how many there are.

    Args:
        source: A .tflite file, or "default".
        examples: Of a kind that the model answers.
        workers: How many CPU cores to use.
        tell: Called after every answer.
        early_exit: When to leave, if the model can, by the names of `EarlyExit`.

    Raises:
        AlbertEdgeError: The model cannot be opened, or cannot take an example; it says which.
    """
    answer, count = _PREDICTORS[examples.kind], len(examples)
    free: SimpleQueue[Pipeline] = SimpleQueue()
    for _ in range(min(workers, count)):
        free.put(load(source, task=_USES.get(examples.kind)))

    def work(index: int) -> tuple[Any, ...]:
        pipe = free.get()
        rule = early_exit if early_exit and pipe.model.bundle.early_exit else {}
        try:
            return answer(pipe, {**examples.inputs[index], **rule})
        except AlbertEdgeError as error:
            raise type(error)(f"{examples.places[index]}: {error}") from error
        finally:
            free.put(pipe)

    # The longest first: then no worker is left with a long one when the others are done.
    order = sorted(range(count), key=lambda index: -_size(examples.inputs[index]))
    found: dict[int, tuple[Any, ...]] = {}
    with ThreadPoolExecutor(min(workers, count)) as pool:
        try:
            for index, result in zip(order, pool.map(work, order), strict=True):
                found[index] = result
                if tell:
                    tell(len(found), count)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    results = [found[index] for index in range(count)]
    layers = [made for result in results for made in result[2:]]
    cut = sum(result[1] for result in results)
    return Predicted([result[0] for result in results], cut, layers_used=layers or None)


def predict_one(pipe: Pipeline, kind: str, inputs: Mapping[str, Any]) -> tuple[Any, bool]:
    """Return what a model says to one example, as in `Predicted`, and whether text was cut."""
    return _PREDICTORS[kind](pipe, inputs)


def _size(inputs: Mapping[str, Any]) -> int:
    return len(str(inputs))


def _classify(pipe: Pipeline, inputs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the label, whether the text was cut, and how many layers were used, if it is told."""
    answer = pipe(**inputs)
    return tuple(answer[key] for key in ("label", "truncated", "layers_used") if key in answer)


def _classify_several(pipe: Pipeline, inputs: Mapping[str, Any]) -> tuple[Any, bool]:
    answer = pipe(**inputs)
    return answer["labels"], answer["truncated"]


def _regress(pipe: Pipeline, inputs: Mapping[str, Any]) -> tuple[Any, bool]:
    answer = pipe(**inputs)
    values = [answer["value"]] if "value" in answer else list(answer["values"].values())
    return values, answer["truncated"]


def _judge_order(pipe: Pipeline, inputs: Mapping[str, Any]) -> tuple[Any, bool]:
    answer = pipe(**inputs)
    return answer.get("order", answer)["label"], answer["truncated"]


def _compare(pipe: Pipeline, inputs: Mapping[str, Any]) -> tuple[Any, bool]:
    """Return the cosine of the two texts' mean vectors."""
    sides = [pipe(text, pooling="mean", normalize=True) for text in inputs.values()]
    cosine = float(np.dot(sides[0]["embedding"], sides[1]["embedding"]))
    return cosine, any(side["truncated"] for side in sides)


def _answer_question(pipe: Pipeline, inputs: Mapping[str, Any]) -> tuple[Any, bool]:
    # Any score exceeds this threshold, so "no answer" comes first and the best answer second; the
    # logarithms of their probabilities differ as their logits do.
    answers = pipe(**inputs, top_k=2, allow_null=True, null_threshold=-math.inf)["answers"]
    null, best = (math.log(max(one["score"], sys.float_info.min)) for one in answers)
    return {"answer": answers[1]["answer"], "null_odds": null - best}, False


def _tag(pipe: Pipeline, inputs: Mapping[str, Any]) -> tuple[Any, bool]:
    """Return the label of every word: that of its first token, and O for one that was cut off."""
    encoding, truncated = pipe.encode(" ".join(inputs["words"]), None, None, None)
    logits = pipe.model.run(encoding.input_ids, encoding.token_type_ids)["logits"][0]  # [T, C]
    names = pipe.model.bundle.config.labels
    best = logits.argmax(axis=1).tolist()
    places = first_tokens(inputs["words"], encoding.offsets)
    labels = ["O" if place is None else names[best[place]] for place in places]
    return labels, truncated


def _fill_mask(pipe: Pipeline, inputs: Mapping[str, Any]) -> tuple[Any, bool]:
    """Hide every token of the text in turn, and tell how likely the model finds it.

    Returns:
        `log_probabilities`, of every token, natural; `hits`, how many were the likeliest of all.
    """
    mask = pipe.text_tokenizer().mask_id
    encoding, truncated = pipe.encode(inputs["text"], None, None, None)
    ids = encoding.input_ids
    output = "logits" if pipe.model.bundle.task == "fill-mask" else "prediction_logits"
    chances, hits = [], 0
    for place in range(1, len(ids) - 1):  # between [CLS] and [SEP]
        hidden = [*ids[:place], mask, *ids[place + 1 :]]
        row = pipe.model.run(hidden, encoding.token_type_ids)[output][0, place]  # [V]
        below = row.astype(np.float64) - row.max()
        chances.append(float(below[ids[place]] - np.log(np.exp(below).sum())))
        hits += int(row.argmax() == ids[place])
    return {"log_probabilities": chances, "hits": hits}, truncated


def _sum_up(pipe: Pipeline, inputs: Mapping[str, Any]) -> tuple[Any, bool]:
    if "text" not in inputs:
        raise InputError("there is no article: name its column text or source, or --text-column.")
    answer = pipe(**inputs)
    return " ".join(bullet["text"] for bullet in answer["bullets"]), answer["truncated"]


_USES = {"summarization": "summarize"}
_PREDICTORS: dict[str, Callable[[Pipeline, Mapping[str, Any]], tuple[Any, ...]]] = {
    "classification": _classify,
    "multi-label": _classify_several,
    "regression": _regress,
    "sentence-order": _judge_order,
    "similarity": _compare,
    "question-answering": _answer_question,
    "summarization": _sum_up,
    "token-classification": _tag,
    "fill-mask": _fill_mask,
}
