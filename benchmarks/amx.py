"""Disable AMX in this process, to measure as on a processor without it."""

from __future__ import annotations

import ctypes

from albert_edge.benchmark.system import instructions
from albert_edge.errors import DeviceError

__all__ = ["present", "withhold"]

# arch_prctl(2) of x86-64 Linux, and the bit of the AMX tiles in the mask that it returns.
_ARCH_PRCTL, _GET_PERMITTED, _TILES = 158, 0x1022, 1 << 18
_SMALL = ctypes.create_string_buffer(4096)  # holds the registers of AVX-512, not the tiles


class _Stack(ctypes.Structure):
    _fields_ = (
        ("address", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    )


def present() -> bool:
    """Return whether this processor supports AMX for int8."""
    return "amx_int8" in instructions()


def withhold() -> None:
    """Make Linux refuse AMX to this process; XNNPACK then selects its AVX-512 kernels.

    The kernel grants AMX only if every signal stack has room for the tiles, so this installs one
    that is too small (Documentation/arch/x86/xstate.rst).

    Raises:
        DeviceError: The kernel refuses the stack, or has already granted AMX.
    """
    stack = _Stack(ctypes.addressof(_SMALL), 0, len(_SMALL))
    if ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None) or _granted():
        raise DeviceError("cannot disable AMX in this process: it was granted before.")


def _granted() -> bool:
    # XNNPACK requests AMX when it opens the first model.
    mask = ctypes.c_uint64()
    failed = ctypes.CDLL(None).syscall(_ARCH_PRCTL, _GET_PERMITTED, ctypes.byref(mask))
    return bool(failed or mask.value & _TILES)
