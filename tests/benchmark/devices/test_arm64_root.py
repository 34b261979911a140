"""`albert_edge.benchmark.devices.arm64_root`: what it says where a root cannot be made.

The `qemu` rig makes a whole one, which `test_qemu.py` uses.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from rich.progress import Progress

from albert_edge.benchmark.devices import arm64_root
from albert_edge.benchmark.devices.arm64_root import get_root
from albert_edge.errors import DeviceError

QUIET = Progress(disable=True)
DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n'


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an empty cache, and a Debian 12 whose programs are those in `programs`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    release = tmp_path / "os-release"
    release.write_text(DEBIAN)
    monkeypatch.setattr(arm64_root, "_RELEASE", release)
    (tmp_path / "programs").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    monkeypatch.delenv("CC", raising=False)
    return tmp_path


def add(machine: Path, *programs: str) -> None:
    for name in programs:
        found = shutil.which(name, path="/usr/bin:/bin:/usr/local/bin")
        if found is None:
            pytest.skip(f"{name} is not installed")
        (machine / "programs" / name).symlink_to(found)


@pytest.mark.parametrize(
    ("release", "named"),
    [
        ('PRETTY_NAME="Fedora Linux 43"\nID=fedora\nVERSION_ID=43\n', "runs Fedora Linux 43"),
        ('PRETTY_NAME="Debian GNU/Linux 13"\nID=debian\nVERSION_ID="13"\n', "runs Debian GNU/L"),
        (None, "runs linux"),
    ],
)
def test_another_system_is_named(machine: Path, release: str | None, named: str) -> None:
    (machine / "os-release").unlink()
    if release is not None:
        (machine / "os-release").write_text(release)
    with pytest.raises(DeviceError, match=f"packages of Debian 12, and this machine {named}"):
        get_root(QUIET)


def test_without_apt(machine: Path) -> None:
    with pytest.raises(DeviceError, match="apt-get is missing here"):
        get_root(QUIET)


def test_without_a_compiler(machine: Path) -> None:
    add(machine, "apt-get", "dpkg-deb")
    with pytest.raises(DeviceError, match="no C compiler: install one: sudo apt-get install gcc"):
        get_root(QUIET)


def test_a_compiler_that_fails(machine: Path) -> None:
    (machine / "programs/cc").symlink_to("/bin/false")
    with pytest.raises(DeviceError, match=r"cc failed: nothing\. It builds the plugin"):
        arm64_root._build_plugin(machine / "plugin.so")


def test_a_runtime_that_is_not_installed(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(machine, "apt-get", "dpkg-deb", "gcc")
    monkeypatch.setattr(arm64_root, "_WHEELS", ("no-such-package",))
    with pytest.raises(DeviceError, match="the same no-such-package as this machine"):
        get_root(QUIET)


def test_mirrors_that_cannot_be_read_leave_nothing(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(machine, "apt-get", "dpkg-deb", "gcc", "dpkg")
    (machine / "sources").mkdir()
    (machine / "sources/only.list").write_text(f"deb file:{machine}/missing bookworm main\n")
    (machine / "apt.conf").write_text(
        f'Dir::Etc::SourceList "/dev/null";\nDir::Etc::SourceParts "{machine}/sources";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(machine / "apt.conf"))
    with pytest.raises(DeviceError, match=r"apt-get failed: E: .*Check the network, and the"):
        get_root(QUIET)
    kept = {path.name for path in (machine / "cache/albert_edge/arm64").iterdir()}
    assert kept == {"lock", "downloads"}


def test_a_wheel_that_pip_cannot_find(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(DeviceError, match=r"pip failed: ERROR: .*aarch64 wheel of numpy==9"):
        arm64_root._fetch_wheel("numpy==9.9.9", machine / "wheels")


def test_a_cache_that_cannot_be_written(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(machine, "apt-get", "dpkg-deb", "gcc")
    (machine / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(machine / "file"))
    with pytest.raises(DeviceError, match=r"cannot make .*/file/albert_edge/arm64/root-.*: Not a"):
        get_root(QUIET)
