"""A model's outputs on their way between two processes, and how far two models' are apart."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from albert_edge.benchmark.config import ModelFile
from albert_edge.benchmark.devices.device import Local
from albert_edge.benchmark.inputs import Inputs
from albert_edge.quantization.recipes import get_recipe

__all__ = [
    "Outputs",
    "Reference",
    "answer_reference",
    "choose_reference",
    "compare_outputs",
    "decode_outputs",
    "digest",
    "encode_outputs",
    "worst",
]

Outputs: TypeAlias = Mapping[str, npt.NDArray[Any]]
# Of a larger output so many values are kept, always the same ones: masked words have millions.
_MOST = 2**16
_ENGINE = "albert_edge.benchmark.engine:open_reference"
_KERNELS = "the CPU of the machine that asked, 1 thread, the runtime's own kernels, no delegate"


def encode_outputs(outputs: Outputs) -> str:
    """Make text of outputs; of an output of more than 2^16 values, of a sample of those, [2^16]."""
    file = io.BytesIO()
    thinned: dict[str, Any] = {name: _thinned(values) for name, values in outputs.items()}
    np.savez_compressed(file, **thinned)
    return base64.b64encode(file.getvalue()).decode()


def decode_outputs(text: str) -> dict[str, npt.NDArray[Any]]:
    """Read what `encode_outputs` made."""
    with np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False) as arrays:
        return dict(arrays)


def digest(outputs: Outputs) -> dict[str, str]:
    """Return the SHA-256 of every whole output's bytes, by name."""
    return {
        name: hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
        for name, values in outputs.items()
    }


def compare_outputs(
    got: Sequence[Outputs], want: Sequence[Outputs], *, limit: float
) -> dict[str, Any]:
    """Compare what a configuration answered with what the reference answered.

    Args:
        got: Its outputs on each input.
        want: The reference's, on the same inputs.
        limit: The largest `error` that passes.

    Returns:
        `outputs`, for each its `error` (the root mean square of the difference over that of the
        reference), `max_difference` and `cosine`, which are None if it has values that are no
        finite numbers; `agreement`, the share of rows of logits whose largest is the same one (None
        where there is no such row at hand); `limit`; `passed`.
    """
    figures = {
        name: _compare([one[name] for one in got], [one[name] for one in want]) for name in want[0]
    }
    errors = [one["error"] for one in figures.values()]
    return {
        "outputs": figures,
        "agreement": _agreement(got, want),
        "limit": limit,
        "passed": all(error is not None and error <= limit for error in errors),
    }


def worst(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return the worse of two results of `compare_outputs`."""
    return max(one, other, key=_badness)


def _badness(figures: dict[str, Any]) -> float:
    errors = [output["error"] for output in figures["outputs"].values()]
    return max(float("inf") if error is None else error for error in errors)


def _thinned(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.size <= _MOST:
        return values
    # Drawn, not every n-th: those could all lie in the same columns.
    places = np.random.default_rng(0).integers(0, values.size, _MOST)
    return values.ravel()[places]


def _compare(
    got: Sequence[npt.NDArray[Any]], want: Sequence[npt.NDArray[Any]]
) -> dict[str, float | None]:
    if [one.shape for one in got] != [one.shape for one in want]:
        return {"error": None, "max_difference": None, "cosine": None}
    a, b = (
        np.concatenate([one.ravel() for one in side]).astype(np.float64) for side in (got, want)
    )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return {"error": None, "max_difference": None, "cosine": None}
    tiny = float(np.finfo(np.float64).tiny)
    norm_a, norm_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    return {
        "error": float(np.linalg.norm(a - b)) / max(norm_b, tiny),
        "max_difference": float(np.abs(a - b).max()),
        "cosine": float(a @ b) / max(norm_a * norm_b, tiny),
    }


def _has_rows(values: npt.NDArray[Any]) -> bool:
    # Neither one number, which has no largest, nor the sample of a larger output.
    return values.ndim > 1 and values.shape[-1] > 1


def _agreement(got: Sequence[Outputs], want: Sequence[Outputs]) -> float | None:
    same = [
        np.equal(one[name].argmax(axis=-1), other[name].argmax(axis=-1)).ravel()
        for one, other in zip(got, want, strict=True)
        for name in other
        if name.endswith("logits")
        and _has_rows(other[name])
        and one[name].shape == other[name].shape
    ]
    return float(np.concatenate(same).mean()) if same else None


# What the outputs of a configuration are compared with, so that none is fast and wrong.


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """What a reference answered.

    Attributes:
        name: The file's name in the report.
        sha256: The file's hash.
        quantize: Its recipe.
        outputs: Its outputs on each input.
        inputs: What those were, for people.
    """

    name: str
    sha256: str | None
    quantize: str
    outputs: tuple[Outputs, ...]
    inputs: str

    def compare(self, outputs: Sequence[Outputs], *, quantize: str) -> dict[str, Any]:
        """Compare outputs on the same inputs; see `compare_outputs`.

        Raises:
            ConversionError: There is no recipe `quantize`, whose tolerance holds.
        """
        figures = compare_outputs(outputs, self.outputs, limit=get_recipe(quantize).max_error)
        return {
            "reference": {
                "name": self.name,
                "sha256": self.sha256,
                "quantize": self.quantize,
                "engine": _KERNELS,
            },
            "inputs": self.inputs,
            **figures,
        }


def choose_reference(subject: ModelFile, subjects: Sequence[ModelFile], seq_len: int) -> ModelFile:
    """Choose the file whose outputs are the reference of `subject`.

    It is the first float32 file of the same checkpoint and task that takes as many tokens; where
    there is none, the file itself, which then is only held to its own weights, and to the
    verification against Keras that it carries.
    """
    for other in subjects:
        if _same_source(subject, other) and _takes(other, seq_len):
            return other
    return subject


def answer_reference(subject: ModelFile, inputs: Inputs, *, timeout_s: float) -> Reference:
    """Let a file answer, in a fresh process on this machine's CPU.

    Raises:
        AlbertEdgeError: It cannot.
    """
    assert subject.bundle is not None  # noqa: S101 (one without is never run)
    job = {
        "do": "answer",
        "path": str(subject.path),
        "engine": _ENGINE,
        "threads": 1,
        "inputs": [list(ids) for ids in inputs.ids],
    }
    answer = Local().run(job, timeout_s=timeout_s)
    return Reference(
        name=subject.name,
        sha256=subject.sha256,
        quantize=subject.bundle.quantize,
        outputs=tuple(decode_outputs(text) for text in answer["outputs"]),
        inputs=inputs.what,
    )


def _same_source(subject: ModelFile, other: ModelFile) -> bool:
    one, two = subject.bundle, other.bundle
    if one is None or two is None or two.quantize != "float32" or one.task != two.task:
        return False
    known = one.provenance.get("sha256")
    drawn = one.provenance.get("drawn") == two.provenance.get("drawn")
    return known is not None and known == two.provenance.get("sha256") and drawn


def _takes(subject: ModelFile, seq_len: int) -> bool:
    bundle = subject.bundle
    if bundle is None:
        return False
    return seq_len <= (bundle.seq_len or bundle.config.max_position_embeddings)
