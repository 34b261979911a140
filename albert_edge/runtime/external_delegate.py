"""Run an int8 product of the shared layer: on the CPU, or on an Edge TPU by its TFLite delegate.

Coral's library `libedgetpu` is a TFLite delegate.  Its own build of 2021 ends the process in newer
runtimes (google-coral/edgetpu#812), so it is tried in a child process before it is loaded here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter_ns
from typing import Any, final
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from albert_edge.errors import AlbertEdgeError, BundleError, DeviceError, InputError
from albert_edge.runtime.interpreter import load_delegate, open_interpreter, runtime_name

Int8 = npt.NDArray[np.int8]
_VARIABLE = "ALBERT_EDGE_EDGETPU_LIBRARY"
_LIBRARIES = {"darwin": "libedgetpu.1.dylib", "win32": "edgetpu.dll"}
_COMPILED = "edgetpu-custom-op"  # what the compiler moves operators into
_TRIAL_S = 60.0  # an Edge TPU is given its firmware when it is first opened, in some 3 s
_PAGE = "docs/edgetpu.md"
# Several files on one device share its memory: they need one delegate.  It lives as long as they.
_delegates: WeakValueDictionary[tuple[str, str], Any] = WeakValueDictionary()
_passed: set[tuple[str, str, Path]] = set()  # library, device and file


@final
class Product:
    """An int8 product that is open.  One thread at a time may call it.

    Attributes:
        where: What to call its file in a message.
        accelerator: What computes it: `cpu`, or `edgetpu` with the device if one was chosen.
        input_shape: [1, T, 1, C].
        output_shape: [1, T, 1, K].
        input_quantization: The scale and the zero point of its input.
        output_quantization: Those of its output.
        calls: How often it was run.
    """

    def __init__(self, interpreter: Any, *, accelerator: str, where: str) -> None:
        """Take a TFLite interpreter that has the product's file open.

        Raises:
            BundleError: The file has no single int8 input and output.
        """
        self.where, self.accelerator = where, accelerator
        self.calls, self._ns = 0, 0
        self._interpreter: Any = interpreter
        given, made = interpreter.get_input_details(), interpreter.get_output_details()
        if [one["dtype"] for one in (*given, *made)] != [np.int8, np.int8]:
            raise BundleError(
                f"{where} is not a product of --target edgetpu: it must have one int8 input and "
                "one int8 output. Convert the checkpoint again."
            )
        self._input, self._output = given[0]["index"], made[0]["index"]
        self.input_shape = tuple(map(int, given[0]["shape"]))
        self.output_shape = tuple(map(int, made[0]["shape"]))
        self.input_quantization = _quantization(given[0])
        self.output_quantization = _quantization(made[0])

    @property
    def seconds(self) -> float:
        """How long all calls took, in seconds, with the copies of their inputs and outputs."""
        return self._ns / 1e9

    def run(self, values: Int8) -> Int8:
        """Multiply rows by the weights.

        Args:
            values: int8 [1, T, 1, C].

        Returns:
            int8 [1, T, 1, K], owned by the caller.

        Raises:
            DeviceError: The runtime or the device failed.
            InputError: `values` is of another type or shape, or the product was closed.
        """
        if self._interpreter is None:
            raise InputError(f"{self.where} was closed.")
        if values.dtype != np.int8 or values.shape != self.input_shape:
            raise InputError(
                f"{self.where} takes int8 {list(self.input_shape)}, not {values.dtype} "
                f"{list(values.shape)}."
            )
        start = perf_counter_ns()
        try:
            self._interpreter.set_tensor(self._input, values)
            self._interpreter.invoke()
            made: Int8 = self._interpreter.get_tensor(self._output)  # waits, and copies
        except (ValueError, RuntimeError) as error:
            raise DeviceError(
                f"{_NAMES[self.accelerator.partition(':')[0]]} failed to run {self.where}: "
                f"{_reason(error)}."
            ) from error
        self._ns += perf_counter_ns() - start
        self.calls += 1
        return made

    def close(self) -> None:
        """Release the weights; the last product on a device releases the device."""
        self._interpreter = None


_NAMES = {"cpu": "the CPU", "edgetpu": "the Edge TPU"}


def open_product(
    path: Path,
    *,
    accelerator: str = "cpu",
    threads: int = 1,
    delegated: bool = True,
    check: bool = True,
) -> Product:
    """Open the file of an int8 product.

    Args:
        path: The `.tflite` file; for an Edge TPU what the compiler made of it, whose name ends in
            `_edgetpu.tflite`.
        accelerator: `cpu`; or `edgetpu`, any Edge TPU, `edgetpu:usb`, `edgetpu:pci`, or
            `edgetpu:N`, the N-th of those that its library lists.
        threads: How many CPU threads to use.
        delegated: Whether XNNPACK may compute it on the CPU, rather than the runtime's own
            kernels; see `open_interpreter`.
        check: Whether to try it first on the Edge TPU in a child process; see `check_edgetpu`.

    Raises:
        BundleError: The file is missing or damaged, or not of a product.
        DeviceError: No TFLite runtime is installed; or the file was not compiled, the library or
            the device is missing, or it does not run the file.
    """
    if accelerator != "cpu":
        if check:
            check_edgetpu([path], accelerator=accelerator)
        device = _device(accelerator)
        return _load(path, library=_library(), device=device, accelerator=accelerator)
    if not path.is_file():
        raise BundleError(f"there is no file {path}.")
    interpreter = open_interpreter(path, threads=threads, delegated=delegated)
    if _COMPILED in _operators(interpreter):
        raise BundleError(
            f"{path} was compiled for the Edge TPU; a CPU runs the file that it was made of."
        )
    return _allocate(interpreter, accelerator="cpu", where=str(path))


def _allocate(interpreter: Any, *, accelerator: str, where: str) -> Product:
    try:
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise BundleError(f"the runtime cannot run {where}: {_reason(error)}.") from error
    return Product(interpreter, accelerator=accelerator, where=where)


def _operators(interpreter: Any) -> list[str]:
    # Private, but the runtime has no public method that lists the operators.
    return [one["op_name"] for one in interpreter._get_ops_details()]


def _quantization(detail: dict[str, Any]) -> tuple[float, int]:
    scale, zero_point = detail["quantization"]
    return float(scale), int(zero_point)


def _reason(error: BaseException) -> str:
    # Of several lines, or of messages with nothing between them.
    return " ".join(str(error).replace("Node number", "; node number").split()).rstrip(".")


# The Edge TPU.


def check_edgetpu(paths: Sequence[Path], *, accelerator: str) -> None:
    """Run compiled files once on the Edge TPU, in a child process, unless that went well before.

    Args:
        paths: The compiled `.tflite` files.
        accelerator: As for `open_product`.

    Raises:
        DeviceError: A file was not compiled, the library or the device is missing, or it does not
            run a file, ends the process or takes too long.
    """
    library, device = _library(), _device(accelerator)
    new = [path for path in paths if (library, device, path.resolve()) not in _passed]
    for path in new:
        _check_compiled(path)
    if new and (message := _try(library, device, *map(str, new))):
        raise DeviceError(message)
    _passed.update((library, device, path.resolve()) for path in new)


def find_edgetpu() -> str:
    """Open the Edge TPU in a child process, without a file, and return its library's name.

    Raises:
        DeviceError: The library or the device is missing, or it ends the process.
    """
    if message := _try(_library(), ""):
        raise DeviceError(message)
    return _library()


def _library() -> str:
    return os.environ.get(_VARIABLE) or _LIBRARIES.get(sys.platform, "libedgetpu.so.1")


def _device(accelerator: str) -> str:
    """Return the option `device` of libedgetpu: nothing, `usb`, `pci` or `:N`."""
    device = accelerator.partition(":")[2]
    return f":{device}" if device.isdigit() else device


def _check_compiled(path: Path) -> None:
    """Check that a file consists of operators of the Edge TPU only.

    Raises:
        DeviceError: It does not, or there is none.
    """
    advice = (
        "Compile the folder's files with sh compile.sh, which needs edgetpu_compiler (on x86-64 "
        f"Linux; see {_PAGE}), or use --accelerator cpu."
    )
    if not path.is_file():
        raise DeviceError(f"there is no {path}: it was not compiled for the Edge TPU. {advice}")
    names = _operators(open_interpreter(path, threads=1, delegated=False))
    left = sorted({name for name in names if name != _COMPILED})
    if _COMPILED not in names:
        raise DeviceError(f"{path} was not compiled for the Edge TPU. {advice}")
    if left:
        raise DeviceError(
            f"of {path}, the Edge TPU's compiler left {', '.join(left)} to the CPU. albert-edge "
            "inspect --accelerator edgetpu, with the file that was compiled, says why."
        )


def _load(path: Path, *, library: str, device: str, accelerator: str) -> Product:
    where = str(path)
    delegate = _delegate(library, device)
    try:
        interpreter = open_interpreter(path, threads=1, external=delegate, where=where)
        return _allocate(interpreter, accelerator=accelerator, where=where)
    except BundleError as error:
        reason = _reason(error.__cause__ or error)
        raise DeviceError(
            f"the Edge TPU's library {library} does not run {where}: {reason}. It must be as new "
            f"as the compiler ({_PAGE}); compile the file again if it is damaged."
        ) from error


def _delegate(library: str, device: str) -> Any:
    key = library, device
    if (found := _delegates.get(key)) is not None:
        return found
    try:
        made = load_delegate(library, {"device": device} if device else {})
    except OSError as error:
        raise DeviceError(_explain_library(library, error)) from error
    except AttributeError as error:
        raise DeviceError(
            f"{library} is not the library of an Edge TPU: it has no function "
            f"tflite_plugin_create_delegate. Correct {_VARIABLE}."
        ) from error
    except ValueError as error:
        raise DeviceError(_explain_device(library, device, error)) from error
    _delegates[key] = made
    return made


def _explain_library(library: str, error: OSError) -> str:
    reason = _reason(error)
    if not reason.startswith(f"{library}:") or "No such file" not in reason:
        return (
            f"the Edge TPU's library {library} does not load: {reason}. Install what it needs "
            f"(libusb-1.0-0, libc++1), or a build for this system: see {_PAGE}."
        )
    return (
        f"the Edge TPU's library {library} is not installed. Install libedgetpu1-std as {_PAGE} "
        f"says, or name another build's path in {_VARIABLE}."
    )


def _explain_device(library: str, device: str, error: ValueError) -> str:
    kind = {"usb": " on USB", "pci": " on PCIe"}.get(device, "")
    number = f" number {device[1:]}, counted from 0" if device.startswith(":") else ""
    said = _reason(error).partition(library)[2].strip()  # nothing, in Coral's builds
    return (
        f"{library} finds no Edge TPU{kind}{number}{f' ({said})' if said else ''}. On USB, lsusb "
        "lists it as 1a6e:089a or, once used, 18d1:9302, and a udev rule gives the user's group "
        "access; on PCIe it is /dev/apex_0. Another program may be using it. "
        f"See {_PAGE}, or use --accelerator cpu."
    )


def _try(library: str, device: str, *paths: str) -> str:
    """Run compiled files once in a child process; return what is wrong, nothing if all is well."""
    from albert_edge.runtime.isolated import try_in_child

    tried = try_in_child(__name__, library, device, *paths, time_limit_s=_TRIAL_S)
    if "message" in tried.found:
        return str(tried.found["message"])
    if tried.found.get("done"):
        return ""
    step = tried.found.get("step", "be started")
    if not tried.ending:
        return (
            f"the Edge TPU did not {step} within {_TRIAL_S:g} s. Unplug it and plug it in again, "
            "on a port that gives enough power, or use --accelerator cpu."
        )
    if tried.was_killed:
        return (
            f"the Edge TPU's library {library} ended the process when it was to {step} "
            f"({tried.ending}). Coral's own build of 2021 does that in newer runtimes than TFLite "
            f"2.5 to 2.11; this is {runtime_name()}. Install a build of libedgetpu for it, named "
            f"in {_VARIABLE}, or the runtime that it was built for: see {_PAGE}."
        )
    said = tried.said or "nothing"
    return f"trying the Edge TPU failed ({tried.ending}); it last printed: {said}"


def main(library: str, device: str, *paths: str) -> None:
    """Run compiled files once on the Edge TPU, and write each step to standard output."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a library may print

    def say(**found: object) -> None:
        print(json.dumps(found), file=output, flush=True)

    try:
        say(step="be opened")
        delegate = _delegate(library, device)  # kept for all files
        for path in paths:
            say(step=f"load {path}")
            product = _load(Path(path), library=library, device=device, accelerator="edgetpu")
            say(step=f"run {path}")
            product.run(np.zeros(product.input_shape, np.int8))
        del delegate
        say(done=True)
    except AlbertEdgeError as error:
        say(message=str(error))
    os._exit(0)  # a library may crash when it is unloaded


if __name__ == "__main__":
    main(*sys.argv[1:])
