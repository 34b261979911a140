"""The address of a phone, and what adb says of phones that cannot be used.

A rig has phones that work (`test_adb`); here a script prints what adb prints of others.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.benchmark.devices.adb_connection import (
    AdbAddress,
    choose_serial,
    find_adb,
    list_devices,
    open_phone,
    parse_address,
)
from albert_edge.errors import ConfigError, DeviceError

MDNS = "adb-R58M12ABCDE-x7Pq2z (2)._adb-tls-connect._tcp"


@pytest.mark.parametrize(
    ("text", "serial", "cores", "program"),
    [
        ("adb://", None, (), None),
        ("adb://R58M12ABCDE", "R58M12ABCDE", (), None),
        ("adb://192.168.1.5:5555", "192.168.1.5:5555", (), None),
        ("adb://[fe80::1]:5555", "[fe80::1]:5555", (), None),
        ("adb://emulator-5554/", "emulator-5554", (), None),
        (f"adb://{MDNS}", MDNS, (), None),
        ("adb://?cores=4-7", None, (4, 5, 6, 7), None),
        ("adb://a?cores=0,2,6-7&adb=~/it's my/adb", "a", (0, 2, 6, 7), "~/it's my/adb"),
        ("adb://a?adb=/opt/a & b?/adb&cores=1", "a", (1,), "/opt/a & b?/adb"),
        ("adb://a?adb=/opt/a&cores=x", "a", (), "/opt/a&cores=x"),
    ],
)
def test_an_address_is_parsed(
    text: str, serial: str | None, cores: tuple[int, ...], program: str | None
) -> None:
    assert parse_address(text) == AdbAddress(text=text, serial=serial, cores=cores, program=program)


@pytest.mark.parametrize(
    "text",
    [
        *("adb:", "adb:/a", "adb://-s", "adb://a b/c", "adb://a?", "adb://a?python=b", "adb:// a"),
        *("adb://a?cores=", "adb://a?cores=4-", "adb://a?cores=7-4", "adb://a?cores=1,1"),
        *("adb://a?cores=1024", "adb://a?cores=0-999999999999", "adb://a?adb=", "adb://a\nb"),
        *("adb://a?cores=1&", "adb://a?cores=1&x=2", "adb://a?cores=1cores=2", "adb://a?&cores=1"),
    ],
)
def test_a_malformed_address(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not the address of a phone; write adb://\[SERIAL\]"):
        parse_address(text)


@given(st.text())
def test_any_address_is_parsed_or_refused(text: str) -> None:
    try:
        parsed = parse_address(f"adb://{text}")
    except ConfigError:
        return
    assert parsed.serial is None or not parsed.serial.startswith("-")


@pytest.fixture
def make_adb(tmp_path: Path) -> Callable[..., AdbAddress]:
    """A function that makes an adb which lists devices and does else what a script says.

    It returns the address that names it.
    """

    def make(
        *devices: str, script: str = "exit 1", features: str = "shell_v2\ncmd", serial: str = ""
    ) -> AdbAddress:
        folder = tmp_path / "it's $HOME"
        folder.mkdir(exist_ok=True)
        listed = "\n".join(["List of devices attached", *devices, ""])
        (folder / "adb").write_text(
            '#!/bin/sh\ncase "$*" in\n'
            f"devices) printf '%s\\n' {shlex.quote(listed)}; exit 0 ;;\n"
            f"*features) printf '%s\\n' {shlex.quote(features)}; exit 0 ;;\nesac\n{script}\n"
        )
        (folder / "adb").chmod(0o755)
        return parse_address(f"adb://{serial}?adb={folder / 'adb'}")

    return make


NONE = r"adb finds no phone: connect one by USB and allow USB debugging"


@pytest.mark.parametrize(
    ("devices", "serial", "message"),
    [
        ([], "", NONE),
        (["* daemon not running; starting now at tcp:5037", "* daemon started"], "", NONE),
        ([], "R5", "adb finds no phone R5; it lists none"),
        ([], "10.0.0.7:5555", r"Over the network: adb connect 10\.0\.0\.7:5555\."),
        (["R6\tdevice"], "R5", r"adb finds no phone R5; it lists R6 \(device\)"),
        (["R5\tdevice", f"{MDNS}\tdevice"], "", rf"adb finds 2 phones; .*: adb://R5, adb://{'.'}+"),
        (["R5\tunauthorized"], "", r"R5 is not ready: .*\(unauthorized\)\. Unlock it and accept"),
        (
            ["R5\toffline", "R6\tdevice"],
            "R5",
            r"R5 is not ready: .*\(offline\)\. Connect the cable",
        ),
        (["R5\tauthorizing"], "", r"adb is still authorizing; try again"),
        (["R5\trecovery"], "", r"its state is 'recovery'; start Android on it"),
        (
            ["R5\tno permissions (user in plugdev group; are your udev rules wrong?)"],
            "R5",
            r"this user may not open its USB device .*Install the udev rules",
        ),
    ],
)
def test_a_phone_that_is_not_there_or_not_ready(
    devices: list[str], serial: str, message: str, make_adb: Callable[..., AdbAddress]
) -> None:
    with pytest.raises(DeviceError, match=message):
        open_phone(make_adb(*devices, serial=serial))


def test_the_only_phone_that_is_ready_is_chosen_and_names_may_have_spaces() -> None:
    devices = {"R5": "offline", MDNS: "device", "R6": "unauthorized"}
    assert choose_serial(parse_address("adb://"), devices) == MDNS
    assert choose_serial(parse_address(f"adb://{MDNS}"), devices) == MDNS


def test_an_old_phone(make_adb: Callable[..., AdbAddress]) -> None:
    with pytest.raises(DeviceError, match=r"is too old: .* from Android 7 on"):
        open_phone(make_adb("R5\tdevice", features="cmd\nstat_v2"))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "echo 'error: closed' >&2; exit 1",
            r"cannot make a folder in /data/local/tmp .*: closed\.",
        ),
        ("echo \"mkdir: '/data': Read-only file system\" >&2; exit 1", "Read-only file system"),
        ("echo /data/local/tmp/another; exit 1", "/data/local/tmp/another"),
        ("exit 1", "it wrote nothing"),
    ],
)
def test_a_folder_that_cannot_be_made(
    script: str, message: str, make_adb: Callable[..., AdbAddress]
) -> None:
    with pytest.raises(DeviceError, match=message):
        open_phone(make_adb("R5\tdevice", script=script))


# Does on this machine what the phone's shell does: it prints the name of the folder, and waits.
KEEPER = """case "$*" in
*mkdir*)
  name=$(printf '%s' "$5" | sed -n 's/^folder=.*albert-edge-\\([0-9a-f]*\\).*/\\1/p')
  echo "/data/local/tmp/albert-edge-$name.7"
"""


def test_a_phone_that_goes_away_is_lost_for_good(make_adb: Callable[..., AdbAddress]) -> None:
    gone = f"{KEEPER} exit 255 ;;\nesac\necho \"error: device 'R5' not found\" >&2; exit 1"
    phone = open_phone(make_adb("R5\tdevice", script=gone))
    assert phone.folder.endswith(".7")
    for _ in range(2):
        with pytest.raises(DeviceError, match=r"is lost \(device 'R5' not found\).* --resume cont"):
            phone.shell("true")
    phone.close()
    phone.close()  # once more does no harm


def test_a_command_that_takes_too_long_is_ended(make_adb: Callable[..., AdbAddress]) -> None:
    slow = f"{KEEPER} exec cat >/dev/null ;;\nesac\nexec cat >/dev/null"
    phone = open_phone(make_adb("R5\tdevice", script=slow))
    assert phone.shell("x", timeout_s=0.2).returncode is None
    phone.close()


def test_a_command_that_fails_does_not_lose_the_phone(make_adb: Callable[..., AdbAddress]) -> None:
    script = f"{KEEPER} exec cat >/dev/null ;;\nesac\necho out; echo err >&2; exit 5"
    phone = open_phone(make_adb("R5\tdevice", script=script))
    done = phone.shell("x", line=b"in")
    assert (done.returncode, done.stdout, done.stderr) == (5, b"out\n", b"err\n")
    phone.close()


def test_adb_that_fails(make_adb: Callable[..., AdbAddress], tmp_path: Path) -> None:
    program = tmp_path / "adb"
    program.write_text("#!/bin/sh\necho '* failed to start daemon' >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(DeviceError, match=r"adb devices failed: \* failed to start daemon\."):
        list_devices(str(program))
    program.write_text("no program")
    with pytest.raises(DeviceError, match=r"cannot start .*adb: Exec format error"):
        list_devices(str(program))


def test_adb_is_found_on_the_path_then_in_the_sdk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_adb: Callable[..., AdbAddress]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("ANDROID_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("ANDROID_SDK_ROOT", str(tmp_path / "sdk"))
    address = parse_address("adb://?cores=1")
    with pytest.raises(DeviceError, match=r"adb is not installed: .*--device 'adb://\?adb=PATH'"):
        find_adb(address)
    made = Path(str(make_adb().program))
    for place in ("sdk/platform-tools/adb", "bin/adb"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_bytes(made.read_bytes())
        (tmp_path / place).chmod(0o755)
        assert find_adb(address) == str(tmp_path / place)
    assert find_adb(make_adb()) == str(made)
    monkeypatch.setenv("HOME", str(made.parent))
    assert find_adb(parse_address("adb://?adb=~/adb")) == str(made)
    with pytest.raises(DeviceError, match="there is no program /no/adb, which the address names"):
        find_adb(parse_address("adb://?adb=/no/adb"))
