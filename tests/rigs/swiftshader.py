"""CompiledModel, LiteRT's new runtime, on SwiftShader: Vulkan, computed by the CPU.

SwiftShader comes with Debian's Chromium. The model runs in a child process, because the library
may crash, and finds Vulkan by environment variables that must be set before it starts.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .child import Inputs, ask
from .install import Rig, debian


def _build(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as unpacked:
        debian(Path(unpacked), "chromium-common", "libvulkan1")
        for pattern in ("libvk_swiftshader.so", "libvulkan.so.1"):
            # Chromium has a loader of Vulkan too, which does not serve other programs.
            found = [p for p in Path(unpacked).rglob(pattern) if _wanted(p)]
            shutil.copy(found[0], folder / pattern)
    driver = {"library_path": "./libvk_swiftshader.so", "api_version": "1.0.5"}
    icd = {"file_format_version": "1.0.0", "ICD": driver}
    (folder / "icd.json").write_text(json.dumps(icd))


def _wanted(path: Path) -> bool:
    return path.name.startswith("libvk_") or "chromium" not in path.parts


RIG = Rig(name="swiftshader", what="SwiftShader, a Vulkan device on the CPU", build=_build)


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """What CompiledModel answered.

    Attributes:
        outputs: For each of the inputs, the outputs by name. Empty if there was an error.
        fully_accelerated: What the runtime says of itself.
        on_gpu: How many operators the log says run on the GPU; None where it does not say, which
            is where all of them do, or none.
        on_cpu: How many the log says remain on the CPU, or None.
        refused: The log's reasons, such as `GATHER: Only support 1D indices`.
        error: Message of the runtime's exception, or empty.
        log: All that the child process printed.
    """

    outputs: list[dict[str, np.ndarray]]
    fully_accelerated: bool
    on_gpu: int | None
    on_cpu: int | None
    refused: tuple[str, ...]
    error: str
    log: str


def environment() -> dict[str, str]:
    """Return the environment variables by which a process finds this Vulkan device and no other."""
    icd = str(RIG.path / "icd.json")
    return {
        "LD_LIBRARY_PATH": str(RIG.path),
        "VK_ICD_FILENAMES": icd,
        "VK_DRIVER_FILES": icd,
    }


def run_compiled(
    file: Path,
    inputs: Inputs,
    accelerators: str = "gpu|cpu",
    *,
    float32: bool = True,
    signature: str | None = None,
    timeout_s: float = 600,
) -> Compiled:
    """Run a file in CompiledModel on SwiftShader, in a child process.

    Args:
        file: The `.tflite` file.
        inputs: Arrays by the signature's input names, or several of these; the file is loaded once.
            An input is resized to its array's shape.
        accelerators: `cpu`, `gpu` or `gpu|cpu`.
        float32: Whether the GPU must compute in float32; else the runtime's default precision.
        signature: Name of the signature; the first one by default.
        timeout_s: Seconds after which the process is ended.

    Raises:
        RigError: if the process died, or was ended, without an answer.
    """
    request = {
        "file": str(file),
        "accelerators": accelerators,
        "float32": float32,
        "signature": signature,
    }
    python, env = Path(sys.executable), environment()
    answer = ask(python, "compiled_model.py", request, inputs, env=env, timeout_s=timeout_s)
    log = answer.log
    counts = re.search(r"(\d+) operations will run on the GPU(?:, and the remaining (\d+))?", log)
    refused = re.search(r"not supported by GPU delegate:\n(.*?)\n\d+ operations", log, re.DOTALL)
    return Compiled(
        outputs=answer.outputs,
        fully_accelerated=answer.facts["fully_accelerated"],
        on_gpu=int(counts[1]) if counts else None,
        on_cpu=int(counts[2] or 0) if counts else None,
        refused=tuple(refused[1].splitlines()) if refused else (),
        error=answer.error,
        log=log,
    )
