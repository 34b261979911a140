"""Find the installed TFLite interpreter, open a file in it, and release the file's memory.

`open_interpreter` works with ai-edge-litert and tflite-runtime.  `release_pages` takes a model
file's pages out of memory once the runtime has packed the weights in them.
"""

from __future__ import annotations

import ctypes
import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from albert_edge.errors import BundleError, DeviceError

__all__ = ["open_interpreter"]

# The newer first.  Both include XNNPACK, which computes most operators.
_PACKAGES = (
    ("ai-edge-litert", "ai_edge_litert.interpreter"),
    ("tflite-runtime", "tflite_runtime.interpreter"),
)
# What an installed package raises that does not load: it, or one that it imports, is for another
# machine, C library, Python or NumPy, is incomplete, or needs more memory than there is.
LOAD_ERRORS = (
    *(AttributeError, ImportError, MemoryError, OSError, RuntimeError, SyntaxError),
    *(SystemError, TypeError, ValueError),
)
_MAPS = Path("/proc/self/maps")
_DONTNEED = 4  # MADV_DONTNEED of madvise(2), Linux
_LEAST_BYTES = 4 << 20  # finding the pages takes half a millisecond: not worth it for smaller files


def runtime_name() -> str:
    """Name the runtime that `open_interpreter` uses, with its version: `ai-edge-litert 2.3.0`.

    Raises:
        DeviceError: None is installed, or none that is installed loads.
    """
    from importlib.metadata import PackageNotFoundError, version  # 10 ms, of modules for e-mail

    package = _find()[0]
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:  # copied without its metadata
        return package


def open_interpreter(
    source: Path | bytes,
    *,
    threads: int,
    delegated: bool = True,
    preserve_all_tensors: bool = False,
    external: Any = None,
    where: str = "",
) -> Any:
    """Open a model in the installed runtime.  A path is mapped into memory, not read.

    The runtime prints one line about XNNPACK on standard error when it first plans a model; it
    offers no way to turn that off.

    Args:
        source: A path or a file's content.
        threads: How many CPU threads to use, at least 1.
        delegated: Whether XNNPACK may run operators; if not, each runs in the runtime's own
            kernel, which is slower, and the reference for delegates.
        preserve_all_tensors: Whether to keep the values of intermediate tensors too; it turns
            delegates off.
        external: A delegate of `load_delegate` that is asked first, or None.
        where: What to call the model in a message; its path when left out.

    Raises:
        BundleError: The model is invalid, or the runtime does not support its operators.
        DeviceError: No runtime is installed, none loads, or `threads` is not a number of threads.
    """
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise DeviceError(f"threads must be a whole number of at least 1, not {threads!r}.")
    _, interpreter = _find()
    where = where or ("the model" if isinstance(source, bytes) else str(source))
    argument = "model_content" if isinstance(source, bytes) else "model_path"
    options: dict[str, Any] = {argument: source if isinstance(source, bytes) else str(source)}
    if not delegated or preserve_all_tensors:
        kinds = importlib.import_module(interpreter.__module__).OpResolverType
        options["experimental_op_resolver_type"] = kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        options["experimental_preserve_all_tensors"] = preserve_all_tensors
    if external is not None:
        options["experimental_delegates"] = [external]
    try:
        return interpreter(num_threads=threads, **options)
    except (ValueError, RuntimeError) as error:
        message = " ".join(str(error).split()).rstrip(".")  # of several lines
        raise BundleError(
            f"{runtime_name()} cannot load {where}: {message}. It is damaged, or needs a newer "
            "runtime; for tflite-runtime, write it with albert-edge convert --compat "
            "tflite-runtime-2.14."
        ) from error
    except LOAD_ERRORS as error:  # some load the rest of themselves only now
        explained = _explain_load_error(error)
        raise DeviceError(f"{runtime_name()} does not load: {explained}") from error


def load_delegate(library: str, options: Mapping[str, str]) -> Any:
    """Load a TFLite delegate from a shared library, in this process, which it may end.

    Args:
        library: The library's name or path.
        options: What it is told, by name.

    Raises:
        AttributeError: The library is no delegate.
        DeviceError: No runtime is installed.
        OSError: It cannot be loaded.
        ValueError: It finds no device.
    """
    module = importlib.import_module(_find()[1].__module__)
    return module.load_delegate(library, dict(options))


def _find() -> tuple[str, Any]:
    failures: dict[str, BaseException] = {}
    for package, module in _PACKAGES:
        try:
            interpreter = importlib.import_module(module).Interpreter
        except LOAD_ERRORS as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name
            if missing != module.partition(".")[0]:
                failures[package] = error
        else:
            return package, interpreter
    if failures:
        causes = [f"{package}: {_explain_load_error(one)}" for package, one in failures.items()]
        raise DeviceError(
            "an installed TFLite runtime does not load:\n  " + "\n  ".join(causes)
        ) from next(iter(failures.values()))
    raise DeviceError(
        "no TFLite runtime is installed; install one with: pip install ai-edge-litert "
        "(or tflite-runtime on an older board)."
    )


def _explain_load_error(error: BaseException) -> str:
    cause = error.__cause__ or error  # a SystemError says nothing of its own
    text = f"{type(cause).__name__}: {' '.join(str(cause).split()).rstrip('.')}".rstrip(": ")
    if re.search("numpy|_ARRAY_API", text) and not isinstance(cause, ModuleNotFoundError):
        advice = "it was built for NumPy 1: pip install 'numpy<2', or pip install ai-edge-litert"
    elif "GLIBC" in text:
        advice = "it was built for a newer system: pip install tflite-runtime, or an older version"
    elif isinstance(cause, MemoryError):
        advice = "there is too little memory"
    else:
        advice = "install it again with pip install --force-reinstall"
    return f"{text}; {advice}."


def release_pages(path: Path) -> None:
    """Take the pages of `path` that this process has mapped out of its resident memory.

    A kernel or a table lookup that reads them again gets them from the file.  Does nothing where
    there is no `/proc/self/maps`.
    """
    for start, end in _mapped(path):
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _DONTNEED)


def _mapped(path: Path) -> Iterator[tuple[int, int]]:
    try:
        if path.stat().st_size < _LEAST_BYTES:
            return
        name = str(path.resolve())
        lines = _MAPS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        span, rights, *_, mapped = line.split(maxsplit=5)  # proc_pid_maps(5)
        if mapped == name and rights.startswith("r--"):  # not written to
            start, end = (int(address, 16) for address in span.split("-"))
            yield start, end
