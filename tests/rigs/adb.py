"""A phone without a phone: Debian's `adbd`, whose shell starts the worker in a desktop JVM.

adbd runs in namespaces of its own, without root: a network with nothing but itself, and a root
folder with `/data/local/tmp`. Programs of Android's shell are scripts on its path; `app_process`
starts the JVM on the worker's classes as R8 leaves them, with Android's own TensorFlow Lite.

    python -m tests.rigs.adb    # builds the worker, and writes its jar into the package
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import suppress
from pathlib import Path

from .android_project import PROJECT, built
from .gpu_delegate import ANDROID, MAKERS, OPENCL
from .install import Rig, RigError, call, compile_c, debian, maven_archives

SERIAL = "127.0.0.1:5555"
_JARS = ("android_worker", "worker_classes")
PACKED = Path(__file__).parents[2] / "albert_edge/benchmark/devices/android_worker.jar"
_ADBD = (
    *("adbd", "android-libbase", "android-libboringssl", "android-libcutils", "android-liblog"),
    "android-libziparchive",
)
_OF_ADBD = ("libprotobuf32", "liblz4-1", "libbrotli1", "libusb-1.0-0", "libzstd1")
_USED = re.compile(
    r"org/json/|android/util/(Json|MalformedJson)|com/android/internal/util/StringPool"
)
_FRAMEWORK = "org.robolectric:android-all:15-robolectric-12650502:jar"


def _build(folder: Path) -> None:
    debian(folder, *_ADBD, "adb", suite="bookworm-backports")
    debian(folder, *_OF_ADBD)
    compile_c("deepbind.c", folder / "deepbind.so", "-ldl")
    # What the library uses of Android's framework, of which the JVM has none.
    with (
        tempfile.TemporaryDirectory() as downloads,
        zipfile.ZipFile(*maven_archives(Path(downloads), _FRAMEWORK)) as framework,
        zipfile.ZipFile(folder / "framework.jar", "w") as kept,
    ):
        for name in framework.namelist():
            if _USED.match(name):
                kept.writestr(name, framework.read(name))


ADB = Rig(name="adb", what="a phone's adbd", build=_build, sources=("deepbind.c",), version=2)


def worker_jars() -> tuple[Path, Path]:
    """Return the worker's jar for a phone and that for a JVM, built by Maven from the sources.

    Raises:
        RigError: Maven is missing, or failed.
    """
    with built("worker"):
        phone, desktop = (PROJECT / "worker/target" / f"{name}.jar" for name in _JARS)
    return phone, desktop


# Makes a root folder of the machine's own and of /data/local/tmp, and starts adbd in it.
_START = """set -e
"$PYTHON" -c '
import fcntl, socket, struct
up = struct.pack("16sh14x", b"lo", 1)
fcntl.ioctl(socket.socket(), 0x8914, up)  # SIOCSIFFLAGS, IFF_UP
'
mount -t tmpfs -o mode=755 - "$ROOT"
for place in /*; do
  if [ -L "$place" ]; then cp -P "$place" "$ROOT$place"
  elif [ -d "$place" ] && [ "$place" != /data ]; then
    mkdir "$ROOT$place"; mount --rbind "$place" "$ROOT$place"
  fi
done
mkdir -p "$ROOT/data/local/tmp"
mount -t tmpfs -o "size=$SIZE" - "$ROOT/data/local/tmp"
exec chroot "$ROOT" "$ADBD"
"""
_APP_PROCESS = """#!/bin/sh
# Android's: `app_process DIR CLASS ARGUMENT...` on the dex of CLASSPATH.
[ -f "$CLASSPATH" ] || exit 1
shift
export LD_LIBRARY_PATH="$LD_LIBRARY_PATH":{libraries} LD_PRELOAD={preload}
{variables}
exec {java} -XX:TieredStopAtLevel=1 -cp {classes} "$@"
"""
_GETPROP = """#!/bin/sh
case "$1" in
{cases}
"") cat <<'END'
{listing}
END
;;
esac
"""
PROPERTIES = {
    "ro.product.cpu.abi": "x86_64",
    "ro.product.manufacturer": "Rig",
    "ro.product.model": "Phone 1",
    "ro.soc.manufacturer": "Maker",
    "ro.soc.model": "SM0",
    "ro.board.platform": "rig",
    "ro.build.version.release": "14",
    "ro.build.version.sdk": "34",
}
_DUMPSYS = """#!/bin/sh
# What an Android phone prints, shortened to what is read.
case "$1" in
battery) cat <<'END'
Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  status: 2
  level: 83
  scale: 100
  temperature: 291
END
;;
power) printf 'POWER MANAGER\\n  mWakefulness=%s\\n' "$(cat {folder}/wakefulness)" ;;
thermalservice) printf 'IsStatusOverride: false\\nThermal Status: %s\\n' 0 ;;
SurfaceFlinger) echo 'GLES: {gpu}, OpenGL ES 3.2 rig' ;;
*) echo "Can't find service: $1"; exit 1 ;;
esac
"""


class RigPhone:
    """A running adbd.

    Attributes:
        folder: What it needs.
        adb: The adb program that reaches it, a script.
        tmp: What is `/data/local/tmp` on the phone.
        bin: The folder of the programs of the phone's shell, first on its path.
    """

    def __init__(
        self, folder: Path, classes: Path, *, size: str = "512m", gpu: str | None = "mali"
    ) -> None:
        """Start adbd.

        Args:
            folder: An empty folder for what it needs.
            classes: A jar of the worker's classes for a JVM.
            size: How much fits into `/data/local/tmp`, as `mount` takes it.
            gpu: The maker of its GPU, of `MAKERS`; None for one that adb's user may not open.

        Raises:
            RigError: It does not start.
        """
        self.folder = folder
        self.classes = folder / "classes.jar"  # a copy of its own, so that its workers are known
        shutil.copy(classes, self.classes)
        self.bin = folder / "bin"
        for made in (self.bin, folder / "root", folder / "home"):
            made.mkdir()
        (folder / "wakefulness").write_text("Awake\n")
        self._write_programs(gpu)
        self._libraries = f"{ADB.path}/usr/lib/x86_64-linux-gnu"
        self._libraries += f":{self._libraries}/android"
        self._size = size
        # A name that a shell would take apart, were it not quoted.
        self.adb = folder / 'it\'s my $adb; "of" the rig'
        self.start()

    def start(self) -> None:
        """Start adbd, with nothing in `/data/local/tmp`."""
        tools = ADB.path / "usr/lib/android-sdk/platform-tools"
        with (self.folder / "adbd.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["unshare", "-rnm", "sh", "-c", _START],
                env={
                    **os.environ,
                    "PATH": f"{self.bin}:{os.environ['PATH']}",
                    "LD_LIBRARY_PATH": self._libraries,
                    "PYTHON": sys.executable,
                    "ROOT": str(self.folder / "root"),
                    "SIZE": self._size,
                    "ADBD": str(tools / "adbd"),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._write_adb(tools / "adb")
        self.tmp = Path(f"/proc/{self._process.pid}/root/data/local/tmp")
        self._await_adbd()

    def _write_programs(self, gpu: str | None) -> None:
        opencl = OPENCL.path / "usr/lib"
        libraries = [ANDROID.path]
        if gpu is not None:
            libraries += [OPENCL.path, opencl / "x86_64-linux-gnu", *opencl.glob("llvm-*/lib")]
        maker = MAKERS[gpu or "mali"]
        variables = {
            "RIGS_OPENCL_NAME": maker,
            "OCL_ICD_VENDORS": OPENCL.path / "vendors",
            "POCL_CACHE_DIR": OPENCL.path / "compiled",
        }
        program = _APP_PROCESS.format(
            libraries=shlex.quote(":".join(map(str, libraries))),
            preload=shlex.quote(str(ADB.path / "deepbind.so")),
            variables="\n".join(
                f"export {name}={shlex.quote(str(value))}" for name, value in variables.items()
            ),
            java=shlex.quote(shutil.which("java") or "java"),
            classes=shlex.quote(f"{self.classes}:{ADB.path / 'framework.jar'}"),
        )
        cases = "\n".join(f"{name}) echo '{value}' ;;" for name, value in PROPERTIES.items())
        listing = "\n".join(f"[{name}]: [{value}]" for name, value in PROPERTIES.items())
        programs = {
            "app_process": program,
            "getprop": _GETPROP.format(cases=cases, listing=listing),
            "dumpsys": _DUMPSYS.format(
                folder=shlex.quote(str(self.folder)), gpu=maker.replace(" ", ", ", 1)
            ),
        }
        for name, text in programs.items():
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)

    def _write_adb(self, program: Path) -> None:
        home = shlex.quote(str(self.folder / "home"))
        self.adb.write_text(
            f"#!/bin/sh\nexport HOME={home} ANDROID_USER_HOME={home}\n"
            f"export LD_LIBRARY_PATH={shlex.quote(self._libraries)}\n"
            f"exec nsenter -t {self._process.pid} -U --preserve-credentials -n "
            f'{shlex.quote(str(program))} "$@"\n'
        )
        self.adb.chmod(0o755)

    def _await_adbd(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._process.poll() is None:
            done = subprocess.run([self.adb, "connect", SERIAL], capture_output=True, text=True)
            if "connected to" in done.stdout:
                subprocess.run([self.adb, "-s", SERIAL, "wait-for-device"], timeout=20, check=True)
                return
            time.sleep(0.1)
        self.stop()
        raise RigError(f"adbd does not start:\n{(self.folder / 'adbd.log').read_text()}")

    def run_adb(self, *arguments: str) -> str:
        """Run an adb command and return what it printed."""
        return call(self.adb, *arguments)

    def pull_cable(self) -> None:
        """End adbd, as a connection ends whose cable is pulled."""
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def folders(self) -> list[Path]:
        """Return what is in `/data/local/tmp`; nothing once adbd has ended."""
        return sorted(self.tmp.iterdir()) if self.tmp.exists() else []

    def workers(self) -> list[int]:
        """Return the processes that measure."""
        classes = os.fsencode(self.classes)
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if classes in path.read_bytes():
                    found.append(int(path.parent.name))
        return found

    def stop(self) -> None:
        """End adb's server and adbd."""
        if self._process.poll() is None:
            subprocess.run([self.adb, "kill-server"], capture_output=True, check=False)
            self.pull_cable()


def make_runtime(path: Path, *, gpu: bool = True) -> Path:
    """Write an AAR of Android's libraries as the rig patches them for the desktop."""
    names = ["libtensorflowlite_jni.so", *(["libtensorflowlite_gpu_jni.so"] if gpu else [])]
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.write(ANDROID.path / name, f"jni/x86_64/{name}")
    return path


def main() -> None:
    """Build the worker and write its jar into the package, if it is not what is there."""
    built = worker_jars()[0]
    if jar_contents(built) != jar_contents(PACKED):
        shutil.copy(built, PACKED)
        print(f"wrote {PACKED}")


def jar_contents(path: Path) -> dict[str, bytes] | None:
    """Return the files in a jar by name; None if there is no jar."""
    if not path.exists():
        return None
    with zipfile.ZipFile(path) as jar:
        return {name: jar.read(name) for name in jar.namelist()}


if __name__ == "__main__":
    main()
