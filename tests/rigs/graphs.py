"""Small graphs of float32 operators, made without a converter: it would rewrite what they test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_KINDS = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
}


@dataclass
class Graph:
    """A graph that grows by an operator a call, from inputs `name: array of their shape`.

    >>> graph = Graph()
    >>> x = graph.input("x", (1, 4))
    >>> file = graph.file({"y": graph.add("ADD", [x, np.float32([[1.0]])], (1, 4))})
    """

    _tensors: list[Any] = field(default_factory=list)
    _buffers: list[Any] = field(default_factory=lambda: [schema.BufferT()])
    _codes: list[str] = field(default_factory=list)
    _operators: list[Any] = field(default_factory=list)
    _inputs: dict[str, int] = field(default_factory=dict)

    def input(self, name: str, shape: Sequence[int], dtype: Any = np.float32) -> int:
        """Add an input and return its tensor; a free dimension is -1."""
        self._inputs[name] = self._tensor(name, shape, np.dtype(dtype), buffer=0)
        return self._inputs[name]

    def add(
        self,
        operator: str,
        inputs: Sequence[int | np.ndarray],
        shape: Sequence[int],
        options: Any = None,
    ) -> int:
        """Add an operator and return its output, float32 of `shape`. Arrays become constants."""
        if operator not in self._codes:
            self._codes.append(operator)
        output = self._tensor(f"{operator}_{len(self._operators)}", shape, np.dtype("f4"), buffer=0)
        self._operators.append(
            schema.OperatorT(
                opcodeIndex=self._codes.index(operator),
                inputs=[i if isinstance(i, int) else self._constant(i) for i in inputs],
                outputs=[output],
                builtinOptionsType=_options_type(options),
                builtinOptions=options,
            )
        )
        return output

    def file(self, outputs: Mapping[str, int]) -> bytes:
        """Return the `.tflite` file, with one signature `serving_default`."""
        main = schema.SubGraphT(
            tensors=self._tensors,
            inputs=list(self._inputs.values()),
            outputs=list(outputs.values()),
            operators=self._operators,
        )
        signature = schema.SignatureDefT(
            signatureKey="serving_default",
            inputs=_names(self._inputs),
            outputs=_names(outputs),
            subgraphIndex=0,
        )
        model = schema.ModelT(
            version=3,
            operatorCodes=[_code(name) for name in self._codes],
            subgraphs=[main],
            buffers=self._buffers,
            signatureDefs=[signature],
        )
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _tensor(self, name: str, shape: Sequence[int], dtype: np.dtype, *, buffer: int) -> int:
        kind = _KINDS[dtype]
        tensor = schema.TensorT(name=name, shape=list(shape), type=kind, buffer=buffer)
        if -1 in shape:
            tensor.shape, tensor.shapeSignature = [max(size, 1) for size in shape], list(shape)
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _constant(self, value: np.ndarray) -> int:
        data = np.frombuffer(value.tobytes(), np.uint8)
        self._buffers.append(schema.BufferT(data=data))
        name = f"constant_{len(self._buffers)}"
        return self._tensor(name, value.shape, value.dtype, buffer=len(self._buffers) - 1)


def _options_type(options: Any) -> int:
    name = type(options).__name__.removesuffix("T")
    return getattr(schema.BuiltinOptions, name) if options is not None else 0


def _code(name: str) -> Any:
    code = getattr(schema.BuiltinOperator, name)
    return schema.OperatorCodeT(deprecatedBuiltinCode=min(code, 127), builtinCode=code, version=1)


def _names(tensors: Mapping[str, int]) -> list[Any]:
    return [schema.TensorMapT(name=name, tensorIndex=index) for name, index in tensors.items()]
