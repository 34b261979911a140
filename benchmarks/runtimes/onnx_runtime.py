"""ONNX Runtime: torch's exporter and ONNX Runtime's quantizer, used as its manual describes.

\b
python -m benchmarks.runtimes.onnx_runtime CHECKPOINT -o FOLDER --recipe int8 --seq-len 128

`float32` is the exported graph.  `int8` is pre-processed (shapes inferred, graph optimized) and
quantized dynamically, per channel; `int8-reduced` has weights of 7 bits; `int8-optimized` is also
optimized offline, so that opening a session needs no optimization.  The attention and layer-norm
fusions of `onnxruntime.transformers` are not used: in the graphs of current transformers and torch
they find no attention, and the quantizer refuses their output; with transformers 4.46 they fused
the attention, copied the shared weights 11 times (31 MB), and had the same speed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from benchmarks.runtimes.making import main

__all__ = ["make", "open_model"]


class _Session:
    runtime = f"onnxruntime {onnxruntime.__version__}"

    def __init__(self, session: Any) -> None:
        self._session = session

    def run(self, input_ids: npt.NDArray[np.int32]) -> dict[str, npt.NDArray[np.float32]]:
        ids = np.atleast_2d(np.asarray(input_ids, np.int64))  # [1, T]
        fed = {"input_ids": ids, "token_type_ids": np.zeros_like(ids)}
        return {"logits": self._session.run(["logits"], fed)[0]}


def open_model(path: str, *, threads: int = 1) -> _Session:
    """Open a session on the CPU with all optimizations, the default."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    providers = ["CPUExecutionProvider"]
    return _Session(onnxruntime.InferenceSession(path, options, providers=providers))


def make(source: Path, folder: Path, *, recipe: str, seq_len: int | None) -> None:
    """Export, then quantize if the recipe is an int8 one; write `model.onnx`."""
    target, exported = folder / "model.onnx", folder / "exported.onnx"
    _export(source, exported, seq_len)
    if recipe == "float32":
        exported.rename(target)
        return
    quantized = folder / "quantized.onnx"
    _quantize(exported, quantized, reduce_range=recipe == "int8-reduced", free=seq_len is None)
    if recipe == "int8-optimized":
        _optimize(quantized, target)
    else:
        quantized.rename(target)
    for path in (exported, quantized):
        path.unlink(missing_ok=True)


def _export(source: Path, path: Path, seq_len: int | None) -> None:
    import torch

    from benchmarks.runtimes.torch_eager import Classifier, random_ids

    free = {1: torch.export.Dim("tokens", min=2, max=512)} if seq_len is None else {}
    # Eager attention has fewer operators in ONNX than the fused one.
    torch.onnx.export(
        Classifier(source, attention="eager"),
        random_ids(seq_len or 128, 0),
        str(path),
        dynamo=True,
        dynamic_shapes=(free, free),
        external_data=False,
        input_names=["input_ids", "token_type_ids"],
        output_names=["logits"],
    )


def _quantize(source: Path, target: Path, *, reduce_range: bool, free: bool) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = source.with_name("prepared.onnx")
    # It cannot follow the lengths of a graph for all of them.
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=free)
    quantize_dynamic(
        prepared,
        target,
        per_channel=True,
        reduce_range=reduce_range,
        weight_type=QuantType.QInt8,
    )
    prepared.unlink()


def _optimize(source: Path, target: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    main(make)
