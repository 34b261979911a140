"""Damage models without a manifest, and run them unchecked in a child process each.

A worker imports NumPy and the runtime once, opens no model itself, and forks for each case.  What
runs in the fork is what `--isolated` starts, from its limits on; so a case takes milliseconds
instead of the second that a new Python takes.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from pathlib import Path
from time import monotonic, sleep
from typing import IO, NamedTuple
from unittest import mock

from . import tflite

KINDS = ("value", "words", "field", "value", "array", "graph", "bits", "bytes", "cut", "swap")
LIMIT_S = 30.0
MEMORY_BYTES = 16 << 30  # more than the limit that each child sets for itself
_CHILD_LIMIT_S = 8.0
_IDS, _TYPES = [2, 9, 11, 7, 3], [0, 0, 0, 0, 0]


class Seed(NamedTuple):
    """A valid model without manifest; the fields are those of `tflite.Seed`."""

    content: bytes
    result: str
    places: dict[str, list[tuple[int, int]]]
    parsed: bytes


def prepare(folder: Path) -> None:
    """Write the models of the kept files that take no more than token ids."""
    from albert_edge.errors import InputError

    tflite.prepare(folder)
    for path in folder.glob("*.tflite"):
        path.write_bytes(tflite.split_file(path.read_bytes())[0])
        try:
            _result(path)  # in a process of its own, as users start it
        except InputError:
            path.unlink()


def load(folder: Path) -> list[Seed]:
    import ai_edge_litert.interpreter  # noqa: F401 (so that no child has to)

    found = []
    for path in sorted(folder.glob("*.tflite")):
        content = path.read_bytes()
        found.append(Seed(content, _forked_result(path), *tflite.parse_model(content)))
    return found


def mutate(kind: str, rng: random.Random, seeds: list[Seed]) -> tflite.Case:
    index = rng.randrange(len(seeds))
    seed = seeds[index]
    return tflite.Case(index, tflite.change_model(kind, seed.content, seed, rng))


def run(case: tflite.Case, seeds: list[Seed]) -> bool:
    with tempfile.TemporaryDirectory() as at:
        path = Path(at) / "case.tflite"
        path.write_bytes(case.content)
        return _forked_result(path) == seeds[case.seed].result


def _forked_result(path: Path) -> str:
    from albert_edge.runtime import isolated

    with mock.patch.object(isolated, "_start_process", _Fork):
        return _result(path)


def _result(path: Path) -> str:
    from albert_edge.runtime.isolated import run_foreign

    outputs = run_foreign(path, _IDS, _TYPES, check=False, time_limit_s=_CHILD_LIMIT_S)
    return repr(sorted(tflite.plain(outputs).items()))


class _Fork:
    """A fork of this process that runs `isolated.main`: what is used of a `subprocess.Popen`."""

    def __init__(self, descriptor: int | None) -> None:
        assert len(list(Path("/proc/self/task").iterdir())) == 1  # a fork has no other thread
        (requests, to_child), (from_child, replies) = os.pipe(), os.pipe()
        self.returncode: int | None = None
        self._pid = os.fork()
        if not self._pid:
            _serve(requests, replies, unused=(to_child, from_child))
        os.close(requests)
        os.close(replies)
        self.stdin: IO[bytes] = os.fdopen(to_child, "wb")
        self.stdout: IO[bytes] = os.fdopen(from_child, "rb", buffering=0)

    def wait(self, timeout: float | None = None) -> int:
        import subprocess

        deadline = None if timeout is None else monotonic() + timeout
        while self.returncode is None:
            pid, status = os.waitpid(self._pid, 0 if deadline is None else os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
            elif deadline is not None and monotonic() >= deadline:
                raise subprocess.TimeoutExpired("fork", timeout or 0.0)
            else:
                sleep(0.001)
        return self.returncode

    def kill(self) -> None:
        if self.returncode is None:
            os.kill(self._pid, 9)


def _serve(requests: int, replies: int, *, unused: tuple[int, int]) -> None:
    from albert_edge.runtime import isolated

    code = 1
    try:
        for descriptor in unused:
            os.close(descriptor)
        for descriptor, standard in ((requests, 0), (replies, 1)):
            os.dup2(descriptor, standard)
            os.close(descriptor)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.stdin = open(0)  # noqa: SIM115 (without what the worker has read ahead)
        isolated.main()
        code = 0
    finally:
        os._exit(code)
