"""Keep a process from AMX, to measure on one machine what processors without it would do."""

from __future__ import annotations

import ctypes

from albert_edge.benchmark.system import instructions
from albert_edge.errors import DeviceError

__all__ = ["present", "withhold"]

# arch_prctl(2) of x86-64 Linux, and the bit of the AMX tiles in the mask that it tells.
_ARCH_PRCTL, _GET_PERMITTED, _TILES = 158, 0x1022, 1 << 18
_SMALL = ctypes.create_string_buffer(4096)  # enough for the registers of AVX-512, not for tiles


class _Stack(ctypes.Structure):
    _fields_ = (
        ("address", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    )


def present() -> bool:
    """Tell whether this processor multiplies 8-bit numbers with AMX."""
    return "amx_int8" in instructions()


def withhold() -> None:
    """Have Linux refuse AMX to this process; XNNPACK then takes its kernels for AVX-512.

    The kernel grants AMX only while every signal stack has room for the tiles, so it is given one
    that has not (Documentation/arch/x86/xstate.rst).

    Raises:
        DeviceError: The stack is refused, or AMX was granted before.
    """
    stack = _Stack(ctypes.addressof(_SMALL), 0, len(_SMALL))
    if ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None) or _granted():
        raise DeviceError("AMX cannot be withheld from this process.")


def _granted() -> bool:
    # XNNPACK asks for AMX with the first model.
    mask = ctypes.c_uint64()
    failed = ctypes.CDLL(None).syscall(_ARCH_PRCTL, _GET_PERMITTED, ctypes.byref(mask))
    return bool(failed or mask.value & _TILES)
