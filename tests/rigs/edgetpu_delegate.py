"""An Edge TPU for tests: a TFLite delegate in C, and compiled files, forged.

The delegate has the interface of Coral's library, and computes on the CPU what `forge` put into the
operator that the compiler makes: `edgetpu_delegate.c` says how it can be made to fail.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.tflite.graph import builtin_code, pack, parse, schema, tensor_bytes

from .install import Rig, compile_c

NAME = "libedgetpu.so.1"
OLD = f"tflite_2_5/{NAME}"  # built for the TFLite of Coral's own build
OPERATOR = b"edgetpu-custom-op"


def _build(folder: Path) -> None:
    compile_c("edgetpu_delegate.c", folder / NAME, "-O3", "-lm")
    (folder / OLD).parent.mkdir()
    compile_c("edgetpu_delegate.c", folder / OLD, "-O3", "-DTFLITE_2_5", "-lm")


RIG = Rig(
    name="edgetpu",
    what="An Edge TPU that the CPU computes, behind the interface of Coral's library",
    build=_build,
    version=2,
    sources=("edgetpu_delegate.c",),
)


def forge(content: bytes) -> bytes:
    """Return what the compiler makes of a product, except that the delegate in C must run it.

    Args:
        content: A model of one CONV_2D, 1 x 1 over int8 [1, T, 1, C].

    Returns:
        A model with the same input and output, whose one operator is the Edge TPU's.
    """
    model = parse(content)
    (graph,) = model.subgraphs
    (operator,) = graph.operators
    assert builtin_code(model, operator) == schema.BuiltinOperator.CONV_2D
    operator.customOptions = np.frombuffer(_executable(model, operator), np.uint8)
    operator.builtinOptions, operator.builtinOptionsType = None, schema.BuiltinOptions.NONE
    # The weights are in the operator's data; the compiler drops signatures too.
    graph.tensors = [graph.tensors[index] for index in (*graph.inputs, *graph.outputs)]
    operator.inputs, operator.outputs = graph.inputs, graph.outputs = [0], [1]
    for tensor in graph.tensors:
        tensor.buffer = 0
    model.buffers, model.signatureDefs = [schema.BufferT()], []
    model.metadata, model.metadataBuffer = [], []
    custom = schema.BuiltinOperator.CUSTOM
    model.operatorCodes = [schema.OperatorCodeT(builtinCode=custom, customCode=OPERATOR)]
    model.operatorCodes[0].deprecatedBuiltinCode = custom
    return pack(model)


def forge_file(path: Path) -> Path:
    """Compile a product's file as `forge` does, into the file that the compiler would write."""
    made = path.with_name(f"{path.stem}_edgetpu.tflite")
    made.write_bytes(forge(path.read_bytes()))
    return made


def _executable(model: Any, operator: Any) -> bytes:
    tensors = model.subgraphs[0].tensors
    given, weight, bias = (tensors[index] for index in operator.inputs)
    made = tensors[operator.outputs[0]]
    outputs, height, width, inputs = map(int, weight.shape)
    assert height == width == 1
    assert not operator.builtinOptions.fusedActivationFunction
    scales = np.broadcast_to(np.asarray(weight.quantization.scale, np.float32), outputs)
    (given_scale, given_zero), (made_scale, made_zero) = map(_quantization, (given, made))
    shape = int(given.shape[1]), inputs, outputs
    head = struct.pack(
        "<8s5i2f", b"FORGED 1", *shape, given_zero, made_zero, given_scale, made_scale
    )
    constants = (bytes(tensor_bytes(model, one)) for one in (bias, weight))
    return head + scales.tobytes() + b"".join(constants)


def _quantization(tensor: Any) -> tuple[float, int]:
    points = tensor.quantization.zeroPoint
    return float(tensor.quantization.scale[0]), 0 if points is None else int(points[0])
