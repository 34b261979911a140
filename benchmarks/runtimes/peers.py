"""The list of peers: the converter, the engine and the environment of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from albert_edge.benchmark.measure import ENGINE
from albert_edge.quantization.recipes import get_recipe
from benchmarks.litert import ENGINE as LITERT

__all__ = ["ENVIRONMENTS", "OURS", "PEERS", "Peer", "choose"]

OURS = "albert_edge"
_TORCH = ("torch==2.13.0", "transformers==5.23.0")
# The pip packages of every environment; an index with CPU builds of torch saves gigabytes.
ENVIRONMENTS = {
    "torch": _TORCH,
    "onnxruntime": (*_TORCH, "onnx==1.23.2", "onnxscript==0.7.2", "onnxruntime==1.32.0"),
    "openvino": (*_TORCH, "openvino==2026.4.1", "nncf==3.4.0"),
    "executorch": (*_TORCH, "executorch==1.5.1"),
    "litert-torch": (*_TORCH, "litert-torch==0.10.0", "ai-edge-quantizer==0.10.0"),
}
# bfloat16 has 8 significant bits, so each product is off by up to 2^-9; a dozen layers add up.
_BF16_LIMIT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One way to run ALBERT.

    Attributes:
        name: The runtime, and its environment of `ENVIRONMENTS`; albert_edge and TensorFlow run in
            the current environment.
        recipe: The way in which its file is made.
        precision: One of our recipes or `bf16`; it sets the permitted error of the outputs.
        file: The name of the file that `engine` opens.
        engine: `module:function`, see `albert_edge.benchmark.measure`.
        module: The converter, run as `python -m MODULE`; None for `albert-edge convert`.
        any_length: Whether the only file serves every length.
        can_be_free: Whether its converter can make a file for every length; one for a fixed length
            is the faster.
    """

    name: str
    recipe: str
    precision: str
    file: str
    engine: str
    module: str | None
    any_length: bool = False
    can_be_free: bool = False

    @property
    def key(self) -> str:
        """The name on the command line."""
        return f"{self.name}/{self.recipe}"

    @property
    def limit(self) -> float:
        """The permitted error of the outputs, as a share of their root mean square."""
        return _BF16_LIMIT if self.precision == "bf16" else get_recipe(self.precision).max_error


def _ours(quantize: str) -> Peer:
    return Peer(
        name=OURS,
        recipe=quantize,
        precision=quantize,
        file="model.tflite",
        engine=ENGINE,
        module=None,
        any_length=True,
        can_be_free=True,
    )


def _other(
    name: str, recipe: str, precision: str, *, module: str, engine: str = "", **more: Any
) -> Peer:
    module = f"benchmarks.{module}"
    engine = engine or f"{module}:open_model"
    return Peer(name=name, recipe=recipe, precision=precision, engine=engine, module=module, **more)


_STOCK = {"file": "model.tflite", "module": "stock_converter", "engine": LITERT}
_LITERT_TORCH = {"file": "model.tflite", "module": "runtimes.litert_torch", "engine": LITERT}
_ONNX = {"file": "model.onnx", "module": "runtimes.onnx_runtime", "can_be_free": True}
_OPENVINO = {"file": "model.xml", "module": "runtimes.openvino_cpu", "can_be_free": True}
_EXECUTORCH = {"file": "model.pte", "module": "runtimes.executorch_xnnpack"}
_EAGER = {"file": "model.safetensors", "module": "runtimes.torch_eager"}

PEERS = (
    *map(_ours, ("float32", "int8", "int4", "int8-full")),
    _other("tensorflow", "float32", "float32", **_STOCK),
    _other("tensorflow", "int8", "int8", **_STOCK),
    _other("litert-torch", "float32", "float32", **_LITERT_TORCH),
    _other("litert-torch", "int8", "int8", **_LITERT_TORCH),
    _other("onnxruntime", "float32", "float32", **_ONNX),
    _other("onnxruntime", "int8", "int8", **_ONNX),
    _other("onnxruntime", "int8-reduced", "int8", **_ONNX),
    _other("onnxruntime", "int8-optimized", "int8", **_ONNX),
    _other("openvino", "float32", "float32", **_OPENVINO),
    _other(
        "openvino", "bf16", "bf16", **_OPENVINO, engine="benchmarks.runtimes.openvino_cpu:open_bf16"
    ),
    _other("openvino", "int8", "int8-full", **_OPENVINO),
    _other("openvino", "int8-weights", "int8", **_OPENVINO),
    _other("executorch", "float32", "float32", **_EXECUTORCH),
    _other("executorch", "int8", "int8", **_EXECUTORCH),
    _other("torch", "eager", "float32", **_EAGER),
    _other(
        "torch",
        "compiled",
        "float32",
        **_EAGER,
        engine="benchmarks.runtimes.torch_eager:open_compiled",
    ),
)


def choose(names: tuple[str, ...]) -> list[Peer]:
    """Select peers by name or by name/recipe; all of them without a name.

    Raises:
        ValueError: A name is unknown.
    """
    known = {peer.name for peer in PEERS} | {peer.key for peer in PEERS}
    if unknown := set(names) - known:
        raise ValueError(f"unknown peer {min(unknown)!r}; choose from {', '.join(sorted(known))}.")
    return [peer for peer in PEERS if not names or {peer.name, peer.key} & set(names)]
