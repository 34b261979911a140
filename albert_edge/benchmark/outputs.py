"""Outputs of a model: how they travel between processes, and how far two models' are apart.

The outputs of every configuration are compared with those of a reference (`choose_reference`), so
that a fast configuration with wrong outputs does not rank.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from albert_edge.benchmark.config import ModelFile
from albert_edge.benchmark.devices.device import Local
from albert_edge.quantization.recipes import get_recipe
from albert_edge.runtime.compiled_model import difference_limit, largest_difference

if TYPE_CHECKING:  # a worker needs no tokenizer, and a runtime's own environment may have none
    from albert_edge.benchmark.inputs import Inputs

Outputs: TypeAlias = Mapping[str, npt.NDArray[Any]]
# A larger output is subsampled: those of masked language models have millions of values.
_MAX_VALUES = 2**16
_MAX_DECODED_BYTES = 2**24  # of the outputs on one input
# What reading a damaged archive of arrays raises.
_DAMAGE_ERRORS = (
    *(EOFError, LookupError, MemoryError, OSError, OverflowError, RuntimeError, SyntaxError),
    *(TypeError, ValueError, struct.error, zipfile.BadZipFile, zlib.error),
)
ENGINE = "albert_edge.benchmark.engine:open_reference"
FLOAT_ENGINE = "albert_edge.benchmark.engine:open_float_reference"
_KERNELS = "the CPU of the host, 1 thread, the runtime's own kernels, no delegate"


def encode_outputs(outputs: Outputs) -> str:
    """Encode outputs as text; an output of more than 2^16 values as a sample of those, [2^16]."""
    file = io.BytesIO()
    sampled: dict[str, Any] = {name: _subsample(values) for name, values in outputs.items()}
    np.savez_compressed(file, **sampled)
    return base64.b64encode(file.getvalue()).decode()


def decode_outputs(text: str) -> dict[str, npt.NDArray[Any]]:
    """Decode the text of `encode_outputs`.

    Raises:
        ValueError: It is damaged, or contains more than outputs have.
    """
    try:
        file = io.BytesIO(base64.b64decode(text, validate=True))
        with zipfile.ZipFile(file) as archive:
            size_bytes = sum(member.file_size for member in archive.infolist())
        if size_bytes > _MAX_DECODED_BYTES:
            raise ValueError(f"the outputs have {size_bytes} bytes; {_MAX_DECODED_BYTES} are read")
        with np.load(file, allow_pickle=False) as arrays:
            outputs = dict(arrays)
    except _DAMAGE_ERRORS as error:
        raise ValueError(f"the outputs are damaged: {error!r}") from error
    for name, values in outputs.items():
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
            raise ValueError(f"the output {name!r} is not an array of numbers")
    return outputs


def digest(outputs: Outputs) -> dict[str, str]:
    """Return the SHA-256 of every whole output's bytes, by name."""
    return {
        name: hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
        for name, values in outputs.items()
    }


def compare_outputs(
    actual: Sequence[Outputs], expected: Sequence[Outputs], *, limit: float
) -> dict[str, Any]:
    """Compare the outputs of a configuration with those of the reference.

    Args:
        actual: The configuration's outputs on each input.
        expected: The reference's outputs on the same inputs.
        limit: The largest `error` that passes.

    Returns:
        `outputs`, for each its `error` (the root mean square of the difference over that of the
        reference), `max_difference` and `cosine`, all None if it has values that are not finite;
        `agreement`, the proportion of rows of logits with the same argmax (None if there is no such
        row); `limit`; `passed`.
    """
    outputs = {
        name: _output_error([one[name] for one in actual], [one[name] for one in expected])
        for name in expected[0]
    }
    return {
        "outputs": outputs,
        "agreement": _agreement(actual, expected),
        "limit": limit,
        "passed": all(
            one["error"] is not None and one["error"] <= limit for one in outputs.values()
        ),
    }


def worst(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return the worse of two results of `Reference.compare`."""
    return max(first, second, key=_max_excess)


def _max_excess(comparison: dict[str, Any]) -> float:
    """Return the largest ratio of an error to its limit."""
    limited = [(output["error"], comparison["limit"]) for output in comparison["outputs"].values()]
    if "cpu" in comparison:
        limited.append((comparison["cpu"]["difference"], comparison["cpu"]["limit"]))
    return max(float("inf") if error is None else error / limit for error, limit in limited)


def _subsample(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.size <= _MAX_VALUES:
        return values
    # Always the same random indices, not every n-th: those could all lie in the same columns.
    indices = np.random.default_rng(0).integers(0, values.size, _MAX_VALUES)
    return values.ravel()[indices]


def _output_error(
    actual: Sequence[npt.NDArray[Any]], expected: Sequence[npt.NDArray[Any]]
) -> dict[str, float | None]:
    a, b = (
        np.concatenate([values.ravel() for values in side]).astype(np.float64)
        for side in (actual, expected)
    )
    same_shapes = [values.shape for values in actual] == [values.shape for values in expected]
    if not (same_shapes and np.isfinite(a).all() and np.isfinite(b).all()):
        return {"error": None, "max_difference": None, "cosine": None}
    tiny = float(np.finfo(np.float64).tiny)
    norm_a, norm_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    return {
        "error": float(np.linalg.norm(a - b)) / max(norm_b, tiny),
        "max_difference": float(np.abs(a - b).max()),
        "cosine": float(a @ b) / max(norm_a * norm_b, tiny),
    }


def _agreement(actual: Sequence[Outputs], expected: Sequence[Outputs]) -> float | None:
    same = [
        np.equal(outputs[name].argmax(axis=-1), values.argmax(axis=-1)).ravel()
        for outputs, reference in zip(actual, expected, strict=True)
        for name, values in reference.items()
        if (name.endswith("logits") or name == "probabilities")
        # A row of one value has no meaningful argmax, and neither has a subsampled output, [2^16].
        and values.ndim > 1
        and values.shape[-1] > 1
        and outputs[name].shape == values.shape
    ]
    return float(np.concatenate(same).mean()) if same else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """The outputs of a reference file.

    Attributes:
        name: The file's name in the report.
        sha256: The file's hash.
        quantize: Its recipe.
        outputs: Its outputs on each input.
        inputs: What those inputs were, for reports.
    """

    name: str
    sha256: str | None
    quantize: str
    outputs: tuple[Outputs, ...]
    inputs: str

    def compare(self, outputs: Sequence[Outputs], *, quantize: str) -> dict[str, Any]:
        """Compare outputs on the same inputs, to the tolerance of the recipe `quantize`.

        Raises:
            ConversionError: There is no recipe `quantize`.
        """
        return {
            "reference": {
                "name": self.name,
                "sha256": self.sha256,
                "quantize": self.quantize,
                "engine": _KERNELS,
            },
            "inputs": self.inputs,
            **compare_outputs(outputs, self.outputs, limit=get_recipe(quantize).max_error),
        }


def compare_with_cpu(
    outputs: Sequence[Outputs], reference: Reference, quantize: str, accelerator: str
) -> dict[str, Any]:
    """Compare an accelerator's outputs with those of the same file on the CPU.

    Args:
        outputs: The accelerator's outputs on each input.
        reference: The result of `run_reference`, of a GPU with `FLOAT_ENGINE`.
        quantize: The file's recipe.
        accelerator: `gpu:float32`, `gpu:default`, or an Edge TPU.

    Returns:
        The entry `cpu` of a row's `fidelity`: `engine`; `difference`, the largest one over the
        largest value of the same output, None for outputs that are not finite or of another shape;
        `limit`; `passed`.
    """
    limit = difference_limit(quantize, accelerator)
    pairs = zip(outputs, reference.outputs, strict=True)
    difference = max(largest_difference(*pair) for pair in pairs)
    return {
        "engine": f"{_KERNELS}{', int8 weights as floats' * accelerator.startswith('gpu')}",
        "difference": difference if math.isfinite(difference) else None,
        "limit": limit,
        "passed": difference <= limit,
    }


def choose_reference(file: ModelFile, files: Sequence[ModelFile], seq_len: int) -> ModelFile:
    """Choose the file whose outputs are the reference of `file`.

    It is the first float32 file of the same checkpoint and task that takes as many tokens.  Without
    one, `file` is its own reference: it is then compared with its own weights only, besides the
    verification against Keras that it carries.
    """
    for other in files:
        if _is_float32_of(file, other) and _takes_length(other, seq_len):
            return other
    return file


def run_reference(
    file: ModelFile, inputs: Inputs, *, timeout_s: float, engine: str = ENGINE
) -> Reference:
    """Run a file on all inputs, in a fresh process on this machine's CPU.

    Args:
        file: The file.
        inputs: The inputs.
        timeout_s: When to stop the process.
        engine: `ENGINE`, or `FLOAT_ENGINE`, which multiplies int8 weights as floats.

    Raises:
        AlbertEdgeError: The worker's own error.
        DeviceError: The process died or timed out.
    """
    assert file.bundle is not None  # noqa: S101 (the caller skips files with an error)
    job = {
        "do": "predict",
        "path": str(file.path),
        "engine": engine,
        "threads": 1,
        "inputs": [list(ids) for ids in inputs.ids],
        "sha256": file.sha256,
    }
    result = Local().run(job, timeout_s=timeout_s)
    return Reference(
        name=file.name,
        sha256=file.sha256,
        quantize=file.bundle.quantize,
        outputs=tuple(decode_outputs(text) for text in result["outputs"]),
        inputs=inputs.description,
    )


def _is_float32_of(file: ModelFile, other: ModelFile) -> bool:
    """Return whether `other` is a float32 file of the checkpoint and task of `file`."""
    own, bundle = file.bundle, other.bundle
    if own is None or bundle is None or bundle.quantize != "float32" or own.task != bundle.task:
        return False
    if own.outputs != bundle.outputs:
        return False
    checkpoint = own.provenance.get("sha256")
    same_init = own.provenance.get("drawn") == bundle.provenance.get("drawn")
    return checkpoint is not None and checkpoint == bundle.provenance.get("sha256") and same_init


def _takes_length(file: ModelFile, seq_len: int) -> bool:
    bundle = file.bundle
    if bundle is None:
        return False
    return seq_len <= (bundle.seq_len or bundle.config.max_position_embeddings)
