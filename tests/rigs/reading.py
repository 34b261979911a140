"""The child process that opens files in a reader of the rig `readers`: `reading.py FOLDER`.

The request has the `reader`, the `files`, and the folder of the rig's `packages`. The answer has
`found`, for each file `error`, what the reader said, or empty; `nodes`, how many operators it has;
and `runs`, whether the outputs are in `out_<index>.npz`, of the inputs in `in_<index>.npz`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


def main(folder: Path) -> None:
    """Read `request.json` and `in_*.npz`; write `out_*.npz` and `answer.json`."""
    request = json.loads((folder / "request.json").read_text())
    sys.path.append(request["packages"])
    read, found = READERS[request["reader"]], []
    for index, file in enumerate(request["files"]):
        with np.load(folder / f"in_{index}.npz") as stored:
            inputs = dict(stored)
        outputs: Arrays = {}
        one: dict[str, Any] = {"error": "", "nodes": None, "runs": False}
        try:
            one["nodes"], outputs = read(file, inputs, folder)
            one["runs"] = bool(outputs)
        except Exception as refused:  # each reader has exceptions of its own
            one["error"] = f"{type(refused).__name__}: {refused}"
        np.savez(folder / f"out_{index}.npz", **outputs)
        found.append(one)
    (folder / "answer.json").write_text(json.dumps({"error": "", "found": found}))


def _model_explorer(file: str, _: Arrays, __: Path) -> tuple[int, Arrays]:
    import ai_edge_model_explorer_adapter as adapter

    shown = json.loads(adapter.ConvertFlatbufferDirectlyToJson(adapter.VisualizeConfig(), file))
    graphs = [graph for one in shown for graph in one["subgraphs"]]
    return sum(len(graph["nodes"]) for graph in graphs), {}


def _openvino(file: str, inputs: Arrays, _: Path) -> tuple[int, Arrays]:
    import openvino

    core = openvino.Core()
    model = core.read_model(file)
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    given = {port.any_name: inputs[port.any_name] for port in compiled.inputs}
    outputs = compiled(given)
    found = {str(at): np.asarray(outputs[at]) for at in range(len(compiled.outputs))}
    return len(model.get_ops()), found


def _tf2onnx(file: str, inputs: Arrays, folder: Path) -> tuple[int, Arrays]:
    import onnxruntime
    import tf2onnx.convert

    path = str(folder / "model.onnx")
    model, _ = tf2onnx.convert.from_tflite(file, output_path=path, opset=18)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = {one.name: inputs[one.name] for one in session.get_inputs()}
    found = session.run(None, given)
    return len(model.graph.node), {str(at): values for at, values in enumerate(found)}


READERS = {"model-explorer": _model_explorer, "openvino": _openvino, "tf2onnx": _tf2onnx}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
