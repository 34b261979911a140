"""Predict all examples with a model, on all cores."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np

from albert_edge.datasets.examples import Examples
from albert_edge.errors import AlbertEdgeError, InputError
from albert_edge.pipelines import Pipeline, load
from albert_edge.pipelines.words import first_tokens

__all__ = ["predict_one"]

ProgressCallback = Callable[[int, int], None]  # called with the examples done, and all of them
# A prediction, whether the text was truncated, and of early exit the number of layers used.
_Result = tuple[Any, ...]
_Predictor = Callable[[Pipeline, Mapping[str, Any]], _Result]


class PredictionOutput(NamedTuple):
    """The predictions of n examples.

    Attributes:
        predictions: Ready for JSON, in the form of the targets of the examples' kind; but for
            `question-answering` one `{"answer": ..., "null_odds": ...}`, the odds being the logits
            of no answer less those of the answer; and for `fill-mask` as in `_fill_mask`.
        truncated: The number of texts that were longer than the model takes; None if unknown.
        unanswered: The number of questions without a prediction.
        layers_used: The number of passes for each example, of several windows their mean; None
            without early exit.
        bad: The errors of the examples that have no prediction, by index; their prediction is None.
        acceleration: What a GPU ran of the model, ready for JSON; None on the CPU.
    """

    predictions: list[Any]
    truncated: int | None
    unanswered: int = 0
    layers_used: list[float] | None = None
    bad: Mapping[int, str] = {}
    acceleration: Mapping[str, Any] | None = None


def predict_all(
    source: str | Path | bytes,
    examples: Examples,
    *,
    workers: int,
    accelerator: str = "cpu",
    progress: ProgressCallback | None = None,
    early_exit: Mapping[str, Any] | None = None,
) -> PredictionOutput:
    """Predict all examples.

    Every worker is a thread with a model of its own; the runtime releases Python's lock while it
    computes, so they run in parallel.  The predictions do not depend on their number.

    Args:
        source: A .tflite file, its content, or the name of an embedded model.
        examples: Examples of a kind that the model supports.
        workers: The number of CPU cores to use.
        accelerator: What runs the model; see `load`.
        progress: Called after every prediction.
        early_exit: Options by the names of `EarlyExit`, for files that support it.

    Raises:
        AlbertEdgeError: The model cannot be opened or fails, or an example is invalid and is not to
            be left out; the message names it.
    """
    predict, workers = PREDICTORS[examples.kind], min(workers, len(examples))
    idle: SimpleQueue[Pipeline] = SimpleQueue()
    for _ in range(workers):
        idle.put(load(source, task=_TASKS.get(examples.kind), accelerator=accelerator))

    def work(index: int) -> _Result | InputError:
        pipe = idle.get()
        options = early_exit if early_exit and pipe.model.bundle.early_exit else {}
        try:
            return predict(pipe, {**examples.inputs[index], **options})
        except AlbertEdgeError as error:
            located = f"{examples.places[index]}: {error}"
            if not isinstance(error, InputError):
                raise type(error)(located) from error
            if examples.skip_bad:
                return InputError(located)
            raise InputError(f"{located} --skip-bad leaves such examples out.") from error
        finally:
            idle.put(pipe)

    # The longest first: then no worker is left with a long one when the others are done.
    order = sorted(range(len(examples)), key=lambda index: -len(str(examples.inputs[index])))
    by_index = _run_parallel(work, order, workers, progress)
    bad = {index: str(found) for index, found in by_index.items() if isinstance(found, InputError)}
    results = [(None, False) if index in bad else by_index[index] for index in range(len(examples))]
    layers = [count for result in results for count in result[2:]]
    truncated = sum(result[1] for result in results)
    predictions = [result[0] for result in results]
    share = idle.get().model.acceleration
    return PredictionOutput(
        predictions, truncated, 0, layers or None, bad, None if share is None else share.to_dict()
    )


def predict_one(pipe: Pipeline, kind: str, inputs: Mapping[str, Any]) -> Any:
    """Return the prediction of one example, as in `PredictionOutput`."""
    return PREDICTORS[kind](pipe, inputs)[0]


def _run_parallel(
    work: Callable[[int], Any],
    order: Sequence[int],
    workers: int,
    progress: ProgressCallback | None,
) -> dict[int, Any]:
    found: dict[int, Any] = {}
    with ThreadPoolExecutor(workers) as pool:
        try:
            for index, result in zip(order, pool.map(work, order), strict=True):
                found[index] = result
                if progress:
                    progress(len(found), len(order))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


def _get(select: Callable[[dict[str, Any]], Any]) -> _Predictor:
    """Return a predictor that selects the prediction from the pipeline's result."""

    def predict(pipe: Pipeline, inputs: Mapping[str, Any]) -> _Result:
        result = pipe(**inputs)
        return select(result), result["truncated"]

    return predict


def _layers_used(result: Mapping[str, Any]) -> tuple[float, ...]:
    return (result["layers_used"],) if "layers_used" in result else ()


def _classify(pipe: Pipeline, inputs: Mapping[str, Any]) -> _Result:
    result = pipe(**inputs)
    return result["label"], result["truncated"], *_layers_used(result)


def _similarity(pipe: Pipeline, inputs: Mapping[str, Any]) -> _Result:
    """Return the cosine of the two texts' mean vectors, in [-1, 1]."""
    sides = [pipe(text, pooling="mean", normalize=True) for text in inputs.values()]
    cosine = float(np.dot(sides[0]["embedding"], sides[1]["embedding"]))
    return cosine, any(side["truncated"] for side in sides)


def _answer_question(pipe: Pipeline, inputs: Mapping[str, Any]) -> _Result:
    # Any score exceeds this threshold, so "no answer" comes first and the best answer second; the
    # logarithms of their probabilities differ as their logits do.
    result = pipe(**inputs, top_k=2, allow_null=True, null_threshold=-math.inf)
    answers = result["answers"]
    null, best = (math.log(max(each["score"], sys.float_info.min)) for each in answers)
    found = {"answer": answers[1]["answer"], "null_odds": null - best}
    return found, result["truncated"], *_layers_used(result)


def _tag(pipe: Pipeline, inputs: Mapping[str, Any]) -> _Result:
    """Return the label of every word's first token, and O for words that were cut off."""
    words, options = inputs["words"], {k: v for k, v in inputs.items() if k != "words"}
    encoding, truncated = pipe.encode(" ".join(words), None, None, None)
    rule = pipe.early_exit_rule(**options)
    outputs = pipe.model.run(encoding.input_ids, encoding.token_type_ids, early_exit=rule)
    names = pipe.model.bundle.config.labels
    best = outputs["logits"][0].argmax(axis=1).tolist()  # [T]
    positions = first_tokens(words, encoding.offsets)
    labels = ["O" if at is None else names[best[at]] for at in positions]
    return labels, truncated, *outputs.get("layers_used", np.empty(0)).tolist()


def _fill_mask(pipe: Pipeline, inputs: Mapping[str, Any]) -> _Result:
    """Mask every token of the text in turn, and return how probable the model considers it.

    Returns:
        `log_probabilities`, the natural logarithms, one for each token; `hits`, the number of
        tokens that were the most probable of all.
    """
    mask = pipe.text_tokenizer().mask_id
    encoding, truncated = pipe.encode(inputs["text"], None, None, None)
    ids = encoding.input_ids
    output = "logits" if pipe.model.bundle.task == "fill-mask" else "prediction_logits"
    log_probabilities, hits = [], 0
    for at in range(1, len(ids) - 1):  # between [CLS] and [SEP]
        masked = [*ids[:at], mask, *ids[at + 1 :]]
        row = pipe.model.run(masked, encoding.token_type_ids)[output][0, at]  # [V]
        below = row.astype(np.float64) - row.max()
        log_probabilities.append(float(below[ids[at]] - np.log(np.exp(below).sum())))
        hits += int(row.argmax() == ids[at])
    return {"log_probabilities": log_probabilities, "hits": hits}, truncated


def _summarize(pipe: Pipeline, inputs: Mapping[str, Any]) -> _Result:
    if "text" not in inputs:
        raise InputError(
            "there is no article: name its column text or source, or give --text-column."
        )
    result = pipe(**inputs)
    return " ".join(bullet["text"] for bullet in result["bullets"]), result["truncated"]


_TASKS = {"summarization": "summarize"}  # of `load`, by the examples' kind
PREDICTORS: dict[str, _Predictor] = {
    "classification": _classify,
    "multi-label": _get(lambda result: result["labels"]),
    "regression": _get(
        lambda result: [result["value"]] if "value" in result else [*result["values"].values()]
    ),
    "sentence-order": _get(lambda result: result.get("order", result)["label"]),
    "similarity": _similarity,
    "question-answering": _answer_question,
    "summarization": _summarize,
    "token-classification": _tag,
    "fill-mask": _fill_mask,
}
