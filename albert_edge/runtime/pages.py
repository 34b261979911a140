"""Give back the memory of a model file's pages once the runtime has packed the weights in them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

__all__ = ["give_back"]

_MAPS = Path("/proc/self/maps")
_DONTNEED = 4  # MADV_DONTNEED of madvise(2), Linux
_LEAST_BYTES = 4 << 20  # finding the pages takes half a millisecond, which small files do not repay


def give_back(path: Path) -> None:
    """Take the pages of `path`, which this process has mapped, out of its resident memory.

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
        if mapped == name and rights.startswith("r--"):  # nobody has written to it
            start, end = (int(address, 16) for address in span.split("-"))
            yield start, end
