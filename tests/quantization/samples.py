"""Ids to run and to calibrate on, and the hidden states of a linked model."""

from __future__ import annotations

import numpy as np

from albert_edge.runtime.interpreter import open_interpreter
from albert_edge.tflite.graph import OPERATOR_NAMES, builtin_code, pack, parse, schema

IDS = [2, 17, 33, 5, 59, 8, 3]


ROWS = [{"input_ids": IDS, "token_type_ids": [0] * 7}]


# Shapes that a block of 64 or 32 divides, as real ones are.
WIDE = {
    "hidden_size": 128,
    "intermediate_size": 128,
    "embedding_size": 64,
    "initializer_range": 0.1,
}


def last_hidden(linked, **ids):
    """Run a linked model: float32 [1, T, H]."""
    rows = {"input_ids": IDS, **ids}
    rows["token_type_ids"] = [0] * len(rows["input_ids"])
    runner = open_interpreter(pack(linked.model), threads=1).get_signature_runner()
    inputs = {name: np.array([values], np.int32) for name, values in rows.items()}
    return runner(**inputs)["last_hidden_state"]


FLOAT32 = schema.TensorType.FLOAT32


def float_operators(blob):
    """Name the operators that touch a float, but for those that make the outputs."""
    model = parse(blob)
    found = []
    for graph in model.subgraphs:
        results = {int(index) for index in graph.outputs}
        for operator in graph.operators:
            touched = [int(i) for i in (*operator.inputs, *operator.outputs) if i >= 0]
            floats = {i for i in touched if graph.tensors[i].type == FLOAT32}
            last = builtin_code(model, operator) == schema.BuiltinOperator.DEQUANTIZE
            if floats and not (last and floats <= results):
                found.append(OPERATOR_NAMES[builtin_code(model, operator)])
    return found
