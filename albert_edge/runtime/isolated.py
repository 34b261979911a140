"""Run a file in a child process, whose crash or hang is an error here.

TFLite runtimes end the process on graphs that they were not tested with, and no check of a foreign
graph can be complete.  The child has the same rights as its parent: this guards against crashes,
endless loops and memory, not against code that means harm.

Parent and child exchange frames: 8 bytes of length, a line of JSON, and the arrays it describes.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from albert_edge import errors
from albert_edge.bundle import OpenFile, check_flatbuffer
from albert_edge.early_exit import EarlyExit
from albert_edge.errors import AlbertEdgeError, BundleError, InputError, describe_exit

__all__ = ["run_foreign"]

Arrays = dict[str, npt.NDArray[Any]]
_START_S = 60.0  # for a child to import the runtime
_MOST_BYTES = 2**30  # of one frame
_MEMORY_BYTES = 8 * 2**30  # of a child, which maps far more than it uses
_TYPES = ("float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
# What reading and running an unchecked graph raises in Python.
_GRAPH_ERRORS = (ValueError, RuntimeError, TypeError, KeyError, IndexError, OSError, MemoryError)


class IsolatedForward:
    """The forward pass of a file that is open in a child process."""

    def __init__(self, file: OpenFile, *, threads: int, time_limit_s: float) -> None:
        """Start the child.

        Raises:
            AlbertEdgeError: The child's own error, of its own class.
            BundleError: The child died or took too long.
        """
        self._child = _Child(file, threads=threads, time_limit_s=time_limit_s, do="open")

    def __call__(self, inputs: Arrays, rule: EarlyExit | None) -> Arrays:
        given = None if rule is None else [rule.patience, rule.threshold, rule.max_layers]
        return self._child.call({"rule": given}, inputs)


def run_foreign(
    source: str | os.PathLike[str] | bytes,
    input_ids: list[int],
    token_type_ids: list[int],
    *,
    threads: int = 1,
    check: bool = True,
    time_limit_s: float = 10.0,
) -> Arrays:
    """Run a TFLite model of any origin on token ids, in a child process.

    Its inputs are recognized by their names: one with "mask" in it gets ones, one with "type" or
    "segment" the types, any other the ids; an input of fixed length is padded with zeros.

    Args:
        source: A path or a file's content.
        input_ids: int [T].
        token_type_ids: int [T].
        threads: How many CPU threads to use.
        check: Whether to check the flatbuffer first; see `bundle.graph_check.check_flatbuffer`.
        time_limit_s: How long loading and running may take, in seconds each.

    Returns:
        The outputs by name.

    Raises:
        BundleError: The file is missing or damaged, or its child process died or took too long.
        InputError: The model takes other inputs, or fewer tokens.
    """
    file = OpenFile(source, has_archive=False)
    if check:
        check_flatbuffer(file.view(), where=file.where)
    child = _Child(file, threads=threads, time_limit_s=time_limit_s, do="open_foreign")
    ids = {"input_ids": input_ids, "token_type_ids": token_type_ids}
    return child.call({}, {name: np.array([row], np.int32) for name, row in ids.items()})


class _Child:
    """A process that has one file open; it ends with the last reference to this object."""

    def __init__(self, file: OpenFile, *, threads: int, time_limit_s: float, do: str) -> None:
        self._where, self._limit_s = file.where, time_limit_s
        descriptor = file.fileno()
        self._process = _start_process(descriptor)
        self._requests: Any = self._process.stdin
        self._replies: Any = self._process.stdout
        weakref.finalize(self, _end, self._process)
        content = file.place() if descriptor is None else b""
        job = {"do": do, "path": None if descriptor is None else str(file.place())}
        self._send({**job, "threads": threads}, {}, bytes(content))
        self._receive(_START_S)
        self._receive(time_limit_s)

    def call(self, header: dict[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        self._send(header, arrays)
        return self._receive(self._limit_s)

    def _send(
        self, header: dict[str, Any], arrays: Mapping[str, npt.NDArray[Any]], content: bytes = b""
    ) -> None:
        if self._requests.closed:
            raise self._died()
        try:
            self._requests.write(_frame(header, arrays, content))
            self._requests.flush()
        except BrokenPipeError:
            raise self._died() from None

    def _receive(self, limit_s: float) -> Arrays:
        deadline = monotonic() + limit_s
        size = int.from_bytes(self._read(8, deadline, limit_s), "little")
        if size > _MOST_BYTES:
            raise BundleError(
                f"{self._where} returned {size} bytes; at most {_MOST_BYTES} are read."
            )
        try:
            header, arrays, _ = _parse(self._read(size, deadline, limit_s))
            error = header.get("error")
        except (ValueError, TypeError, KeyError, AttributeError) as wrong:
            raise BundleError(f"the process that runs {self._where} wrote nonsense.") from wrong
        if error is not None:
            kind = getattr(errors, str(error), BundleError)
            if not (isinstance(kind, type) and issubclass(kind, AlbertEdgeError)):
                kind = BundleError
            raise kind.__new__(kind, str(header.get("message")))
        return arrays

    def _read(self, size: int, deadline: float, limit_s: float) -> bytes:
        descriptor, parts = self._replies.fileno(), []
        while size:
            left = deadline - monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                _end(self._process)
                raise BundleError(
                    f"{self._where} took over {limit_s:g} s in a process of its own, which was "
                    "ended; it is damaged, or the time limit is too short for it."
                )
            if not (part := os.read(descriptor, min(size, 1 << 20))):
                raise self._died()
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _died(self) -> BundleError:
        _end(self._process, wait_s=5)
        ending = describe_exit(self._process.returncode)
        return BundleError(
            f"{self._where} ended the process that ran it ({ending}): it is damaged, or the "
            "runtime does not support it."
        )


def _start_process(descriptor: int | None) -> subprocess.Popen[bytes]:
    """Start a process that runs `main`, with a file's descriptor."""
    # The child imports this package from where its parent has it, be it a zip file.
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109
    return subprocess.Popen(  # noqa: S603 (our own interpreter and module)
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=() if descriptor is None else (descriptor,),
        env={**os.environ, "PYTHONPATH": path},
    )


def _end(process: subprocess.Popen[bytes], *, wait_s: float = 0) -> None:
    try:
        process.wait(wait_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:  # what was not read of the last request
                continue


def _frame(
    header: dict[str, Any], arrays: Mapping[str, npt.NDArray[Any]], content: bytes = b""
) -> bytes:
    described = {name: [one.dtype.name, one.shape] for name, one in arrays.items()}
    line = json.dumps({**header, "arrays": described}).encode() + b"\n"
    data = b"".join(np.ascontiguousarray(one).tobytes() for one in arrays.values())
    body = line + data + content
    return len(body).to_bytes(8, "little") + body


def _parse(body: bytes) -> tuple[dict[str, Any], Arrays, bytes]:
    line, _, rest = body.partition(b"\n")
    header = json.loads(line)
    arrays: Arrays = {}
    for name, (kind, shape) in header.pop("arrays").items():
        if kind not in _TYPES or not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError(f"{name} is {kind} {shape}")
        dtype, count = np.dtype(kind), 1
        for size in shape:
            count *= size
        if count * dtype.itemsize > len(rest):
            raise ValueError(f"{name} is cut off")
        arrays[name] = np.frombuffer(rest, dtype, count).reshape(shape).copy()
        rest = rest[count * dtype.itemsize :]
    return header, arrays, rest


# The child.


def main() -> None:
    """Open the file of the first frame on standard input, and run it on those that follow."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not stand between the frames
    _limit_resources()
    frames: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read_frames, args=(frames,), daemon=True).start()
    header, _, content = _parse(frames.get())

    def reply(header: dict[str, Any], arrays: Arrays) -> None:
        replies.write(_frame(header, arrays))
        replies.flush()

    from albert_edge.runtime.interpreter import runtime_name

    try:
        runtime_name()
        reply({}, {})
        source = content if header["path"] is None else Path(header["path"])
        run = _OPENERS[header["do"]](source, header["threads"])
        reply({}, {})
        while True:
            header, arrays, _ = _parse(frames.get())
            reply({}, run(header, arrays))
    except AlbertEdgeError as error:
        reply({"error": type(error).__name__, "message": str(error)}, {})
    except _GRAPH_ERRORS as error:
        reply({"error": "DeviceError", "message": f"the runtime failed: {error}"}, {})


def _limit_resources() -> None:
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return
    for limit, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, _MEMORY_BYTES)):
        _, hard = resource.getrlimit(limit)
        if hard == resource.RLIM_INFINITY or most < hard:
            resource.setrlimit(limit, (most, hard))


def _read_frames(frames: SimpleQueue[bytes]) -> None:
    """Read ahead, so that the process ends with its parent also while a graph runs."""
    source = sys.stdin.buffer
    while head := source.read(8):
        frames.put(source.read(int.from_bytes(head, "little")))
    os._exit(0)


def _open(source: Path | bytes, threads: int) -> Any:
    from albert_edge.runtime.model import open_forward

    forward = open_forward(source, threads=threads)

    def run(header: dict[str, Any], arrays: Arrays) -> Arrays:
        rule = None
        if header["rule"] is not None:
            patience, threshold, max_layers = header["rule"]
            rule = EarlyExit(patience=patience, threshold=threshold, max_layers=max_layers)
        outputs: Arrays = forward(arrays, rule)
        return outputs

    return run


def _open_foreign(source: Path | bytes, threads: int) -> Any:
    from albert_edge.runtime.interpreter import open_interpreter

    interpreter = open_interpreter(source, threads=threads, where="the model")

    def run(header: dict[str, Any], arrays: Arrays) -> Arrays:
        inputs = interpreter.get_input_details()
        count = arrays["input_ids"].shape[1]
        for one in inputs:
            if -1 in one["shape_signature"]:
                interpreter.resize_tensor_input(one["index"], (1, count))
        interpreter.allocate_tensors()
        for one in interpreter.get_input_details():
            interpreter.set_tensor(one["index"], _foreign_input(one, arrays))
        interpreter.invoke()
        found = interpreter.get_output_details()
        return {one["name"]: interpreter.get_tensor(one["index"]) for one in found}

    return run


def _foreign_input(one: dict[str, Any], arrays: Arrays) -> npt.NDArray[Any]:
    name, shape, kind = one["name"].lower(), one["shape"], one["dtype"]
    ids = arrays["input_ids"]
    values = arrays["token_type_ids"] if "type" in name or "segment" in name else ids
    values = np.ones_like(ids) if "mask" in name else values
    if len(shape) != 2 or shape[0] != 1 or np.dtype(kind).kind not in "iu":
        raise InputError(
            f"the model's input {one['name']!r} is {np.dtype(kind)} {shape.tolist()}; only token "
            "ids, integers [1, T], can be given."
        )
    if shape[1] < ids.shape[1]:
        raise InputError(f"{ids.shape[1]} tokens are too many; this model takes {shape[1]}.")
    padded = np.zeros(shape, kind)
    padded[0, : ids.shape[1]] = values[0]
    return padded


_OPENERS = {"open": _open, "open_foreign": _open_foreign}


if __name__ == "__main__":
    main()
