"""The child process that runs a file in CompiledModel: `compiled_model.py FOLDER`.

It needs ai-edge-litert and numpy, and nothing of this project.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.compiled_model import (
    CompiledModel,
    CpuOptions,
    GpuOptions,
    HardwareAccelerator,
    Options,
)


def main(folder: Path) -> None:
    """Read `request.json` and `in_*.npz`; write `out_*.npz` and `answer.json`."""
    request = json.loads((folder / "request.json").read_text())
    answer = {"fully_accelerated": False, "error": ""}
    try:
        model = _load(request)
        answer["fully_accelerated"] = model.is_fully_accelerated()
        for index in range(request["runs"]):
            with np.load(folder / f"in_{index}.npz") as inputs:
                outputs = _run(model, request["signature"], dict(inputs))
            np.savez(folder / f"out_{index}.npz", **outputs)
    except Exception as error:
        answer["error"] = f"{type(error).__name__}: {error}"
    (folder / "answer.json").write_text(json.dumps(answer))


def _load(request: dict[str, Any]) -> CompiledModel:
    chosen = HardwareAccelerator(0)
    for name in request["accelerators"].split("|"):
        chosen |= HardwareAccelerator[name.upper()]
    options = Options(
        hardware_accelerators=chosen,
        cpu_options=CpuOptions(num_threads=1),
        gpu_options=GpuOptions(enforce_f32=request["float32"]),
    )
    return CompiledModel.from_file(request["file"], options=options)


def _run(
    model: CompiledModel, signature: str | None, inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    key = signature or next(iter(model.get_signature_list()))
    details = model.get_input_tensor_details(key)
    for name, array in inputs.items():
        if tuple(details[name]["shape"]) != array.shape:
            model.resize_input_tensor_by_name(key, name, array.shape)
    ins = {name: model.create_input_buffer_by_name(key, name) for name in inputs}
    for name, array in inputs.items():
        ins[name].write(np.ascontiguousarray(array))
    shapes = model.get_output_tensor_details(key)
    outs = {name: model.create_output_buffer_by_name(key, name) for name in shapes}
    model.run_by_name(key, ins, outs)
    return {name: _output(outs[name], shapes[name]) for name in shapes}


def _output(buffer: Any, detail: dict[str, Any]) -> np.ndarray:
    shape = tuple(detail["shape"])
    values = buffer.read(int(np.prod(shape)), np.dtype(detail["dtype"]).type)
    return np.asarray(values).reshape(shape)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)  # the teardown of the runtime may crash
