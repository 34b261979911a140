"""The engines for GPUs: the project's own runtime, with LiteRT's CompiledModel in this process.

The measured process is one of its own, which a driver may end.
"""

from __future__ import annotations

from albert_edge.bundle import OpenFile, read_checked
from albert_edge.runtime import Model, runtime_name
from albert_edge.runtime.compiled_model import compiled_forward, import_litert

# As in `engine`: the library's code belongs to the empty process, and its import to `import_ms`.
import_litert()


def open_float32(path: str, *, threads: int = 1) -> Model:
    """Open a file on the GPU, in float32 arithmetic.

    Raises:
        BundleError: The file is missing, damaged, not one of ours, or newer than this version.
        DeviceError: There is no GPU, or it does not run all of the file but the lookups.
    """
    return _open(path, "gpu:float32", threads)


def open_default(path: str, *, threads: int = 1) -> Model:
    """Open a file on the GPU, in the precision that its driver prefers.

    Raises:
        BundleError: The file is missing, damaged, not one of ours, or newer than this version.
        DeviceError: There is no GPU, or it does not run all of the file but the lookups.
    """
    return _open(path, "gpu:default", threads)


def _open(path: str, accelerator: str, threads: int) -> Model:
    file = OpenFile(path)
    bundle = read_checked(file)
    forward, share = compiled_forward(file, bundle, threads=threads, accelerator=accelerator)
    return Model(bundle, forward, runtime_name(), file=file, acceleration=share)
