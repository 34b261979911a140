"""Calls the package for web pages from a test: one process of Node.js for many calls.

    with open_node() as node:
        handle = node.call("openFile", path=str(file))["handle"]
        node.call("describe", handle=handle)

`bench.mjs` has the functions, and answers lines of JSON.  While it answers it may ask in turn for
the outputs of a model, which a function of the test returns.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np

from bench_process import BenchProcess
from pipelines.ports import Input, place
from rigs.node import NODE

WEB = Path(__file__).parents[2] / "web"


def open_node() -> BenchProcess:
    """Start a process; skip the test where the rig is missing."""
    bench = Path(__file__).with_name("bench.mjs")
    return BenchProcess([str(NODE.require() / "node"), str(bench)])


def arguments(given: Input, options: dict[str, Any]) -> list[Any]:
    """Return the arguments in JavaScript: the text, and options."""
    given = dict(given)
    if "question" in given:
        return [given | options]
    text = given.pop("sentences", None) or given.pop("text")
    return [text, given | options]


def moved(result: Any, given: Input) -> Any:
    """Convert the places in a result of Python to UTF-16."""
    if isinstance(result, list):
        return [moved(one, given) for one in result]
    if not isinstance(result, dict):
        return result
    text = given.get("context") or given.get("text") or " ".join(given.get("sentences", ()))
    if result.get("in_pair"):
        text = given["pair"]
    found = place(text, result) if "start" in result else result
    return {name: moved(one, given) for name, one in found.items()}


def decoded(value: Any) -> Any:
    """Decode the vectors of a result, as arrays."""
    if isinstance(value, dict):
        if value.keys() == {"float32"}:
            return np.frombuffer(base64.b64decode(value["float32"]), np.float32)
        return {name: decoded(one) for name, one in value.items()}
    if isinstance(value, list):
        found = [decoded(one) for one in value]
        return np.stack(found) if found and isinstance(found[0], np.ndarray) else found
    return value
