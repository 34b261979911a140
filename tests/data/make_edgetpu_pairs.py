"""Write edgetpu_pairs.json: what the Edge TPU's compiler mapped of public models.

    python tests/data/make_edgetpu_pairs.py CLONE...

CLONE is a clone of google-coral/test_data, edgetpu, coralmicro, project-bodypix or project-posenet.
Where a folder has X.tflite and X_edgetpu.tflite, an operator of the first was left to the CPU if
the second has one of the same name with the same outputs.  Kept are shapes, types, constants of
shapes and axes, and options that a rule reads: facts about the models, not the models.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from albert_edge.tflite.gpu_rules import GraphView, Operator, Value
from albert_edge.tflite.graph import parse, tensor_bytes

OPTIONS = ("axis", "fusedActivationFunction", "dilationWFactor", "dilationHFactor")
OPTIONS += ("weightsFormat", "ellipsisMask", "newAxisMask")
LONGEST = 8  # of the constants that are kept


def main(folders: list[str]) -> None:
    """Read the pairs of each clone, each model once."""
    found: dict[str, dict[str, Any]] = {}
    for folder in map(Path, folders):
        for compiled in sorted(folder.rglob("*_edgetpu.tflite")):
            path = compiled.with_name(compiled.name.replace("_edgetpu.tflite", ".tflite"))
            if path.exists():
                facts = compare(view(path), view(compiled))
                name = f"google-coral/{folder.name}/{path.relative_to(folder)}"
                found.setdefault(json.dumps(facts), {"model": name, **facts})
    rows = (json.dumps(one, separators=(",", ":")) for one in found.values())
    Path(__file__).with_suffix("").with_name("edgetpu_pairs.json").write_text(
        "[\n" + ",\n".join(rows) + "\n]\n"
    )


def view(path: Path) -> GraphView:
    """Return the main graph of a file."""
    return GraphView(parse(path.read_bytes()), 0)


def compare(graph: GraphView, compiled: GraphView) -> dict[str, Any]:
    """Return a graph's tensors as numbers of kinds, and its operators.

    An operator is its name, version, options, inputs, outputs, and whether it was mapped.
    """
    left = {(one.name, *(value.name for value in one.outputs)) for one in compiled.operators}
    kinds: dict[str, int] = {}
    tensors = [
        kinds.setdefault(json.dumps(describe(Value(graph, index))), len(kinds))
        for index in range(len(graph.subgraph.tensors))
    ]
    operators = [
        [
            *(one.name, one.version, options(one)),
            [value.index for value in one.inputs],
            [value.index for value in one.outputs],
            (one.name, *(value.name for value in one.outputs)) not in left,
        ]
        for one in graph.operators
    ]
    return {"kinds": list(map(json.loads, kinds)), "tensors": tensors, "operators": operators}


def describe(value: Value) -> list[Any]:
    """Return a tensor's type and shape, and of a constant its values if they may matter."""
    facts: list[Any] = [value.kind, list(value.shape)]
    if value.constant:
        small = value.kind == "int32" and math.prod(value.shape) <= LONGEST
        data = np.frombuffer(tensor_bytes(value.graph.model, value.tensor), np.uint8)
        facts.append(data.view(np.int32).tolist() if small else True)
    return facts


def options(one: Operator) -> dict[str, int]:
    """Return the options that differ from their default."""
    found = {name: one.option(name) for name in OPTIONS}
    usual = {"dilationWFactor": 1, "dilationHFactor": 1}
    return {k: int(n) for k, n in found.items() if n is not None and int(n) != usual.get(k, 0)}


if __name__ == "__main__":
    main(sys.argv[1:])
