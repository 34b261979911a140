"""The child process that runs a file in tflite-runtime: `tflite_interpreter.py FOLDER`.

It needs tflite-runtime and numpy, and nothing of this project.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from tflite_runtime.interpreter import Interpreter


def main(folder: Path) -> None:
    """Read `request.json` and `in_*.npz`; write `out_*.npz` and `answer.json`."""
    request = json.loads((folder / "request.json").read_text())
    error = ""
    try:
        runner = Interpreter(request["file"]).get_signature_runner(request["signature"])
        for index in range(request["runs"]):
            with np.load(folder / f"in_{index}.npz") as inputs:
                outputs = runner(**inputs)
            np.savez(folder / f"out_{index}.npz", **outputs)
    except (RuntimeError, ValueError) as refused:
        error = f"{type(refused).__name__}: {refused}"
    (folder / "answer.json").write_text(json.dumps({"error": error}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
