"""Say what works on this machine: packages, the runtime, accelerators and devices.

What may end a process, such as a GPU's driver, is tried in a child process.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata, util
from typing import Any

import albert_edge
from albert_edge.benchmark.system import describe_machine
from albert_edge.errors import (
    EXTRAS,
    AlbertEdgeError,
    DeviceError,
    MissingExtraError,
    requires_extra,
)

__all__ = ["diagnose"]

_TEXT = "a quiet, moving film"
_WORTH_IT = 0.9  # of float32's time


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What was found out about one thing.

    Attributes:
        area: `packages`, `runtime`, `speed`, `accelerators` or `devices`.
        name: What was tried.
        works: Whether it works here.
        detail: What was found; or why it does not work, and what to do.
    """

    area: str
    name: str
    works: bool
    detail: str


def diagnose() -> dict[str, Any]:
    """Try everything that this package can use.

    Returns:
        `machine`, as `describe_machine` returns it; `checks`, a list of `Check` as dictionaries;
        and `ready`, whether models run here.
    """
    checks = [*_check_extras()]
    for area, name, tried in _TRIED:
        try:
            checks.append(Check(area=area, name=name, works=True, detail=tried()))
        except AlbertEdgeError as error:
            checks.append(Check(area=area, name=name, works=False, detail=str(error)))
    return {
        "albert_edge": albert_edge.__version__,
        "machine": describe_machine(),
        "ready": all(one.works for one in checks if one.area == "runtime"),
        "checks": [asdict(one) for one in checks],
    }


def _check_extras() -> Iterator[Check]:
    distributions = metadata.packages_distributions()
    for extra in dict.fromkeys(EXTRAS.values()):
        packages = [package for package, owner in EXTRAS.items() if owner == extra]
        missing = [package for package in packages if util.find_spec(package) is None]
        if missing:
            detail = str(MissingExtraError(", ".join(missing), extra))
        else:
            names = {package: distributions.get(package, [package])[0] for package in packages}
            detail = ", ".join(f"{one} {metadata.version(name)}" for one, name in names.items())
        yield Check(area="packages", name=extra, works=not missing, detail=detail)


def _run_model() -> str:
    pipe = albert_edge.load("default", isolated=True)
    return f"{pipe.model.runtime}: {_TEXT!r} is {pipe(_TEXT)['label']}"


def _compare_recipes() -> str:
    from albert_edge.quantization.speed import time_products

    times = time_products()
    whole = times.pop("float32")
    ratios = {name: taken / whole for name, taken in times.items()}
    said = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
    best = min(ratios, key=lambda name: ratios[name])
    advice = f"{best} is the fastest recipe here"
    if ratios[best] > _WORTH_IT:
        advice = "no recipe is faster than float32 here, but files and memory are smaller"
    return f"a product's time over float32's: {said}; {advice}"


def _find_gpu() -> str:
    from albert_edge.runtime.compiled_model import check_gpu

    found = check_gpu()
    kind = ", a program on the CPU: right, and slow" if found["is_software"] else ""
    return f"{found['device']}{kind}"


def _find_edgetpu() -> str:
    from albert_edge.runtime.external_delegate import find_edgetpu

    return f"{find_edgetpu()} opens it"


def _find_ssh() -> str:
    with requires_extra():
        import asyncssh  # noqa: F401
    return "ssh://USER@HOST can be measured; albert_edge need not be installed there"


def _find_phones() -> str:
    from albert_edge.benchmark.devices.adb_connection import (
        choose_serial,
        find_adb,
        list_devices,
        parse_address,
    )

    address = parse_address("adb://")
    program = find_adb(address)
    devices = list_devices(program)
    ready = [serial for serial, state in devices.items() if state == "device"]
    if not ready:
        choose_serial(address, devices)  # raises what is wrong
    libraries = "" if shutil.which("mvn") else "; without Maven give --runtime FILE.aar"
    return f"{', '.join(f'adb://{serial}' for serial in ready)}{libraries}"


def _find_qemu() -> str:
    try:
        from albert_edge.benchmark.devices.arm64_root import describe_root
    except ModuleNotFoundError as error:  # fcntl, on Windows
        raise DeviceError("qemu:// devices need Linux.") from error
    return describe_root()


_TRIED: tuple[tuple[str, str, Callable[[], str]], ...] = (
    ("runtime", "embedded model", _run_model),
    ("speed", "recipes", _compare_recipes),
    ("accelerators", "gpu", _find_gpu),
    ("accelerators", "edgetpu", _find_edgetpu),
    ("devices", "ssh://", _find_ssh),
    ("devices", "adb://", _find_phones),
    ("devices", "qemu://", _find_qemu),
)
