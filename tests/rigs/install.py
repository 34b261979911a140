"""Install a rig: packages of Debian, Maven and PyPI, unpacked into a folder, and small C libraries.

The folder is `.rigs` in the project, or `ALBERT_EDGE_RIGS_DIR`. Where `ALBERT_EDGE_RIGS` is
`required`, as in continuous integration, a test fails without its rig instead of being skipped.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
_COPY = """<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><packaging>pom</packaging>
<groupId>rigs</groupId><artifactId>rigs</artifactId><version>1</version>
<build><plugins><plugin>
<groupId>org.apache.maven.plugins</groupId><artifactId>maven-dependency-plugin</artifactId>
<version>3.8.1</version><configuration><artifactItems>{items}</artifactItems></configuration>
</plugin></plugins></build></project>
"""
_COORDINATES = ("groupId", "artifactId", "version", "type", "classifier")
# As in `android_demo/.mvn`: half the CPU time of a JVM that runs for seconds.
SHORT_JVM = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")

# Of the machine that the rig runs on: Python has loaded them before it can load a rig's. Those for
# another processor are none of these.
_OF_THE_MACHINE = re.compile(r"lib(c6|gcc|stdc\+\+|32)(?!.*-cross).*")


class RigError(Exception):
    """A rig cannot be installed, or the child process that runs a file on it died."""


@dataclass(frozen=True, kw_only=True)
class Rig:
    """What is installed, and how.

    Attributes:
        name: Name on the command line, and first part of the folder's name.
        what: One line on what it is.
        build: Function that fills the folder.
        sources: Files beside this one, or absolute paths, whose change makes the rig be built anew.
        version: Number to raise when `build` changes.
    """

    name: str
    what: str
    build: Callable[[Path], None] = field(repr=False)
    sources: tuple[str, ...] = ()
    version: int = 1

    @property
    def path(self) -> Path:
        """The folder of this version of the rig."""
        digest = hashlib.sha256(str(self.version).encode())
        for name in self.sources:
            digest.update((HERE / name).read_bytes())
        return rigs_folder() / f"{self.name}-{digest.hexdigest()[:8]}"

    @property
    def lock(self) -> Path:
        """The file that is locked while it is built."""
        return rigs_folder() / f"{self.name}.lock"

    @property
    def installed(self) -> bool:
        """Whether the folder is whole: the mark is written last."""
        return (self.path / "installed").exists()

    def install(self) -> None:
        """Build the rig where it is missing; two processes at a time take turns.

        Raises:
            RigError: if a program is missing or failed.
        """
        if self.installed:
            return
        with taking_turns(self.lock):
            if self.installed:  # by the process that was before
                return
            shutil.rmtree(self.path, ignore_errors=True)  # what an interrupted build left
            self.path.mkdir()
            self.build(self.path)
            (self.path / "installed").touch()

    def require(self) -> Path:
        """Return the folder, or skip the running test, or fail it where rigs are required."""
        if self.installed:
            return self.path
        message = (
            f"{self.what} is missing: install it by `python -m tests.rigs install {self.name}`"
        )
        import pytest  # Maven's build runs before Python's packages are installed.

        if os.environ.get("ALBERT_EDGE_RIGS") == "required":
            pytest.fail(f"{message} (ALBERT_EDGE_RIGS is `required`)", pytrace=False)
        return pytest.skip(message)


def rigs_folder() -> Path:
    """Return where rigs are installed."""
    return Path(os.environ.get("ALBERT_EDGE_RIGS_DIR") or HERE.parents[1] / ".rigs").resolve()


@contextmanager
def taking_turns(path: Path) -> Iterator[None]:
    """Let one process at a time build what the lock at `path` is for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def call(
    *command: str | Path,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program, in a folder and an environment of its own, and return what it printed.

    Raises:
        RigError: if the program is missing, or failed; with what it printed.
    """
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise RigError(f"{command[0]} is missing: install it to build this rig") from error
    if done.returncode:
        line = " ".join(map(str, command))
        raise RigError(f"`{line}` failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def debian(folder: Path, *names: str, dependencies: bool = False, suite: str | None = None) -> None:
    """Unpack Debian packages into `folder`, and those of their dependencies that are missing here.

    Nothing is installed, so no root is needed: `apt-get download` and `dpkg-deb --extract`.

    Args:
        folder: Where to.
        names: The packages.
        dependencies: Whether to unpack dependencies too.
        suite: A suite that this machine's apt is not set up for, such as `bookworm-backports`; its
            lists are fetched into a temporary folder.
    """
    if suite is not None:
        with tempfile.TemporaryDirectory() as lists, _suite(Path(lists), suite) as options:
            _download(folder, names, *options)
        return
    wanted = set(names)
    if dependencies:
        plan = _apt("install", "--simulate", "--no-install-recommends", *names)
        missing = re.findall(r"^Inst (\S+)", plan, re.MULTILINE)
        wanted |= {name for name in missing if not _OF_THE_MACHINE.fullmatch(name)}
    _download(folder, sorted(wanted))


def _download(folder: Path, names: Iterable[str], *options: str) -> None:
    turn = taking_turns(rigs_folder() / "apt.lock")
    with turn, tempfile.TemporaryDirectory() as downloads:
        _apt(*options, "download", *names, folder=Path(downloads))
        for package in Path(downloads).glob("*.deb"):
            call("dpkg-deb", "--extract", package, folder)


@contextmanager
def _suite(lists: Path, suite: str) -> Iterator[list[str]]:
    """Fetch the lists of a suite of the mirror that apt has; yield the options that use them."""
    codename = suite.partition("-")[0]
    listed = _apt("indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages")
    mirrors = [line.split()[0] for line in listed.splitlines() if line.endswith(f" {codename}")]
    if not mirrors:
        raise RigError(f"apt is set up for no mirror of Debian {codename}")
    for name in ("state/partial", "cache/archives/partial"):
        (lists / name).mkdir(parents=True)
    (lists / "sources.list").write_text(
        f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
        f"{mirrors[0]} {suite} main\n"
    )
    values = {
        "Dir::Etc::sourcelist": lists / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": lists / "state",
        "Dir::Cache": lists / "cache",
    }
    options = [word for name, value in values.items() for word in ("-o", f"{name}={value}")]
    _apt(*options, "update")
    yield options


def _apt(*arguments: str, folder: Path | None = None) -> str:
    # Downloads by root would run as the user _apt, who may not write into a private folder.
    try:
        return call("apt-get", "-qq", "-o", "APT::Sandbox::User=root", *arguments, folder=folder)
    except RigError as error:
        raise RigError(f"{error}\nIf packages are not found, run `apt-get update` first") from None


def maven(folder: Path, members: Mapping[str, str]) -> list[Path]:
    """Unpack one member of each of some artifacts, and return where they are.

    Args:
        folder: Where to.
        members: The member by the artifact, such as `org.tensorflow:tensorflow-lite:2.16.1:aar`.
    """
    with tempfile.TemporaryDirectory() as downloads:
        archives = maven_archives(Path(downloads), *members)
        for archive, member in zip(archives, members.values(), strict=True):
            with zipfile.ZipFile(archive) as opened:
                (folder / Path(member).name).write_bytes(opened.read(member))
    return [folder / Path(member).name for member in members.values()]


def maven_headers(folder: Path, artifact: str) -> None:
    """Unpack the C headers of an AAR, such as `tensorflow/lite/c/c_api.h`, below `folder`."""
    with (
        tempfile.TemporaryDirectory() as downloads,
        zipfile.ZipFile(*maven_archives(Path(downloads), artifact)) as opened,
    ):
        names = [name for name in opened.namelist() if name.startswith("headers/")]
        opened.extractall(downloads, names)
        shutil.copytree(Path(downloads) / "headers", folder, dirs_exist_ok=True)


def maven_archives(folder: Path, *artifacts: str) -> list[Path]:
    """Fetch artifacts, such as `group:name:version[:type[:classifier]]`; return their paths.

    One call of Maven fetches all of them into `folder`.
    """
    parts = [(a if a.count(":") > 2 else f"{a}:jar").split(":") for a in artifacts]
    items = "".join(f"<artifactItem>{_elements(part)}</artifactItem>" for part in parts)
    with tempfile.TemporaryDirectory() as project, taking_turns(maven_lock()):
        (Path(project) / ".mvn").mkdir()
        (Path(project) / ".mvn/jvm.config").write_text(" ".join(SHORT_JVM))
        (Path(project) / "pom.xml").write_text(_COPY.format(items=items))
        options = ("-q", "-B", f"-DoutputDirectory={folder}")
        call("mvn", *options, "dependency:copy", folder=Path(project))
    return [folder / f"{'-'.join((*part[1:3], *part[4:]))}.{part[3]}" for part in parts]


def _elements(coordinates: Iterable[str]) -> str:
    return "".join(
        f"<{name}>{value}</{name}>" for name, value in zip(_COORDINATES, coordinates, strict=False)
    )


def maven_lock() -> Path:
    """Return what is locked while Maven runs: two at a time might spoil each other's downloads."""
    return rigs_folder() / "maven.lock"


def compile_c(source: str, library: Path, *options: str | Path) -> None:
    """Compile a C file beside this one into a shared library with its own name as soname."""
    soname = f"-Wl,-soname,{library.name}"
    call("gcc", "-O1", "-Wall", "-shared", "-fPIC", soname, "-o", library, HERE / source, *options)


def old_python() -> Path:
    """Return a Python 3.10 or 3.11, the newest that packages of 2023 have wheels for.

    Raises:
        RigError: if there is none.
    """
    found = sys.executable if sys.version_info < (3, 12) else None
    found = found or next(filter(None, map(shutil.which, ("python3.11", "python3.10"))), None)
    if found is None:
        raise RigError("this rig needs Python 3.10 or 3.11: install python3.11")
    return Path(found)


def virtual_environment(folder: Path, python: Path, *packages: str) -> None:
    """Make a virtual environment of `python` with packages of PyPI."""
    call(python, "-m", "venv", folder)
    call(folder / "bin/python", "-m", "pip", "install", "-q", *packages)
