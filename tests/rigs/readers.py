"""Others that open `.tflite` files: Netron, Model Explorer, tf2onnx with ONNX Runtime, OpenVINO.

tf2onnx needs TensorFlow, of which this project's environment has one. So the packages are in a
folder of their own, which a process appends to its own path, without those that are here already.
"""

from __future__ import annotations

import sys
from pathlib import Path

from .install import Rig, call

_PACKAGES = (
    "ai-edge-model-explorer-adapter==0.2.1",
    "netron==9.3.3",
    "onnx==1.23.2",
    "onnxruntime==1.32.0",
    "openvino==2026.4.1",
    "openvino-telemetry==2025.2.0",
    "tf2onnx==1.17.0",
)


def _build(folder: Path) -> None:
    target = ("--no-deps", "--target", folder)
    call(sys.executable, "-m", "pip", "install", "-q", *target, *_PACKAGES)
    # Node.js 20 takes a file `.js` for a module only where a package.json says so.
    (folder / "netron/package.json").write_text('{"type": "module"}\n')


RIG = Rig(name="readers", what="Readers of .tflite files", build=_build)
