"""Reach a phone with adb: its address, the adb program, commands on the phone, and a folder there.

A process on the phone owns the folder.  It removes the folder when its standard input ends: when
the host disconnects, when the host's process is killed, and when the cable is pulled.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from albert_edge.errors import ConfigError, DeviceError, printable

FORM = "adb://[SERIAL][?cores=N,...][&adb=PATH]"
# A serial as `adb devices` prints it: of a USB device, HOST:PORT, or an mDNS name, which may
# contain spaces: "adb-0A1B-c2d3 (2)._adb-tls-connect._tcp".
_ADDRESS = re.compile(r"adb://(?P<serial>[^-\s?/\0][^?/\0\n]*)?/?(?:\?(?P<options>[^\0\n]+))?")
_CORES = "cores=([0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*)"
# Either order; a path may contain anything.
_OPTIONS = re.compile(rf"{_CORES}(?:&adb=(.+))?|adb=(.+?)(?:&{_CORES})?")
_MAX_CORE = 1023
_FOLDER = "/data/local/tmp"  # where adb's user may write and run files
_LISTING = "List of devices attached"
_COMMAND_S = 60.0  # for a command that does not measure
_START_S = 60.0  # for adb's server, which the first command starts
_MIN_BYTES_PER_S = 200_000  # over a slow Wi-Fi
_BREAK_S = 0.5
_END_S = 5.0  # for a process that has been told to end
_MAX_CHARACTERS = 300  # of adb's own message
# What makes a folder, prints its name, and removes it when standard input ends.  The folder's name
# ends in the number of this process: folders of earlier ones, such as those that the phone's own
# restart left, go too.  Without the signals the removal is not cut short.
_KEEPER = """trap '' HUP INT TERM PIPE
for old in {base}/albert-edge-*.*; do
  if [ -d "$old" ] && ! kill -0 "${{old##*.}}" 2>/dev/null; then rm -rf "$old"; fi
done
folder={base}/albert-edge-{random}.$$
mkdir -m 700 "$folder" || exit 1
echo "$folder"
cat >/dev/null
rm -rf "$folder" 2>/dev/null || {{ sleep 1; rm -rf "$folder"; }}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdbAddress:
    """The address of a phone, and how to use it.

    Attributes:
        text: The address as the user gave it.
        serial: The phone's serial as adb prints it; None for the only phone.
        cores: The numbers of the cores to run on; empty for all.
        program: The adb program to use; None to search for it.
    """

    text: str
    serial: str | None = None
    cores: tuple[int, ...] = ()
    program: str | None = None


def parse_address(text: str) -> AdbAddress:
    """Parse an address such as `adb://192.168.1.5:5555?cores=4-7&adb=~/platform-tools/adb`.

    Raises:
        ConfigError: It is malformed.
    """
    match = _ADDRESS.fullmatch(text)
    options = match and _OPTIONS.fullmatch(match["options"] or "adb=?")
    first, path, other_path, last = options.groups() if options else (None,) * 4
    cores = _parse_cores(first or last or "")
    unusable = len(set(cores)) < len(cores) or max(cores, default=0) > _MAX_CORE
    if match is None or options is None or unusable:
        raise ConfigError(
            f"{printable(text)!r} is not the address of a phone; write {FORM}, such as adb:// for "
            "the only one, adb://192.168.1.5:5555 or 'adb://R58M12ABCDE?cores=4-7'. `adb devices` "
            "lists the serials."
        )
    program = (path or other_path) if match["options"] else None
    return AdbAddress(text=text, serial=match["serial"], cores=cores, program=program)


def _parse_cores(text: str) -> tuple[int, ...]:
    cores: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        # One beyond the largest is refused; a long range must not fill the memory first.
        cores += range(int(first), min(int(last or first), _MAX_CORE + 1) + 1) or (_MAX_CORE + 1,)
    return tuple(cores)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a process ended.

    Attributes:
        returncode: Its exit code; None if it took too long and was ended.
        stdout: All of its standard output.
        stderr: All of its standard error.
    """

    returncode: int | None
    stdout: bytes
    stderr: bytes

    @property
    def message(self) -> str:
        """The line that it calls an error, or the last one, standard error first."""
        text = (self.stderr.strip() or self.stdout.strip()).decode("utf-8", "replace")
        lines = text.splitlines() or ["it wrote nothing"]
        line = next((one for one in lines if "error: " in one), lines[-1])
        return printable(line.removeprefix("adb: ").removeprefix("error: "))[:_MAX_CHARACTERS]


class Phone:
    """A phone that adb reaches, and a folder there.

    Attributes:
        name: Its address, for messages.
        folder: The folder, which only adb's user can read.
    """

    def __init__(self, name: str, program: str, serial: str) -> None:
        """Make the folder.

        Raises:
            DeviceError: It cannot be made.
        """
        self.name = name
        self._command = [program, "-s", serial]
        self._lost_reason: str | None = None
        random = secrets.token_hex(4)
        script = _KEEPER.format(base=_FOLDER, random=random)
        self._keeper = _start([*self._command, "shell", "-T", script])
        try:
            self.folder = self._read_folder(random)
        except BaseException:
            self.close()
            raise

    def _read_folder(self, random: str) -> str:
        assert self._keeper.stdout is not None  # noqa: S101 (it is a pipe)
        alarm = threading.Timer(_COMMAND_S, self._keeper.kill)
        alarm.start()
        line = self._keeper.stdout.readline().decode("utf-8", "replace").strip()
        alarm.cancel()
        if re.fullmatch(rf"{_FOLDER}/albert-edge-{random}\.\d+", line):
            return line
        _, errors = self._keeper.communicate()
        finished = Finished(returncode=self._keeper.returncode, stdout=line.encode(), stderr=errors)
        raise DeviceError(f"cannot make a folder in {_FOLDER} of {self.name}: {finished.message}.")

    def shell(self, script: str, *, line: bytes = b"", timeout_s: float = _COMMAND_S) -> Finished:
        """Run a script by the phone's shell.

        Args:
            script: The script; whoever writes it quotes what it contains.
            line: A line for its standard input, which stays open until the process ends.
            timeout_s: Seconds after which it is ended.

        Raises:
            DeviceError: The connection is lost.
        """
        return self._run("shell", "-T", script, line=line, timeout_s=timeout_s)

    def push(self, source: Path, name: str) -> str:
        """Copy a file into the folder, and return its path there.

        Raises:
            DeviceError: It cannot be copied, or the connection is lost.
        """
        target = f"{self.folder}/{name}"
        size = source.stat().st_size
        # adb takes an absolute path as a file's, whatever it contains.
        timeout_s = _COMMAND_S + size / _MIN_BYTES_PER_S
        done = self._run("push", os.path.abspath(source), target, timeout_s=timeout_s)  # noqa: PTH100 (`resolve` would follow a link to another name)
        if done.returncode != 0:
            self.shell(f"rm -f {shlex.quote(target)}")
            free = self._free_bytes()
            space = "" if free is None else f" {self.name} has {free / 1e6:.1f} MB free there;"
            raise DeviceError(
                f"cannot copy {name} ({size / 1e6:.1f} MB) to {self.folder}: {done.message}."
                f"{space} remove what is not needed from the phone, and try again."
            )
        return target

    def _free_bytes(self) -> int | None:
        """Return how much fits into the folder, as `df` prints it in kilobytes."""
        done = self.shell(f"df -k {shlex.quote(self.folder)}")
        columns = done.stdout.decode("utf-8", "replace").strip().rpartition("\n")[2].split()
        return int(columns[3]) * 1024 if len(columns) > 3 and columns[3].isdecimal() else None

    def _run(self, *arguments: str, line: bytes = b"", timeout_s: float) -> Finished:
        if self._lost_reason is not None:
            raise self._lost()
        done = _finish([*self._command, *arguments], line=line, timeout_s=timeout_s)
        if done.returncode != 0:
            self.check_connection(done)
        return done

    def check_connection(self, done: Finished) -> None:
        """Check that the folder's own connection stands, when a process did not end as it should.

        adb's exit code may be 0 when the phone is gone.

        Raises:
            DeviceError: It does not.
        """
        with suppress(subprocess.TimeoutExpired):
            # A connection that breaks ends the processes one after another.
            self._keeper.wait(_BREAK_S)
        if self._keeper.poll() is not None:
            self._lost_reason = done.message if done.returncode else "adb has closed it"
            raise self._lost()

    def _lost(self) -> DeviceError:
        return DeviceError(
            f"the connection to {self.name} is lost ({self._lost_reason}). Completed measurements "
            "are saved in the file of --json, if given, and --resume continues later."
        )

    def close(self) -> None:
        """Let the phone remove the folder; never raises."""
        _end(self._keeper)


def open_phone(address: AdbAddress) -> Phone:
    """Open the phone at an address.

    Raises:
        DeviceError: adb is not installed, or the phone cannot be used.
    """
    program = find_adb(address)
    serial = choose_serial(address, list_devices(program))
    features = _finish([program, "-s", serial, "features"], timeout_s=_COMMAND_S)
    if features.returncode != 0:
        raise DeviceError(f"{address.text} cannot be used: {features.message}.")
    if b"shell_v2" not in features.stdout.split():
        raise DeviceError(
            f"{address.text} is too old: its adb returns no exit codes, as it does from Android 7 "
            "on."
        )
    return Phone(address.text, program, serial)


def find_adb(address: AdbAddress) -> str:
    """Find the adb program: the address's, or on the path, or in the Android SDK.

    Raises:
        DeviceError: There is none.
    """
    if address.program is not None:
        program = shutil.which(Path(address.program).expanduser())
        if program is None:
            raise DeviceError(f"there is no program {address.program}, which the address names.")
        return str(Path(program).absolute())
    homes = [os.environ.get(name) for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT")]
    tools = [str(Path(home, "platform-tools")) for home in homes if home]
    program = shutil.which("adb") or shutil.which("adb", path=os.pathsep.join(tools) or os.devnull)
    if program is None:
        raise DeviceError(
            "adb is not installed: it is neither on the path nor in the platform-tools of "
            "ANDROID_HOME. Install it (Debian: apt install adb; or the SDK Platform-Tools of "
            f"Android), or name it: --device '{address.text.partition('?')[0]}?adb=PATH'."
        )
    return str(Path(program).absolute())


def list_devices(program: str) -> dict[str, str]:
    """List the state of each device by its serial, starting adb's server if none runs.

    Raises:
        DeviceError: adb fails.
    """
    done = _finish([program, "devices"], timeout_s=_START_S)
    _, found, listed = done.stdout.decode("utf-8", "replace").partition(_LISTING)
    if done.returncode != 0 or not found:
        ending = done.message if done.returncode is not None else f"no reply in {_START_S:g} s"
        raise DeviceError(f"{program} devices failed: {ending}.")
    lines = (line.partition("\t") for line in listed.splitlines())
    return {serial: state.strip() for serial, tab, state in lines if tab}


def choose_serial(address: AdbAddress, devices: Mapping[str, str]) -> str:
    """Choose the phone of an address among those that adb lists, by their states.

    Raises:
        DeviceError: It is not there or not ready, or the address names none and there are several.
    """
    ready = [serial for serial, state in devices.items() if state == "device"]
    listed = ", ".join(f"{serial} ({state})" for serial, state in devices.items())
    if address.serial is not None:
        if address.serial not in devices:
            network = f" Over the network: adb connect {shlex.quote(address.serial)}."
            raise DeviceError(
                f"adb finds no phone {address.serial}; it lists {listed or 'none'}. Connect it and "
                "allow USB debugging (Settings, Developer options)."
                + (network if ":" in address.serial else "")
            )
        serial = address.serial
    elif len(ready) > 1:
        choices = ", ".join(f"adb://{serial}" for serial in ready)
        raise DeviceError(f"adb finds {len(ready)} phones; choose one with --device: {choices}.")
    elif not devices:
        raise DeviceError(
            "adb finds no phone: connect one by USB and allow USB debugging (Settings, Developer "
            "options), or over the network with adb connect HOST:PORT. `adb devices` must list it."
        )
    else:
        serial = ready[0] if ready else next(iter(devices))
    if devices[serial] != "device":
        raise DeviceError(f"{serial} is not ready: {_explain_state(devices[serial])}")
    return serial


def _explain_state(state: str) -> str:
    if state == "unauthorized":
        return (
            "it has not allowed this computer (unauthorized). Unlock it and accept the question "
            "about USB debugging; if there is none, pull the cable and connect it again."
        )
    if state == "offline":
        return (
            "it does not respond (offline). Connect the cable again, or over the network: adb "
            "disconnect, then adb connect HOST:PORT."
        )
    if state.startswith("no permissions"):
        return (
            f"this user may not open its USB device ({printable(state)}). Install the udev rules "
            "(Debian: android-sdk-platform-tools-common), join the group plugdev, and restart "
            "adb: adb kill-server."
        )
    if state in ("authorizing", "connecting"):
        return f"adb is still {state}; try again in a moment."
    return f"its state is {printable(state)!r}; start Android on it."


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    # In a session of its own, so that Control-C in a terminal does not end it: this process does.
    try:
        return subprocess.Popen(  # noqa: S603 (adb, and no shell on this machine)
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise DeviceError(f"cannot start {command[0]}: {error.strerror}.") from error


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let a process end by the end of its standard input, or kill it; never raises."""
    with suppress(OSError):
        assert process.stdin is not None  # noqa: S101 (it is a pipe)
        process.stdin.close()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _finish(command: list[str], *, line: bytes = b"", timeout_s: float) -> Finished:
    """Run a command to its end, with a line on its standard input, which stays open."""
    with TemporaryFile() as stdout, TemporaryFile() as stderr:
        try:
            process = subprocess.Popen(  # noqa: S603 (adb, and no shell on this machine)
                command,
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        except OSError as error:
            raise DeviceError(f"cannot start {command[0]}: {error.strerror}.") from error
        returncode: int | None = None
        try:
            assert process.stdin is not None  # noqa: S101 (it is a pipe)
            with suppress(BrokenPipeError):  # it has ended; its exit code tells why
                process.stdin.write(line)
                process.stdin.flush()
            with suppress(subprocess.TimeoutExpired):
                returncode = process.wait(timeout_s)
        finally:
            _end(process)
        outputs = []
        for stream in (stdout, stderr):
            stream.seek(0)
            outputs.append(stream.read())
    return Finished(returncode=returncode, stdout=outputs[0], stderr=outputs[1])
