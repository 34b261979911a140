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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from albert_edge import errors
from albert_edge.bundle import Bundle, OpenFile, check_flatbuffer, read
from albert_edge.early_exit import EarlyExit
from albert_edge.errors import (
    AlbertEdgeError,
    BundleError,
    DeviceError,
    InputError,
    describe_exit,
)

if TYPE_CHECKING:
    from albert_edge.runtime.compiled_model import Acceleration

__all__ = ["run_foreign", "run_graph"]

Arrays = dict[str, npt.NDArray[Any]]
# What the child says of a file that it opened, and what runs it.
_Opened = tuple[dict[str, Any], Callable[[dict[str, Any], Arrays], Arrays]]
_START_S = 60.0  # for a child to import the runtime
_CALL_S, _GPU_CALL_S = 10.0, 600.0  # for a call, and on a GPU also to compile a file
_MOST_BYTES = 2**30  # of one frame
_MEMORY_BYTES = 8 * 2**30  # of a child, which maps far more than it uses
_TYPES = ("float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
# What reading and running an unchecked graph raises in Python.
_GRAPH_ERRORS = (ValueError, RuntimeError, TypeError, KeyError, IndexError, OSError, MemoryError)


class IsolatedForward:
    """The forward pass of a file that is open in a child process."""

    def __init__(self, file: OpenFile, *, threads: int, time_limit_s: float | None) -> None:
        """Start the child.

        Raises:
            AlbertEdgeError: The child's own error, of its own class.
            BundleError: The child died or took too long.
        """
        job = {"do": "open"}
        limit_s = time_limit_s or _CALL_S
        self._child = _Child(file, threads=threads, time_limit_s=limit_s, job=job)

    def __call__(self, inputs: Arrays, rule: EarlyExit | None) -> Arrays:
        given = None if rule is None else [rule.patience, rule.threshold, rule.max_layers]
        return self._child.call({"rule": given}, inputs)


def open_on_gpu(
    file: OpenFile,
    bundle: Bundle,
    *,
    accelerator: str,
    threads: int,
    check: bool,
    time_limit_s: float | None,
) -> tuple[Callable[[Arrays, EarlyExit | None], Arrays], Acceleration]:
    """Open a file on the GPU, in a child process, which its driver may end.

    Args:
        file: The file.
        bundle: Its content.
        accelerator: `gpu:float32` or `gpu:default`.
        threads: How many CPU threads look up the tables.
        check: Whether to compare its outputs with the CPU's.
        time_limit_s: How long opening, and each call, may take, in seconds; None for 600.

    Raises:
        DeviceError: There is no GPU, or it does not run all of the file but the lookups, or the
            child died or took too long.
        FidelityError: The GPU's outputs are not the CPU's.
    """
    from albert_edge.runtime.compiled_model import Acceleration, check_gpu, check_gpu_file

    check_gpu_file(bundle, where=file.where)
    job = {"do": "open_gpu", "accelerator": accelerator, "check": check, "where": file.where}
    limit_s = time_limit_s or _GPU_CALL_S
    try:
        child = _Child(file, threads=threads, time_limit_s=limit_s, job=job, error=DeviceError)
    except DeviceError:
        check_gpu()  # does it run any file?
        raise
    found = child.opened["acceleration"]
    acceleration = Acceleration(**{**found, "on_cpu": tuple(found["on_cpu"])})
    return lambda inputs, rule: child.call({"rule": None}, inputs), acceleration


def run_graph(content: bytes, inputs: Arrays, *, accelerator: str) -> Arrays:
    """Run a model of any origin once, in a child process.

    Args:
        content: The model; its first signature is run.
        inputs: By the signature's names.
        accelerator: `cpu`, `gpu:float32` or `gpu:default`.

    Raises:
        BundleError: The CPU cannot run the model, or ended the child.
        DeviceError: The GPU refuses the model, or the child died or took too long.
    """
    job = {"do": "open_graph", "accelerator": accelerator}
    error = BundleError if accelerator == "cpu" else DeviceError
    file = OpenFile(content, has_archive=False)
    child = _Child(file, threads=1, time_limit_s=_GPU_CALL_S, job=job, error=error)
    return child.call({}, inputs)


def run_foreign(
    source: str | os.PathLike[str] | bytes,
    input_ids: list[int],
    token_type_ids: list[int],
    *,
    threads: int = 1,
    check: bool = True,
    time_limit_s: float | None = None,
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
        time_limit_s: How long loading and running may take, in seconds each; None for 10.

    Returns:
        The outputs by name.

    Raises:
        BundleError: The file is missing or damaged, or its child process died or took too long.
        InputError: The model takes other inputs, or fewer tokens.
    """
    file = OpenFile(source, has_archive=False)
    if check:
        check_flatbuffer(file.view(), where=file.where)
    limit_s, job = time_limit_s or _CALL_S, {"do": "open_foreign"}
    child = _Child(file, threads=threads, time_limit_s=limit_s, job=job)
    ids = {"input_ids": input_ids, "token_type_ids": token_type_ids}
    return child.call({}, {name: np.array([row], np.int32) for name, row in ids.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How something that may end a process went in a child.

    Attributes:
        found: The last JSON object that the child wrote, empty if it wrote none.
        ending: How it ended, such as `killed by SIGSEGV`; empty if it took too long.
        was_killed: Whether a signal ended it.
        said: The last line on its standard error, empty if there was none.
    """

    found: Mapping[str, Any]
    ending: str
    was_killed: bool
    said: str


def try_in_child(module: str, *arguments: str, time_limit_s: float) -> Trial:
    """Run a module in a child process.

    Args:
        module: Its name; it writes JSON objects to standard output, one a line.
        arguments: Its arguments.
        time_limit_s: After how many seconds the child is ended.
    """
    command = [sys.executable, "-m", module, *arguments]
    try:
        done = subprocess.run(  # noqa: S603 (our own interpreter and module)
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=time_limit_s,
            env=child_environment(),
        )
    except subprocess.TimeoutExpired as error:
        return _trial(error.stdout, error.stderr, ending="", was_killed=False)
    ending = describe_exit(done.returncode)
    return _trial(done.stdout, done.stderr, ending=ending, was_killed=done.returncode < 0)


def _trial(output: bytes | None, errors: bytes | None, *, ending: str, was_killed: bool) -> Trial:
    found: dict[str, Any] = {}
    for line in (output or b"").splitlines():
        try:
            found = json.loads(line)
        except ValueError:  # cut off by the end
            break
    said = ((errors or b"").decode(errors="replace").strip().splitlines() or [""])[-1]
    return Trial(found=found, ending=ending, was_killed=was_killed, said=said)


class _Child:
    """A process that has one file open; it ends with the last reference to this object.

    Attributes:
        opened: What it said of the file that it opened.
    """

    def __init__(
        self,
        file: OpenFile,
        *,
        threads: int,
        time_limit_s: float,
        job: Mapping[str, Any],
        error: type[AlbertEdgeError] = BundleError,
    ) -> None:
        """Start the process, with a job of `_OPENERS`, and wait until it has opened the file.

        Args:
            file: The file.
            threads: How many CPU threads to use.
            time_limit_s: How long each call may take, in seconds.
            job: What to `do`, and its arguments.
            error: What to raise if the process dies or takes too long.
        """
        self._where, self._limit_s, self._error = file.where, time_limit_s, error
        descriptor = file.fileno()
        self._process = _start_process(descriptor)
        self._requests: Any = self._process.stdin
        self._replies: Any = self._process.stdout
        weakref.finalize(self, _end, self._process)
        content = file.place() if descriptor is None else b""
        path = None if descriptor is None else str(file.place())
        self._send({**job, "path": path, "threads": threads}, {}, bytes(content))
        self._receive(_START_S)
        self.opened, _ = self._receive(time_limit_s)

    def call(self, header: dict[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        self._send(header, arrays)
        return self._receive(self._limit_s)[1]

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

    def _receive(self, limit_s: float) -> tuple[dict[str, Any], Arrays]:
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
        return header, arrays

    def _read(self, size: int, deadline: float, limit_s: float) -> bytes:
        descriptor, parts = self._replies.fileno(), []
        while size:
            left = deadline - monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                _end(self._process)
                raise self._error(
                    f"{self._where} took over {limit_s:g} s in a process of its own, which was "
                    "ended; it is damaged, or the time limit is too short for it."
                )
            if not (part := os.read(descriptor, min(size, 1 << 20))):
                raise self._died()
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _died(self) -> AlbertEdgeError:
        _end(self._process, wait_s=5)
        ending = describe_exit(self._process.returncode)
        return self._error(
            f"{self._where} ended the process that ran it ({ending}): it is damaged, or the "
            "runtime does not support it."
        )


def _start_process(descriptor: int | None) -> subprocess.Popen[bytes]:
    """Start a process that runs `main`, with a file's descriptor."""
    return subprocess.Popen(  # noqa: S603 (our own interpreter and module)
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=() if descriptor is None else (descriptor,),
        env=child_environment(),
    )


def child_environment() -> dict[str, str]:
    """Return the environment of a child that imports this package, be it in a zip file."""
    own = str(Path(errors.__file__).parent.parent)  # may be none of `sys.path`
    path = [own, *(entry or os.getcwd() for entry in sys.path)]  # noqa: PTH109
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


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
    frames: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read_frames, args=(frames,), daemon=True).start()
    header, _, content = _parse(frames.get())
    on_gpu = header.get("accelerator", "cpu") != "cpu"
    _limit_resources(memory=not on_gpu)  # a driver maps the memory of the GPU

    def reply(header: dict[str, Any], arrays: Arrays) -> None:
        replies.write(_frame(header, arrays))
        replies.flush()

    from albert_edge.runtime.interpreter import runtime_name

    try:
        runtime_name()
        reply({}, {})
        source = content if header["path"] is None else Path(header["path"])
        opened, run = _OPENERS[header["do"]](source, header)
        reply(opened, {})
        while True:
            header, arrays, _ = _parse(frames.get())
            reply({}, run(header, arrays))
    except AlbertEdgeError as error:
        reply({"error": type(error).__name__, "message": str(error)}, {})
    except _GRAPH_ERRORS as error:
        reply({"error": "DeviceError", "message": f"the runtime failed: {error}"}, {})


def _limit_resources(*, memory: bool) -> None:
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return
    limits = {resource.RLIMIT_CORE: 0, **({resource.RLIMIT_AS: _MEMORY_BYTES} if memory else {})}
    for limit, most in limits.items():
        _, hard = resource.getrlimit(limit)
        if hard == resource.RLIM_INFINITY or most < hard:
            resource.setrlimit(limit, (most, hard))


def _read_frames(frames: SimpleQueue[bytes]) -> None:
    """Read ahead, so that the process ends with its parent also while a graph runs."""
    source = sys.stdin.buffer
    while head := source.read(8):
        frames.put(source.read(int.from_bytes(head, "little")))
    os._exit(0)


def _open(source: Path | bytes, header: dict[str, Any]) -> _Opened:
    from albert_edge.runtime.model import open_forward

    forward = open_forward(source, threads=header["threads"])

    def run(header: dict[str, Any], arrays: Arrays) -> Arrays:
        rule = None
        if header["rule"] is not None:
            patience, threshold, max_layers = header["rule"]
            rule = EarlyExit(patience=patience, threshold=threshold, max_layers=max_layers)
        outputs: Arrays = forward(arrays, rule)
        return outputs

    return {}, run


def _open_gpu(source: Path | bytes, header: dict[str, Any]) -> _Opened:
    from albert_edge.runtime.compiled_model import compare_with_cpu, compiled_forward

    file, threads = OpenFile(source), header["threads"]
    file.where = header["where"]
    bundle = read(file)
    forward, acceleration = compiled_forward(
        file, bundle, threads=threads, accelerator=header["accelerator"]
    )
    if header["check"]:
        acceleration = compare_with_cpu(file, bundle, forward, acceleration, threads=threads)
    opened = {"acceleration": acceleration.to_dict()}
    return opened, lambda _, arrays: forward(arrays, None)


def _open_graph(source: Path | bytes, header: dict[str, Any]) -> _Opened:
    from albert_edge.runtime.compiled_model import run_on_gpu
    from albert_edge.runtime.interpreter import open_interpreter

    content = source if isinstance(source, bytes) else source.read_bytes()
    accelerator = header["accelerator"]
    if accelerator != "cpu":
        return {}, lambda _, arrays: run_on_gpu(content, arrays, accelerator=accelerator)
    interpreter = open_interpreter(content, threads=1, delegated=False, where="the model")
    key = next(iter(interpreter.get_signature_list()))
    run = interpreter.get_signature_runner(key)
    return {}, lambda _, arrays: dict(run(**arrays))


def _open_foreign(source: Path | bytes, header: dict[str, Any]) -> _Opened:
    from albert_edge.runtime.interpreter import open_interpreter

    interpreter = open_interpreter(source, threads=header["threads"], where="the model")

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

    return {}, run


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


_OPENERS = {
    "open": _open,
    "open_foreign": _open_foreign,
    "open_gpu": _open_gpu,
    "open_graph": _open_graph,
}


if __name__ == "__main__":
    main()
