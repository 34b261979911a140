"""The arm64 folder that a `qemu://` device runs in: Debian's Python, the worker's wheels, and qemu.

It is made once, without root, in the user's cache folder: packages by apt-get with lists of its
own, wheels by pip, both from where this machine is set up to get them, and the plugin of qemu that
counts instructions by the machine's compiler.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path

from rich.progress import Progress

from albert_edge import files
from albert_edge.errors import DeviceError, printable

__all__ = ["Arm64Root", "get_root"]

# The source of the plugin, which the tests' rigs use too.
INSTRUCTIONS = resources.files("albert_edge.benchmark.devices") / "instructions.c"
PYTHON = "usr/bin/python3.11"  # Debian 12's
_DEBIAN = "12"
_RELEASE = Path("/etc/os-release")
_QEMU = "qemu-aarch64"
_PACKAGES = ("python3", "libstdc++6")
# What the worker imports besides this package; the versions are those installed here, so that
# answers differ by the processor only.
_WHEELS = ("ai-edge-litert", "numpy", "flatbuffers", "sentencepiece")
_MORE_WHEELS = ("ml_dtypes",)  # of newer versions of ai-edge-litert: where they are installed here
_WHEELS_MB = 35  # pip does not say beforehand; of ai-edge-litert 2.3.0 and numpy 2.4
_GLIBC_MINORS = range(17, 37)  # of manylinux_2_X; Debian 12 has glibc 2.36
# Of the machine that qemu runs on: it is linked to these already.
_OF_THE_MACHINE = re.compile(r"lib(c6|gcc-s1|stdc\+\+6|crypt1)_.*")
_VERSION = 1  # of the folder's content; to be raised when this module makes another


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm64Root:
    """The folder, and the programs in it.

    Attributes:
        path: The folder that the emulated process takes for the root: `usr`, `lib`, and `site`, the
            folder of the wheels.
        qemu: The program that emulates.
        libraries: The folder of the libraries that qemu needs and the machine lacks.
        plugin: The plugin that counts instructions.
        qemu_version: Such as `7.2.19`.
    """

    path: Path
    qemu: Path
    libraries: Path
    plugin: Path
    qemu_version: str


def cache_folder() -> Path:
    """Return the folder where roots are kept."""
    return files.cache_folder("arm64")


def get_root(progress: Progress) -> Arm64Root:
    """Return the arm64 root, made first if it is missing.

    An interrupted download goes on where it ended; a folder that is not whole is never used.

    Args:
        progress: Where to show the progress.

    Raises:
        DeviceError: This machine is not Debian 12 with a C compiler and pip, or packages cannot be
            fetched.
    """
    _check_system()
    wheels = _wanted_wheels()
    folder = _folder(wheels)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _taking_turns(folder.parent / "lock"):
            if not folder.is_dir():
                _make(folder, wheels, progress)
    except OSError as error:
        raise DeviceError(f"cannot make {folder}: {error.strerror or error}.") from error
    return _open(folder)


def describe_root() -> str:
    """Say whether the arm64 root is there.

    Raises:
        DeviceError: It is not, and cannot be made on this machine.
    """
    _check_system()
    if _folder(_wanted_wheels()).is_dir():
        return f"the arm64 root is in {cache_folder()}"
    return "can be measured; the first time makes the arm64 root, and says how much it fetches"


def _wanted_wheels() -> dict[str, str]:
    """Return the wheels of a root and their versions, which are those installed here."""
    wheels = {name: _installed_version(name) for name in _WHEELS}
    with suppress(metadata.PackageNotFoundError):
        wheels |= {name: metadata.version(name) for name in _MORE_WHEELS}
    return wheels


def _folder(wheels: Mapping[str, str]) -> Path:
    return cache_folder() / f"root-{_digest(wheels)}"


def _check_system() -> None:
    try:
        release = dict(re.findall(r'^(\w+)="?(.*?)"?$', _RELEASE.read_text(), re.M))
    except OSError:
        release = {}
    if release.get("ID") != "debian" or release.get("VERSION_ID") != _DEBIAN:
        name = release.get("PRETTY_NAME", sys.platform)
        raise DeviceError(
            f"qemu:// devices are made of packages of Debian {_DEBIAN}, and this machine runs "
            f"{name}: run albert-edge in a container of Debian {_DEBIAN} (such as the image "
            "python:3.11-bookworm), or measure on a board: --device ssh://."
        )
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise DeviceError(
                f"qemu:// devices are made of Debian packages, and {program} is missing here."
            )
    _compiler()


def _compiler() -> str:
    for name in filter(None, (os.environ.get("CC"), "cc", "gcc", "clang")):
        if (found := shutil.which(name)) is not None:
            return found
    raise DeviceError(
        "qemu:// devices count instructions by a plugin in C, and there is no C compiler: install "
        "one: sudo apt-get install gcc libc6-dev."
    )


def _installed_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError as error:
        raise DeviceError(
            f"qemu:// devices run the same {name} as this machine, where it is not installed: "
            f"{sys.executable} -m pip install {name}."
        ) from error


def _digest(wheels: Mapping[str, str]) -> str:
    parts = [str(_VERSION), *_PACKAGES, *(f"{name}={one}" for name, one in wheels.items())]
    digest = hashlib.sha256("\n".join([*parts, os.uname().machine]).encode())
    digest.update(INSTRUCTIONS.read_bytes())
    return digest.hexdigest()[:12]


@contextmanager
def _taking_turns(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _open(folder: Path) -> Arm64Root:
    libraries = folder / "qemu/lib"
    qemu = _find_qemu(folder)
    version = _qemu_version(qemu, libraries)
    if version is None:
        raise DeviceError(f"{qemu} does not run; remove {folder}, so that it is made again.")
    plugin = folder / "qemu/instructions.so"
    return Arm64Root(
        path=folder, qemu=qemu, libraries=libraries, plugin=plugin, qemu_version=version
    )


def _find_qemu(folder: Path) -> Path:
    own = folder / "qemu" / _QEMU
    return own if own.exists() else Path(_installed_qemu() or own)


def _installed_qemu() -> str | None:
    """Return the machine's own qemu, unless it is of another version than the plugin is for."""
    found = shutil.which(_QEMU)
    known = found and (_qemu_version(Path(found), Path("/nonexistent")) or "").startswith("7.2.")
    return found if known else None


def _qemu_version(qemu: Path, libraries: Path) -> str | None:
    environment = {"LD_LIBRARY_PATH": str(libraries)}
    try:
        done = subprocess.run(  # noqa: S603 (qemu, and no shell)
            [qemu, "--version"], env=environment, capture_output=True, text=True
        )
    except OSError:
        return None
    match = re.search(r"version (\d+\.\d+\.\d+)", done.stdout)
    return match and match[1]


def _make(folder: Path, wheels: Mapping[str, str], progress: Progress) -> None:
    downloads = folder.parent / "downloads"
    for left in folder.parent.glob("*.partial"):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    made = folder.with_name(f"{folder.name}.partial")
    made.mkdir()
    try:
        _add_packages(made, downloads, progress)
        _add_wheels(made / "site", downloads, wheels, progress)
        _build_plugin(made / "qemu/instructions.so")
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    shutil.rmtree(downloads, ignore_errors=True)


def _add_packages(made: Path, downloads: Path, progress: Progress) -> None:
    arm64 = _Apt(downloads / "arm64", "arm64", _PACKAGES)
    apts = [arm64] if _installed_qemu() else [arm64, _Apt(downloads / "host", None, ("qemu-user",))]
    task = progress.add_task("Reading the lists of Debian packages", total=None)
    for apt in apts:
        apt.update()
    size_mb = sum(apt.missing_bytes() for apt in apts) / 1e6
    progress.console.print(
        f"Making an arm64 root of Debian {_DEBIAN} in {made.parent}, once: downloading "
        f"{size_mb:.0f} MB of packages and about {_WHEELS_MB} MB of wheels."
    )
    for apt in apts:
        name = "arm64 packages" if apt is arm64 else "qemu"
        progress.update(task, description=f"Downloading {name}", total=100, completed=0)
        apt.download(lambda percent: progress.update(task, completed=percent))
    progress.update(task, description="Unpacking packages", total=None)
    for package in arm64.packages():
        _run("dpkg-deb", "--extract", package, made)
    (made / "qemu/lib").mkdir(parents=True)
    for apt in apts[1:]:
        _add_qemu(made, apt.packages())
    progress.remove_task(task)


def _add_qemu(made: Path, packages: list[Path]) -> None:
    """Take one program and the libraries out of qemu's packages, which are for 35 processors."""
    with tempfile.TemporaryDirectory(dir=made) as folder:
        for package in packages:
            if not _OF_THE_MACHINE.fullmatch(package.name):
                _run("dpkg-deb", "--extract", package, Path(folder))
        shutil.move(Path(folder, "usr/bin", _QEMU), made / "qemu")
        for library in Path(folder).rglob("*.so.*"):
            target = made / "qemu/lib" / library.name
            if not target.exists():
                shutil.copy(library, target)  # what a link points to


def _add_wheels(site: Path, downloads: Path, wheels: Mapping[str, str], progress: Progress) -> None:
    task = progress.add_task("Downloading wheels", total=len(wheels))
    for name, version in wheels.items():
        progress.update(task, description=f"Downloading {name} {version} for arm64")
        wheel = _fetch_wheel(f"{name}=={version}", downloads / f"{name}-{version}")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
            for member in archive.namelist():
                os.utime(site / member, (0, 0))  # compiled modules keep their sources' dates
        progress.advance(task)
    progress.remove_task(task)


def _fetch_wheel(requirement: str, folder: Path) -> Path:
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in _GLIBC_MINORS]
    if not list(folder.glob("*.whl")):
        _run(
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--only-binary=:all:", "--implementation=cp", "--python-version=3.11"),
            *(*platforms, "--platform=manylinux2014_aarch64", f"--dest={folder}", requirement),
            advice=f"qemu:// devices need the aarch64 wheel of {requirement} for Python 3.11. "
            "Check the network and pip's settings (python -m pip config list).",
        )
    (wheel,) = folder.glob("*.whl")
    return wheel


def _build_plugin(path: Path) -> None:
    with resources.as_file(INSTRUCTIONS) as source:
        _run(
            *(_compiler(), "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-o", path, source),
            advice="It builds the plugin that counts instructions. Install the C library's "
            "headers: sudo apt-get install libc6-dev.",
        )


def _run(*command: str | Path, advice: str = "") -> str:
    """Run a program and return what it printed.

    Raises:
        DeviceError: It is missing or failed.
    """
    try:
        done = subprocess.run(  # noqa: S603 (known programs, and no shell)
            command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8",
            errors="replace", env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except FileNotFoundError as error:
        raise DeviceError(f"{command[0]} is missing. {advice}".rstrip()) from error
    if done.returncode:
        lines = [one for one in (done.stderr or done.stdout).splitlines() if one.strip()]
        errors = [one for one in lines if one.startswith(("E:", "ERROR:"))] or lines or ["nothing"]
        name = Path(command[0]).name if command[1:3] != ("-m", "pip") else "pip"
        raise DeviceError(f"{name} failed: {printable(errors[-1])}. {advice}".rstrip())
    return done.stdout


class _Apt:
    """Packages and what they depend on, fetched by apt-get into a folder of their own."""

    def __init__(self, folder: Path, architecture: str | None, names: tuple[str, ...]) -> None:
        """Prepare the folder.

        Args:
            folder: For lists and packages.
            architecture: Debian's name of another processor, none of whose packages is installed;
                None for this machine and what is not installed there.
            names: The packages.
        """
        self._names, self._archives = names, folder / "archives"
        for name in ("lists/partial", "archives/partial", "none"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        values = {
            "Dir::State::Lists": folder / "lists",
            "Dir::Cache": folder,
            "Dir::Cache::Archives": self._archives,
            "Acquire::Languages": "none",
            "APT::Install-Recommends": "false",
            # As root, apt would download as the user _apt, who may not write into this folder.
            "APT::Sandbox::User": "root",
            "Debug::NoLocking": "true",
        }
        if architecture is not None:
            values |= {
                "APT::Architecture": architecture,
                "APT::Architectures": architecture,
                "Dir::State::Status": folder / "status",
            }
        self._options = [word for name, one in values.items() for word in ("-o", f"{name}={one}")]
        self._empty = ("-o", f"Dir::Cache::Archives={folder / 'none'}")

    def update(self) -> None:
        """Fetch the lists of the mirrors that this machine is set up for; apt checks who signed.

        Raises:
            DeviceError: They cannot be fetched.
        """
        advice = "Check the network, and the mirrors in /etc/apt (`sudo apt-get update`)."
        _run("apt-get", "-qq", *self._options, "update", advice=advice)

    @functools.cached_property
    def _plan(self) -> dict[str, int]:
        """The size of each package by the name of its file."""
        advice = f"The mirrors in /etc/apt must be of Debian {_DEBIAN}."
        command = ("apt-get", "-qq", "--yes", *self._options, *self._empty)
        listed = _run(*command, "install", "--print-uris", *self._names, advice=advice)
        return {name: int(size) for name, size in re.findall(r"^'\S+' (\S+) (\d+) ", listed, re.M)}

    def packages(self) -> list[Path]:
        """Return the packages' files."""
        return [self._archives / name for name in self._plan]

    def missing_bytes(self) -> int:
        """Return the size of those that have not been fetched."""
        return sum(
            size for name, size in self._plan.items() if not (self._archives / name).exists()
        )

    def download(self, on_progress: Callable[[float], object]) -> None:
        """Fetch the packages; apt checks their hashes.

        Args:
            on_progress: Called with the percentage.

        Raises:
            DeviceError: One cannot be fetched.
        """
        reading, writing = os.pipe()
        command = ("apt-get", "-qq", "--yes", *self._options, "-o", f"APT::Status-Fd={writing}")
        with tempfile.TemporaryFile() as errors, os.fdopen(reading, encoding="utf-8") as status:
            with subprocess.Popen(  # noqa: S603 (apt-get, and no shell)
                [*command, "--download-only", "install", *self._names],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=[writing],
            ) as apt:
                os.close(writing)
                for line in status:
                    if match := re.match(r"dlstatus:\d+:([\d.]+):", line):
                        on_progress(float(match[1]))
            errors.seek(0)
            text = errors.read().decode("utf-8", "replace")
        if apt.returncode or self.missing_bytes():
            lines = [line for line in text.splitlines() if line.startswith("E:")] or [text.strip()]
            raise DeviceError(
                f"apt-get cannot fetch {', '.join(self._names)}: {printable(lines[-1])} Check the "
                "network and try again; what has been fetched is kept."
            )
