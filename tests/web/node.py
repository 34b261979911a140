"""Calls the package for web pages from a test: one process of Node.js for many calls.

    with open_node() as node:
        handle = node.call("openFile", path=str(file))["handle"]
        node.call("describe", handle=handle)

`bench.mjs` has the functions, and answers lines of JSON.  While it answers it may ask in turn for
the outputs of a model, which a function of the test returns.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rigs.node import NODE

WEB = Path(__file__).parents[2] / "web"
Run = Callable[[dict[str, Any]], dict[str, Any]]


class WebError(Exception):
    """An AlbertEdgeError of the package.

    Attributes:
        kind: `file`, `input` or `device`.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def open_node() -> Node:
    """Start a process; skip the test where the rig is missing."""
    bench = Path(__file__).with_name("bench.mjs")
    return Node([str(NODE.require() / "node"), str(bench)])


class Node:
    """A process that answers lines of JSON."""

    def __init__(self, command: list[str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            encoding="utf-8",
        )

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, function: str, run: Run | None = None, **arguments: Any) -> Any:
        """Call a function; return what it returns.

        Args:
            function: Its name.
            run: Returns the outputs of a model, for functions that run one.
            arguments: Its arguments.

        Raises:
            WebError: It threw an AlbertEdgeError.
            RuntimeError: It threw anything else, or the process ended.
        """
        self._write({"call": function, "arguments": arguments})
        while "run" in (answer := self._read()):
            assert run is not None
            self._write(run(answer["run"]))
        if "error" in answer:
            raise WebError(answer["error"]["kind"], answer["error"]["message"])
        if "exception" in answer:
            raise RuntimeError(answer["exception"])
        return answer["result"]

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{json.dumps(message)}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            log = self._log.read().decode(errors="replace")
            raise RuntimeError(f"Node.js ended ({self._process.wait()}):\n{log[-3000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()
        self._log.close()
