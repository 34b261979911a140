"""Verify a `.tflite` file against the Keras model that it was converted from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from albert_edge.bundle.bundle import Bundle
from albert_edge.early_exit import NEVER
from albert_edge.errors import BundleError, FidelityError, InputError
from albert_edge.modeling import Albert
from albert_edge.pipelines.classification import sigmoid, softmax
from albert_edge.quantization.calibration import BUILT_IN
from albert_edge.quantization.recipes import get_recipe
from albert_edge.runtime import Model, open_model
from albert_edge.tasks import TASKS
from albert_edge.tokenizer import tokenizer_from_files

__all__ = ["check_fidelity", "verify"]

# The default texts, short and long, plain and odd: some of those that calibrate.
_TEXTS = (*BUILT_IN[:5], BUILT_IN[-1])
_RANDOM_LENGTHS = (3, 16, 64)
_LONGEST = 64  # tokens: enough to show an error; a large model takes seconds


def verify(
    source: str | os.PathLike[str] | bytes,
    model: Albert,
    *,
    texts: Sequence[str] = (),
    accelerator: str = "cpu",
) -> dict[str, Any]:
    """Run a `.tflite` file and its Keras model on the same inputs and compare their outputs.

    Args:
        source: The file's path or content.
        model: The float32 reference.
        texts: The inputs; a few sentences of several lengths if left out.  A file without a
            tokenizer is compared on random ids.
        accelerator: What runs the file; see `open_model`.

    Returns:
        Figures ready for JSON: for every output `max_difference` (absolute), `error` (the root mean
        square of the difference over that of the reference) and `cosine`, with all layers run and,
        as `exit_logits`, at every early exit; `agreement`, the share of equal predictions (None for
        features and regression), of which token tasks make one a token; the `inputs`, the `limit`
        on `error`, and whether it `passed`; of a GPU also its `acceleration`, with the largest
        `difference` from the CPU over the largest output, on random ids.

    Raises:
        BundleError: The file cannot be read.
        DeviceError: There is no such accelerator here, or it does not run the file.
        FidelityError: The file and the model are not of the same task or shape; or the outputs of
            the accelerator are not the CPU's.
    """
    edge = open_model(source, accelerator=accelerator)
    bundle = edge.bundle
    if bundle.task != model.task or bundle.config != model.config:
        raise FidelityError(
            f"the file is a {bundle.task} of another shape than the checkpoint's {model.task}: "
            "verify it against the checkpoint that it was made from."
        )
    inputs = _inputs(bundle, texts)
    kind = "texts" if bundle.tokenizer_files else "rows of random ids"
    described = f"{len(inputs)} {kind}"
    if longer := _inputs_of_lengths(bundle, inputs):
        inputs += longer
        described += f", and {len(longer)} rows of random ids for the other lengths"
    try:
        pairs = [
            (
                _without_masked(bundle, row, edge.run_all_layers(**row)),
                _without_masked(bundle, row, _reference(model, bundle, row)),
            )
            for row in inputs
        ]
    except BundleError as error:  # outputs that are not finite
        raise FidelityError(str(error)) from error
    limit = get_recipe(bundle.quantize).max_error
    outputs = {
        name: _compare([got[name] for got, _ in pairs], [want[name] for _, want in pairs])
        for name in pairs[0][1]
    }
    if bundle.early_exit:
        outputs["exit_logits"] = _compare(*_exits(edge, model, inputs))
    return {
        "reference": "Keras, float32",
        "inputs": described,
        "outputs": outputs,
        "agreement": _agreement(bundle, pairs),
        "limit": limit,
        # A comparison with NaN is false, so NaN fails.
        "passed": all(figures["error"] <= limit for figures in outputs.values()),
        **({"acceleration": edge.acceleration.to_dict()} if edge.acceleration else {}),
    }


def check_fidelity(verification: Mapping[str, Any], *, where: str) -> None:
    """Raise if a verification failed.

    Raises:
        FidelityError: An output's error exceeds the recipe's limit.
    """
    if not verification["passed"]:
        worst = max(verification["outputs"].items(), key=lambda item: item[1]["error"])
        raise FidelityError(
            f"{where}: {worst[0]} has an error of {worst[1]['error']:.3g}; at most "
            f"{verification['limit']:g} is allowed (cosine {worst[1]['cosine']:.4f}). "
            "Choose a recipe of higher precision, such as float16."
        )


def _inputs(bundle: Bundle, texts: Sequence[str]) -> list[dict[str, Any]]:
    config = bundle.config
    longest = min(bundle.seq_len or config.max_position_embeddings, _LONGEST)
    if not bundle.tokenizer_files:
        if texts:
            raise InputError("the file holds no tokenizer, so it cannot be compared on texts.")
        random = np.random.default_rng(0)
        lengths = sorted({min(length, longest) for length in _RANDOM_LENGTHS})
        ids = [random.integers(0, config.vocab_size, n) for n in lengths]
        if bundle.for_libraries:
            return [{"input_ids": row, "token_type_ids": _halves(row.size)} for row in ids]
        return [{"input_ids": row} for row in ids]
    tokenizer = tokenizer_from_files(bundle.tokenizer_files)
    pair = "Where was it?" if bundle.task == "question-answering" else None
    rows = []
    for text in texts or _TEXTS:
        first, second = (text, None) if pair is None else (pair, text)
        encoding = tokenizer.encode(first, second, max_length=longest)
        rows.append({"input_ids": encoding.input_ids, "token_type_ids": encoding.token_type_ids})
    return rows


def _halves(count: int) -> np.ndarray:
    """Return the types of two texts of as many tokens, int32 [T]."""
    return (np.arange(count) >= count // 2).astype(np.int32)


def _inputs_of_lengths(bundle: Bundle, inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for every length of a file of several that no other input is padded to."""
    counts, random = [len(row["input_ids"]) for row in inputs], np.random.default_rng(1)
    return [
        {"input_ids": random.integers(0, bundle.config.vocab_size, shorter + 1)}
        for shorter, length in pairwise(bundle.seq_lens)
        if not any(shorter < count <= length for count in counts)
    ]


def _reference(model: Albert, bundle: Bundle, row: Mapping[str, Any]) -> dict[str, np.ndarray]:
    outputs = {name: values.numpy() for name, values in model(_batch(row)).items()}
    if "probabilities" in bundle.outputs:
        alone = bundle.config.labels_are_independent
        return {"probabilities": (sigmoid if alone else softmax)(outputs["logits"])}
    if "sentence_embedding" in bundle.outputs:
        mean = outputs["last_hidden_state"].mean(axis=1)  # [1, H]
        pooled = {"sentence_embedding": mean / np.linalg.norm(mean)}
        return pooled if bundle.for_libraries else outputs | pooled
    return outputs


def _without_masked(
    bundle: Bundle, row: Mapping[str, Any], outputs: Mapping[str, np.ndarray]
) -> Mapping[str, np.ndarray]:
    """Leave out the tokens whose logits a file masks: those before the passage, but `[CLS]`."""
    if not bundle.for_libraries or bundle.task != "question-answering":
        return outputs
    kept = np.array(row["token_type_ids"], bool)
    kept[0] = True
    return {name: values[:, kept] for name, values in outputs.items()}


def _batch(row: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray([values], np.int32) for name, values in row.items()}


def _exits(
    edge: Model, model: Albert, inputs: Sequence[Mapping[str, Any]]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Exit once after every pass but the last, each on a different input; return both logits."""
    got, want = [], []
    task = TASKS[model.task]
    for index in range(model.config.num_hidden_layers - 1):
        row = inputs[index % len(inputs)]
        rule = replace(NEVER, max_layers=index + 1)
        outputs = edge.run(**row, early_exit=rule)
        expected = task.name_logits(model.exits(_batch(row))[:, index].numpy())
        for name in task.outputs:
            got.append(outputs[name])
            want.append(expected[name])
    return got, want


def _compare(got: list[np.ndarray], want: list[np.ndarray]) -> dict[str, float]:
    a = np.concatenate([values.ravel() for values in got]).astype(np.float64)
    b = np.concatenate([values.ravel() for values in want]).astype(np.float64)
    norms = np.linalg.norm(a), np.linalg.norm(b)
    return {
        "max_difference": float(np.abs(a - b).max()),
        "error": float(np.linalg.norm(a - b) / max(norms[1], np.finfo(np.float64).tiny)),
        "cosine": float(a @ b / max(norms[0] * norms[1], np.finfo(np.float64).tiny)),
    }


def _agreement(
    bundle: Bundle, pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> float | None:
    kind = bundle.config.kind if bundle.task == "classification" else ""
    if bundle.task == "feature-extraction" or kind == "regression":
        return None
    multi_label = kind == "multi-label"
    predictions = [[_predictions(outputs, multi_label) for outputs in pair] for pair in pairs]
    same = [np.equal(got, want) for got, want in predictions]
    if bundle.task == "question-answering":  # start and end are one prediction
        same = [both.all(keepdims=True) for both in same]
    return float(np.concatenate(same).mean())


def _predictions(outputs: Mapping[str, Any], multi_label: bool) -> np.ndarray:
    """Return the labels: the argmax of the outputs; multi-label, those above a half."""
    limits = {name: 0.5 if name == "probabilities" else 0.0 for name in sorted(outputs)}
    return np.concatenate(
        [
            (outputs[name] > limit if multi_label else outputs[name].argmax(axis=-1)).ravel()
            for name, limit in limits.items()
            if name.endswith("logits") or name == "probabilities"
        ]
    )
