"""A processor of a Raspberry Pi that qemu emulates: `qemu://cortex-a53|cortex-a72|cortex-a76`.

The project's own worker runs in an arm64 root (`arm64_root`), and a plugin of qemu counts the
instructions between its markers.  Times under emulation mean nothing, so none is measured.  A count
is the same every time: neither paths, environment nor random numbers of this machine are visible to
the emulated process, whose addresses are the same too.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

from rich.progress import Progress

from albert_edge.benchmark.devices.arm64_root import PYTHON, Arm64Root, cache_folder, get_root
from albert_edge.benchmark.devices.device import ENGINE, engine_folder, run_worker
from albert_edge.benchmark.devices.remote_agent import worker_command
from albert_edge.benchmark.devices.ssh import pack_worker
from albert_edge.benchmark.system import machine_id
from albert_edge.errors import AlbertEdgeError, ConfigError, DeviceError

# The part of each processor and its features, as Linux shows them: XNNPACK picks its kernels by the
# part, and qemu runs the instructions.  Raspberry Pi 3, 4 and 5.
_ARMV8 = "fp asimd evtstrm crc32 cpuid"
CPUS = {
    "cortex-a53": (0xD03, _ARMV8),
    "cortex-a72": (0xD08, _ARMV8),
    "cortex-a76": (
        0xD0B,
        f"{_ARMV8} aes pmull sha1 sha2 atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp",
    ),
}
# The folder of the emulated process with the model, the package, the wheels, and compiled modules.
_HOME = "albert_edge"
_MODEL, _ENGINES = f"/{_HOME}/model.tflite", f"/{_HOME}/engines"
_PREFIX = "albert_edge.qemu."  # of the temporary folders
_UNUSED_S = 30 * 86400.0  # after which the worker of another version of the package is removed
_THE_MODEL = re.compile(rf"(?<![\w.-]){re.escape(_MODEL)}")  # not at the end of a longer path


def write_cpu_files(root: Path, cpu: str) -> None:
    """Write what Linux shows of one core of a processor, below a root folder.

    Args:
        root: The folder.
        cpu: One of `CPUS`.
    """
    part, features = CPUS[cpu]
    cores = root / "sys/devices/system/cpu"
    cores.mkdir(parents=True)
    for name in ("possible", "present", "online"):
        (cores / name).write_text("0\n")
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(
        f"processor\t: 0\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
        f"CPU variant\t: 0x0\nCPU part\t: {part:#x}\nCPU revision\t: 4\n"
    )


class Qemu:
    """An emulated processor, as a `Device`."""

    engines: Mapping[str, str] = {"cpu": ENGINE}
    counts_instructions = True

    def __init__(self, name: str, cpu: str, root: Arm64Root) -> None:
        """Make the folder that the emulated process takes for the root.

        Raises:
            DeviceError: It cannot be written.
        """
        self.name = name
        self._cpu, self._root = cpu, root
        try:
            self._folder, self._lock = _make_folder()
            self._lay_out(_unpack_worker(root))
        except OSError as error:
            raise DeviceError(f"cannot write the files of {name}: {error.strerror}.") from error

    def _lay_out(self, worker: Path) -> None:
        view = self._view = self._folder / "root"
        write_cpu_files(view, self._cpu)
        for name in ("usr", "lib"):
            (view / name).symlink_to(self._root.path / name)
        (view / "etc").mkdir()
        (view / "etc/ld.so.cache").touch()  # instead of this machine's
        (view / _HOME).mkdir()
        (view / _HOME / "site").symlink_to(self._root.path / "site")
        for name in ("package", "compiled"):
            (view / _HOME / name).symlink_to(worker / name)
        self._compiled = worker / "compiled"

    def send(self, path: Path) -> str:
        """Return the path itself."""
        return str(path)

    def run(self, job: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """Run one job in a fresh process: describe, predict, or count, with the counts added."""
        if job["do"] == "describe":
            return self._describe(self._emulate(job, timeout_s)[0])
        if job["do"] == "predict":
            return self._emulate(job, timeout_s)[0]
        for _ in range(2):
            result, counts = self._emulate(job, timeout_s)
            # Compiling a module would count as loading, so another process does it before.
            if not result.pop("uncompiled"):
                break
            self._emulate(job, timeout_s, compiling=True)
        load, first, runs = (end - begin for begin, end in list(pairwise(counts))[::2])
        return {
            **result,
            "instructions_load": load,
            "instructions_first": first,
            "instructions_inference": round(runs / job["runs"]),
        }

    def machine_id(self) -> str:
        """Return that of this machine, which emulates the other."""
        return machine_id()

    def close(self) -> None:
        """Remove the folder; never raises."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()

    def _describe(self, machine: dict[str, Any]) -> dict[str, Any]:
        version = self._root.qemu_version
        return {
            **machine,
            "model": f"{self._cpu.replace('cortex-a', 'Cortex-A')}, emulated by qemu",
            "processor": None,
            "cores": 1,
            "ram_bytes": None,
            "versions": {**machine["versions"], "qemu": version},
            # Those of the machine that emulates.
            "conditions": {**_NO_CONDITIONS},
        }

    def _emulate(
        self, job: Mapping[str, Any], timeout_s: float, *, compiling: bool = False
    ) -> tuple[dict[str, Any], list[int]]:
        """Run the worker; return its result, and the instructions up to each marker."""
        where = f"{job.get('path', 'the job')} on {self.name}"
        model, counts = self._view / _MODEL[1:], self._folder / "counts"
        engines = self._view / _ENGINES[1:]
        _link(model, [job["path"]] if "path" in job else [])
        _link(engines, search := engine_folder(job)[:1])
        try:
            result = run_worker(
                self._command(counts, *([_ENGINES] if search else [])),
                {**job, "path": _MODEL},
                where=where,
                timeout_s=timeout_s,
                advice="emulation is slow: increase --timeout",
                cwd=self._view,
                env=self._environment(compiling),
            )
        except AlbertEdgeError as error:
            message = _THE_MODEL.sub(lambda _: str(job.get("path")), str(error))
            raise type(error).__new__(type(error), message) from error
        return result, [int(line) for line in counts.read_text().split()]

    def _command(self, counts: Path, *search: str) -> list[str | Path]:
        plugin = f"{self._root.plugin},counts={counts}"
        if "," in f"{self._root.plugin}{counts}":
            raise DeviceError(
                f"qemu takes no path with a comma, as {self._root.plugin} and {counts}: set "
                "XDG_CACHE_HOME and TMPDIR to others."
            )
        qemu: list[str | Path] = [self._root.qemu, "-cpu", self._cpu, "-seed", "1"]
        qemu += ["-plugin", plugin, "-L", self._view, "-U", "LD_LIBRARY_PATH"]
        worker = worker_command(f"/{PYTHON}", f"/{_HOME}/package", *search)[1:]
        # Of fixed length: what the arguments take of the stack is then the same for every process.
        worker = [word.zfill(10) if word.isdecimal() else word for word in worker]
        return [*qemu, "-0", f"/{PYTHON}", PYTHON, *worker]

    def _environment(self, compiling: bool) -> dict[str, str]:
        compiled = f"/{_HOME}/compiled"
        environment = {
            "LD_LIBRARY_PATH": str(self._root.libraries),  # of qemu only
            "PYTHONHOME": "/usr",
            "PYTHONPATH": f"/{_HOME}/site:/{_HOME}/package",
            "PYTHONHASHSEED": "0",
            "PYTHONSAFEPATH": "1",
            "PYTHONNOUSERSITE": "1",
            "PYTHONUTF8": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONPYCACHEPREFIX": compiled,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if compiling:
            # qemu redirects what is read to the root, not what is written, so by its real path.
            del environment["PYTHONDONTWRITEBYTECODE"]
            environment["PYTHONPYCACHEPREFIX"] = str(self._compiled.resolve())
        return environment


_NO_CONDITIONS: dict[str, Any] = {
    "governors": [],
    "frequency_mhz": [],
    "clock_limits_mhz": [],
    "temperature_c": None,
    "arm_clock_mhz": None,
    "throttled_bits": None,
    "throttle_events": None,
    "load_average": None,
    "cpu_quota": None,
}


def _link(link: Path, targets: Sequence[str]) -> None:
    link.unlink(missing_ok=True)
    for target in targets:
        link.symlink_to(Path(target).resolve())


def _make_folder() -> tuple[Path, IO[str]]:
    """Return a temporary folder with its lock; remove those of processes that were killed."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/lock"):
        # Another process may hold it, or remove it too.
        with suppress(OSError), lock.open() as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    made = (folder / "lock.partial").open("w")
    fcntl.flock(made, fcntl.LOCK_EX)
    Path(made.name).rename(folder / "lock")  # held from the moment that it can be found
    return folder, made


def _unpack_worker(root: Arm64Root) -> Path:
    """Return the folder with the worker's `package`, and its `compiled` modules so far."""
    archive = pack_worker()
    digest = hashlib.sha256(archive).hexdigest()[:12]
    folder = cache_folder() / f"{root.path.name}-worker-{digest}"
    if not folder.is_dir():
        made = Path(tempfile.mkdtemp(dir=folder.parent, prefix="worker.", suffix=".partial"))
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            opened.extractall(made / "package")
        # Compiled modules keep the dates of their sources.
        for path in made.rglob("*"):
            os.utime(path, (0, 0))
        (made / "compiled").mkdir()
        try:
            made.rename(folder)
        except OSError:  # another process was first
            shutil.rmtree(made)
    os.utime(folder)
    for other in folder.parent.glob("root-*-worker-*"):
        if other.stat().st_mtime < time.time() - _UNUSED_S:
            shutil.rmtree(other, ignore_errors=True)
    return folder


def connect(address: str, *, progress: Progress | None = None) -> Qemu:
    """Open the processor at `qemu://CPU`.

    Args:
        address: The address.
        progress: Where to show the progress of making the arm64 root; None for nowhere.

    Raises:
        ConfigError: There is no such processor.
        DeviceError: The arm64 root cannot be made; see `get_root`.
    """
    match = re.fullmatch(r"qemu://([\w.-]*)/?", address, re.ASCII)
    cpu = match[1].lower() if match else ""
    if cpu not in CPUS:
        raise ConfigError(
            f"{address!r} is no processor that is emulated; choose from "
            f"{', '.join(f'qemu://{name}' for name in CPUS)} (those of Raspberry Pi 3, 4 and 5; in "
            "64 bits only)."
        )
    return Qemu(address, cpu, get_root(progress or Progress(disable=True)))
