"""The engine that measurements are taken with: our own runtime, imported whole."""

from __future__ import annotations

from typing import Any

from albert_edge.bundle.archive import locate
from albert_edge.bundle.bundle import read
from albert_edge.runtime import Model, open_model
from albert_edge.runtime.interpreter import open_interpreter, runtime_name
from albert_edge.runtime.model import interpreter_forward

__all__ = ["describe_delegate", "open_model", "open_reference"]


# The runtime looks for LiteRT when it opens the first model.  Look now: the library's code belongs
# to the empty process, and the time it takes to the import.
runtime_name()


def open_reference(path: str, *, threads: int = 1) -> Model:
    """Open a file in the runtime's own kernels, without XNNPACK or any other delegate.

    Raises:
        BundleError: The file is missing, damaged, foreign or newer than this version.
    """
    bundle = read(path)
    interpreter = open_interpreter(locate(path), threads=threads, delegated=False)
    return Model(bundle, interpreter_forward(bundle, interpreter), runtime_name())


def describe_delegate(path: str, *, threads: int) -> dict[str, Any]:
    """Tell which delegate takes operators of a file on the CPU, and how many.

    Returns:
        `delegate`, "XNNPACK" or None; `operators` and `operators_delegated`, of the whole graph.
        Those two are None where the runtime does not tell: it lists the main graph only, not the
        body of a loop or another signature's graph.
    """
    interpreter = open_interpreter(locate(path), threads=threads)
    interpreter.allocate_tensors()  # now the delegate takes its operators
    nodes = interpreter._get_ops_details()
    own = [node for node in nodes if node["op_name"] != "DELEGATE"]
    delegates = [node for node in nodes if node["op_name"] == "DELEGATE"]
    name = "XNNPACK" if delegates else None
    if len(interpreter.get_signature_list()) > 1 or any(one["op_name"] == "WHILE" for one in own):
        return {"delegate": name, "operators": None, "operators_delegated": None}
    taken = sum(_count_taken(one, own) for one in delegates)
    return {"delegate": name, "operators": len(own), "operators_delegated": taken}


def _count_taken(delegate: dict[str, Any], nodes: list[dict[str, Any]]) -> int:
    # The runtime keeps the nodes that a delegate replaced: those between its outputs and inputs.
    maker = {int(tensor): node for node in nodes for tensor in node["outputs"]}
    found = {int(tensor) for tensor in delegate["inputs"]}
    taken, wanted = set(), [int(tensor) for tensor in delegate["outputs"]]
    while wanted:
        tensor = wanted.pop()
        if tensor not in found and tensor in maker:
            taken.add(maker[tensor]["index"])
            wanted += [int(one) for one in maker[tensor]["inputs"]]
        found.add(tensor)
    return len(taken)
