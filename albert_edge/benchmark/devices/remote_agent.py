"""The agent on a remote device: it stores files in a temporary folder and runs workers there.

The host sends the source of this module to the device's Python before the package is there, so it
uses only the standard library.  It serves requests from standard input until that ends, when the
host disconnects or the connection breaks; then it kills the worker and removes the folder.

A request is a line of JSON, followed by `size` bytes if it has a `size`.  A reply is a line
`albert_edge N` and N bytes of JSON; other lines, such as a login banner, are not replies.
"""

from __future__ import annotations

import compileall
import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# The packages that the worker needs, and the modules of which one must exist.
REQUIRED_PACKAGES = {
    "ai-edge-litert": ("ai_edge_litert", "tflite_runtime"),
    "numpy": ("numpy",),
    "sentencepiece": ("sentencepiece",),
}
# The working directory is not searched for modules (as with -P, which Python 3.10 lacks), and the
# package of the given folder is imported even where another version is installed.
_START_WORKER = """
import sys
sys.path[:] = [*filter(None, sys.path), *sys.argv[3:]]
from importlib import machinery, util
spec = machinery.PathFinder.find_spec("albert_edge", [sys.argv[2]])
sys.modules["albert_edge"] = package = util.module_from_spec(spec)
spec.loader.exec_module(package)
from albert_edge.benchmark.worker import main
main(int(sys.argv[1]))
"""
_CHUNK_BYTES = 1 << 20


def worker_command(python: str, folder: str, *search: str) -> list[str]:
    """Return the command that starts a worker, which ends when this process does.

    Args:
        python: The Python that runs it.
        folder: The folder that contains the `albert_edge` to run.
        search: Folders to search for other modules after those of `python`.
    """
    return [python, "-c", _START_WORKER, str(os.getpid()), folder, *search]


class RemoteAgent:
    """A folder on the device, and the worker that runs in it.

    Attributes:
        folder: The folder, which only this user can read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._worker: subprocess.Popen[bytes] | None = None
        self._waiter: threading.Thread | None = None

    def put(self, name: str, size: int) -> dict[str, Any]:
        """Write the bytes that follow the request to a new file."""
        path, digest, chunks = self.folder / name, hashlib.sha256(), _read_chunks(size)
        try:
            if path.parent != self.folder:
                path.parent.mkdir(exist_ok=True)
            with path.open("xb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            for _ in chunks:  # the rest must not be read as a request
                pass
        return {"path": str(path), "sha256": digest.hexdigest()}

    def unpack(self, name: str) -> dict[str, Any]:
        """Unpack a zip file and compile its modules, which must not count as import time."""
        with zipfile.ZipFile(self.folder / name) as archive:
            archive.extractall(self.folder / "package")
        (self.folder / name).unlink()
        if not compileall.compile_dir(self.folder / "package", quiet=2):
            raise OSError("the package cannot be compiled")
        return {}

    def run(self, job: dict[str, Any], timeout_s: float) -> None:
        """Start a worker; the reply follows when it ends."""
        self._worker = subprocess.Popen(  # noqa: S603 (our own interpreter and module, and no shell)
            worker_command(sys.executable, str(self.folder / "package")),
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        arguments = self._worker, json.dumps(job).encode(), timeout_s
        self._waiter = threading.Thread(target=_await_worker, args=arguments)
        self._waiter.start()

    def stop(self) -> None:
        """Kill the worker, if one runs, and remove the folder."""
        if self._worker is not None and self._waiter is not None:
            self._worker.kill()
            self._waiter.join()
        shutil.rmtree(self.folder, ignore_errors=True)


def main() -> None:
    """Report the folder or what is missing, then serve requests until standard input ends."""
    python = {"python": sys.version.split()[0]}
    if missing := [name for name in REQUIRED_PACKAGES if not _is_installed(name)]:
        return _reply({**python, "missing": missing})
    for number in (signal.SIGHUP, signal.SIGTERM):  # the session may end with these
        signal.signal(number, lambda *_: sys.exit(1))
    try:
        agent = RemoteAgent(Path(tempfile.mkdtemp(prefix="albert_edge.")))
    except OSError as error:
        return _reply({**python, "error": str(error)})
    try:
        _reply({**python, "folder": str(agent.folder)})
        with contextlib.suppress(EOFError):  # in the middle of a file
            while line := sys.stdin.buffer.readline():
                _serve(agent, json.loads(line))
    finally:
        for number in (signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        agent.stop()


def _serve(agent: RemoteAgent, request: dict[str, Any]) -> None:
    handlers: dict[str, Callable[..., dict[str, Any] | None]]
    handlers = {"put": agent.put, "unpack": agent.unpack, "run": agent.run}
    try:
        reply = handlers[request.pop("do")](**request)
    except OSError as error:
        free_bytes = shutil.disk_usage(agent.folder).free
        reply = {"error": error.strerror or str(error), "free_bytes": free_bytes}
    if reply is not None:
        _reply(reply)


def _await_worker(worker: subprocess.Popen[bytes], job: bytes, timeout_s: float) -> None:
    try:
        stdout, stderr = worker.communicate(job, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.communicate()
        return _reply({"timeout": True})
    streams = {"stdout": stdout, "stderr": stderr}
    texts = {name: blob.decode("utf-8", "replace") for name, blob in streams.items()}
    return _reply({**texts, "returncode": worker.returncode})


def _read_chunks(size: int) -> Iterator[bytes]:
    while size:
        chunk = sys.stdin.buffer.read(min(size, _CHUNK_BYTES))
        if not chunk:
            raise EOFError
        size -= len(chunk)
        yield chunk


def _reply(reply: dict[str, Any]) -> None:
    blob = json.dumps(reply).encode()
    with contextlib.suppress(OSError):  # the host is gone; standard input will end too
        # Begin a new line: a login banner may lack the final line end.
        sys.stdout.buffer.write(b"\nalbert_edge %d\n%b" % (len(blob), blob))
        sys.stdout.buffer.flush()


def _is_installed(package: str) -> bool:
    return any(importlib.util.find_spec(module) for module in REQUIRED_PACKAGES[package])


if __name__ == "__main__":
    main()
