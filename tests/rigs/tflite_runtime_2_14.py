"""tflite-runtime 2.14.0, the last release, which boards and Android's older libraries agree with.

It needs Python 3.11 at most and NumPy 1, so it has a virtual environment of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .child import Inputs, ask
from .install import Rig, old_python, virtual_environment

# What this project's command line needs there, so that it can be run as on a board.
_PACKAGES = (
    "click",
    "flatbuffers",
    "rich",
    "sentencepiece",
    "numpy<2",
    "tflite-runtime==2.14.0",
)


def _build(folder: Path) -> None:
    virtual_environment(folder, old_python(), *_PACKAGES)


RIG = Rig(name="tflite-runtime", what="tflite-runtime 2.14.0", build=_build)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What tflite-runtime answered.

    Attributes:
        outputs: For each of the inputs, the outputs by name. Empty if there was an error.
        error: Message of the runtime's exception, or empty.
        log: All that the process printed.
    """

    outputs: list[dict[str, np.ndarray]]
    error: str
    log: str


def python() -> Path:
    """Return the interpreter of the environment."""
    return RIG.path / "bin/python"


def run(file: Path, inputs: Inputs, *, signature: str | None = None) -> Result:
    """Run a file in tflite-runtime, in a child process; an input is resized to its array's shape.

    Raises:
        RigError: if the process died without an answer.
    """
    request = {"file": str(file), "signature": signature}
    answer = ask(python(), "tflite_interpreter.py", request, inputs)
    return Result(outputs=answer.outputs, error=answer.error, log=answer.log)
