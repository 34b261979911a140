"""What runs on a device while it is measured there: it keeps a folder, and starts workers in it.

Its source is run by the Python that is found there, before this package is, so it uses nothing but
the standard library.  It does what it is told on standard input until that ends, and then removes
the folder and ends the worker: when we hang up, and also when the connection breaks.

A request is a line of JSON, with `size` bytes behind it if it has a `size`.  An answer is a line
`albert_edge N` and N bytes of JSON; other lines, such as a greeting, are not ours.
"""

from __future__ import annotations

import compileall
import contextlib
import hashlib
import importlib.util
import json
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

__all__ = ["NEEDED", "RemoteAgent", "main"]

# What the worker imports: a package, and the modules of which it must find one.
NEEDED = {
    "ai-edge-litert": ("ai_edge_litert", "tflite_runtime"),
    "numpy": ("numpy",),
    "sentencepiece": ("sentencepiece",),
}
_WORKER = (sys.executable, "-m", "albert_edge.benchmark.worker")
_CHUNK_BYTES = 1 << 20


class RemoteAgent:
    """A folder, and the worker that runs in it.

    Attributes:
        folder: The folder, which only this user can look into.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._worker: subprocess.Popen[bytes] | None = None
        self._watch: threading.Thread | None = None

    def put(self, name: str, size: int) -> dict[str, Any]:
        """Write the bytes that follow to a new file."""
        path, digest, chunks = self.folder / name, hashlib.sha256(), _read_chunks(size)
        try:
            with path.open("xb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            for _ in chunks:  # what is left must not be taken for a request
                pass
        return {"path": str(path), "sha256": digest.hexdigest()}

    def unpack(self, name: str) -> dict[str, Any]:
        """Unpack a zip file, and compile what is in it: that must not count as importing."""
        with zipfile.ZipFile(self.folder / name) as parcel:
            parcel.extractall(self.folder / "package")
        (self.folder / name).unlink()
        if not compileall.compile_dir(self.folder / "package", quiet=2):
            raise OSError("the package cannot be compiled")
        return {}

    def run(self, job: dict[str, Any], timeout_s: float) -> None:
        """Start a worker; its answer comes when it ends."""
        self._worker = subprocess.Popen(  # noqa: S603 (our own interpreter and module, and no shell)
            _WORKER,
            cwd=self.folder / "package",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        arguments = self._worker, json.dumps(job).encode(), timeout_s
        self._watch = threading.Thread(target=_await_worker, args=arguments)
        self._watch.start()

    def stop(self) -> None:
        """End the worker, if one runs, and remove the folder."""
        if self._worker is not None and self._watch is not None:
            self._worker.kill()
            self._watch.join()
        shutil.rmtree(self.folder, ignore_errors=True)


def main() -> None:
    """Say what there is, then do what is asked for until standard input ends."""
    python = {"python": sys.version.split()[0]}
    if missing := [name for name, modules in NEEDED.items() if not any(map(_exists, modules))]:
        return _say({**python, "missing": missing})
    for number in (signal.SIGHUP, signal.SIGTERM):  # the end of the session may come with these
        signal.signal(number, lambda *_: sys.exit(1))
    try:
        keeper = RemoteAgent(Path(tempfile.mkdtemp(prefix="albert_edge.")))
    except OSError as error:
        return _say({**python, "error": str(error)})
    try:
        _say({**python, "folder": str(keeper.folder)})
        with contextlib.suppress(EOFError):  # in the middle of a file
            while line := sys.stdin.buffer.readline():
                _do(keeper, json.loads(line))
    finally:
        for number in (signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        keeper.stop()


def _do(keeper: RemoteAgent, request: dict[str, Any]) -> None:
    acts: dict[str, Callable[..., dict[str, Any] | None]]
    acts = {"put": keeper.put, "unpack": keeper.unpack, "run": keeper.run}
    try:
        answer = acts[request.pop("do")](**request)
    except OSError as error:
        free_bytes = shutil.disk_usage(keeper.folder).free
        answer = {"error": error.strerror or str(error), "free_bytes": free_bytes}
    if answer is not None:
        _say(answer)


def _await_worker(worker: subprocess.Popen[bytes], job: bytes, timeout_s: float) -> None:
    try:
        stdout, stderr = worker.communicate(job, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.communicate()
        return _say({"timeout": True})
    written = {"stdout": stdout, "stderr": stderr}
    texts = {name: blob.decode("utf-8", "replace") for name, blob in written.items()}
    return _say({**texts, "returncode": worker.returncode})


def _read_chunks(size: int) -> Iterator[bytes]:
    while size:
        chunk = sys.stdin.buffer.read(min(size, _CHUNK_BYTES))
        if not chunk:
            raise EOFError
        size -= len(chunk)
        yield chunk


def _say(answer: dict[str, Any]) -> None:
    blob = json.dumps(answer).encode()
    with contextlib.suppress(OSError):  # nobody listens any more; standard input will tell
        # After a line end: what came before may be a greeting without one.
        sys.stdout.buffer.write(b"\nalbert_edge %d\n%b" % (len(blob), blob))
        sys.stdout.buffer.flush()


def _exists(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


if __name__ == "__main__":
    main()
