"""The default engine of measurements: the project's own runtime.

An engine is a module with a function that opens a model; the worker imports it by name.
"""

from __future__ import annotations

import hashlib  # noqa: F401 (see `runtime_name` below: opening a file imports it and its library)
from typing import Any

import albert_edge.bundle.graph_check  # noqa: F401 (the same)
from albert_edge.bundle import OpenFile, read_checked
from albert_edge.runtime import (
    Model,
    describe_products,
    interpreter_forward,
    open_interpreter,
    open_products,
    runtime_name,
)
from albert_edge.runtime import open_model as open_model  # the engine's function, called by name

# The runtime imports LiteRT when it opens the first model.  Import it now: the library's code
# belongs to the empty process, and its import time to `import_ms`.
runtime_name()


def open_reference(path: str, *, threads: int = 1) -> Model:
    """Open a file with the runtime's own kernels, without XNNPACK or any other delegate.

    Raises:
        BundleError: The file is missing, damaged, not one of ours, or newer than this version.
    """
    file = OpenFile(path)
    bundle = read_checked(file)
    products = None
    if bundle.products:
        products = open_products(file, bundle, threads=threads, delegated=False)
    interpreter = open_interpreter(file.place(), threads=threads, delegated=False, where=file.where)
    forward = interpreter_forward(bundle, interpreter, products)
    return Model(bundle, forward, runtime_name(), file=file, products=products)


def open_on_edgetpu(path: str, *, threads: int = 1, accelerator: str) -> Model:
    """Open a folder of the target `edgetpu` with its products on an Edge TPU, in this process.

    Its library may end the process: the products were tried before; see `composed.check_compiled`.

    Raises:
        BundleError: A file is missing, damaged, not one of ours, or newer than this version.
        DeviceError: There is no Edge TPU, or it does not run the products.
    """
    file = OpenFile(path)
    bundle = read_checked(file)
    products = open_products(file, bundle, accelerator=accelerator, threads=threads, check=False)
    interpreter = open_interpreter(file.place(), threads=threads, where=file.where)
    forward = interpreter_forward(bundle, interpreter, products)
    share = describe_products(file, bundle, products, threads=threads, check=False)
    name = runtime_name()
    return Model(bundle, forward, name, file=file, acceleration=share, products=products)


def open_float_reference(path: str, *, threads: int = 1) -> Model:
    """Open a file as `open_reference` does, with the weights of its products as floats.

    That is what a GPU computes with int8 weights.

    Raises:
        BundleError: The file is missing, damaged, not one of ours, or newer than this version.
    """
    from albert_edge.runtime.compiled_model import reference_forward

    file = OpenFile(path)
    bundle = read_checked(file)
    forward = reference_forward(file, bundle, threads=threads)
    return Model(bundle, forward, runtime_name(), file=file)


def describe_delegate(path: str, *, threads: int) -> dict[str, Any]:
    """Report which delegate runs operators of a file on the CPU, and how many.

    Returns:
        `delegate`, "XNNPACK" or None; `operators` and `operators_delegated`, of the whole graph.
        Those two are None for a file with a loop or several signatures: the runtime lists only the
        operators of the main graph.
    """
    file = OpenFile(path)
    read_checked(file)
    interpreter = open_interpreter(file.place(), threads=threads, where=file.where)
    interpreter.allocate_tensors()  # applies the delegate
    # Private, but the runtime has no public method that lists the operators.
    nodes = interpreter._get_ops_details()
    own = [node for node in nodes if node["op_name"] != "DELEGATE"]
    delegates = [node for node in nodes if node["op_name"] == "DELEGATE"]
    name = "XNNPACK" if delegates else None
    has_loop = any(node["op_name"] == "WHILE" for node in own)
    if has_loop or len(interpreter.get_signature_list()) > 1:
        return {"delegate": name, "operators": None, "operators_delegated": None}
    delegated = sum(_count_replaced(delegate, own) for delegate in delegates)
    return {"delegate": name, "operators": len(own), "operators_delegated": delegated}


def _count_replaced(delegate: dict[str, Any], nodes: list[dict[str, Any]]) -> int:
    # The runtime keeps the nodes that a delegate replaced: those between its outputs and inputs.
    producer = {int(tensor): node for node in nodes for tensor in node["outputs"]}
    visited = {int(tensor) for tensor in delegate["inputs"]}
    replaced, pending = set(), [int(tensor) for tensor in delegate["outputs"]]
    while pending:
        tensor = pending.pop()
        if tensor not in visited and tensor in producer:
            replaced.add(producer[tensor]["index"])
            pending += [int(source) for source in producer[tensor]["inputs"]]
        visited.add(tensor)
    return len(replaced)
