"""Calls the package for web pages from a test: one process of Node.js for many calls.

    with open_node() as node:
        handle = node.call("openFile", path=str(file))["handle"]
        node.call("describe", handle=handle)

`bench.mjs` has the functions, and answers lines of JSON.  While it answers it may ask in turn for
the outputs of a model, which a function of the test returns.
"""

from __future__ import annotations

from pathlib import Path

from bench_process import BenchProcess
from rigs.node import NODE

WEB = Path(__file__).parents[2] / "web"


def open_node() -> BenchProcess:
    """Start a process; skip the test where the rig is missing."""
    bench = Path(__file__).with_name("bench.mjs")
    return BenchProcess([str(NODE.require() / "node"), str(bench)])
