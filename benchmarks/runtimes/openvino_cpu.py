"""OpenVINO: its own converter from torch, and NNCF for quantization.

\b
python -m benchmarks.runtimes.openvino_cpu CHECKPOINT -o FOLDER --recipe int8 --seq-len 128

`int8` is NNCF's static quantization for transformers, calibrated on random ids because the weights
are random too; `int8-weights` compresses weights, and the runtime quantizes activations
dynamically.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino

from benchmarks.runtimes.making import main

__all__ = ["make", "open_bf16", "open_model"]

_CALIBRATION = 16  # samples


class _Request:
    runtime = f"openvino {openvino.__version__.partition('-')[0]}"

    def __init__(self, request: Any) -> None:
        self._request = request

    def run(self, input_ids: npt.NDArray[np.int32]) -> dict[str, npt.NDArray[np.float32]]:
        ids = np.atleast_2d(np.asarray(input_ids, np.int64))  # [1, T]
        answer = self._request.infer({"input_ids": ids, "token_type_ids": np.zeros_like(ids)})
        return {"logits": answer[0].copy()}


def open_model(path: str, *, threads: int = 1, precision: str = "f32") -> _Request:
    """Compile `model.xml`; operators that are not quantized compute in `precision`."""
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": precision,
    }
    return _Request(openvino.Core().compile_model(path, "CPU", settings).create_infer_request())


def open_bf16(path: str, *, threads: int = 1) -> _Request:
    """Compile `model.xml` for bfloat16 arithmetic."""
    return open_model(path, threads=threads, precision="bf16")


def make(source: Path, folder: Path, *, recipe: str, seq_len: int | None) -> None:
    """Convert, then quantize if the recipe is an int8 one; write `model.xml` and `model.bin`."""
    from benchmarks.runtimes.torch_eager import Classifier, random_ids

    shape, length = [1, seq_len or -1], seq_len or 128
    model = openvino.convert_model(
        Classifier(source), example_input=random_ids(length, 0), input=[shape, shape]
    )
    if recipe.startswith("int8"):  # bf16 is an option at load time
        model = _quantize(model, recipe, [random_ids(length, n) for n in range(_CALIBRATION)])
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)


def _quantize(model: Any, recipe: str, samples: list[tuple[Any, Any]]) -> Any:
    import nncf

    if recipe == "int8-weights":
        return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
    names = ("input_ids", "token_type_ids")
    fed = [
        {name: values.numpy() for name, values in zip(names, sample, strict=True)}
        for sample in samples
    ]
    return nncf.quantize(
        model, nncf.Dataset(fed), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(fed)
    )


if __name__ == "__main__":
    main(make)
