"""ExecuTorch with XNNPACK, converted by torch.export and the PT2E quantizer.

python -m benchmarks.runtimes.executorch_xnnpack CHECKPOINT -o FOLDER --recipe int8 --seq-len 128

`int8` quantizes the products dynamically, per channel; XNNPACK's quantizer leaves the embedding
table in float32.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from executorch.extension.pybindings import portable_lib
from executorch.runtime import Runtime

from benchmarks.runtimes.making import main

__all__ = ["make", "open_model"]


class _Method:
    runtime = f"executorch {metadata.version('executorch')}"

    def __init__(self, program: Any) -> None:
        self._program = program  # the method holds no reference to its program
        self._method = program.load_method("forward")

    def run(self, input_ids: npt.NDArray[np.int32]) -> dict[str, npt.NDArray[np.float32]]:
        ids = torch.from_numpy(np.atleast_2d(np.asarray(input_ids, np.int64)))  # [1, T]
        return {"logits": self._method.execute([ids, torch.zeros_like(ids)])[0].numpy().copy()}


def open_model(path: str, *, threads: int = 1) -> _Method:
    """Load `model.pte`."""
    portable_lib._unsafe_reset_threadpool(threads)  # Python has no other way to set it
    return _Method(Runtime.get().load_program(path))


def make(source: Path, folder: Path, *, recipe: str, seq_len: int) -> None:
    """Export, quantize if the recipe is int8, lower to XNNPACK; write `model.pte`."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (
        XnnpackDynamicallyQuantizedPartitioner,
        XnnpackPartitioner,
    )
    from executorch.exir import to_edge_transform_and_lower

    from benchmarks.runtimes.torch_eager import Classifier, random_ids

    example = random_ids(seq_len, 0)
    exported = torch.export.export(Classifier(source), example)
    partitioners = [XnnpackPartitioner()]
    if recipe == "int8":
        exported = torch.export.export(_quantize(exported, example), example)
        partitioners = [XnnpackDynamicallyQuantizedPartitioner(), *partitioners]
    program = to_edge_transform_and_lower(exported, partitioner=partitioners).to_executorch()
    with (folder / "model.pte").open("wb") as file:
        program.write_to_file(file)


def _quantize(exported: Any, example: tuple[Any, Any]) -> Any:
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    config = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)
    prepared = prepare_pt2e(exported.module(), XNNPACKQuantizer().set_global(config))
    prepared(*example)
    return convert_pt2e(prepared)


if __name__ == "__main__":
    main(make)
