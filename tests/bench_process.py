"""A process in another language that a test calls: it answers lines of JSON.

While it answers it may ask in turn for the outputs of a model, which a function of the test
returns.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Run = Callable[[dict[str, Any]], dict[str, Any]]


class BenchError(Exception):
    """An error of the library that was called.

    Attributes:
        kind: What was wrong: the file, the input or the device, as the library calls it.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class BenchProcess:
    """A process that answers lines of JSON."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            encoding="utf-8",
        )

    def __enter__(self) -> BenchProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, function: str, run: Run | None = None, **arguments: Any) -> Any:
        """Call a function; return what it returns.

        Args:
            function: Its name.
            run: Returns the outputs of a model, for functions that ask for them.
            arguments: Its arguments.

        Raises:
            BenchError: It threw the library's own error.
            RuntimeError: It threw anything else, or the process ended.
        """
        self._write({"call": function, "arguments": arguments})
        while "run" in (answer := self._read()):
            assert run is not None
            self._write(run(answer["run"]))
        if "error" in answer:
            raise BenchError(answer["error"]["kind"], answer["error"]["message"])
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
            ending = self._process.wait()
            raise RuntimeError(f"the process ended ({ending}):\n{self.log()[-3000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def log(self) -> str:
        """Return what the process and its libraries printed."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:  # a library's teardown may hang
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()
