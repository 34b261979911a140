"""Install the rigs: `python -m tests.rigs install`, or only some: `... install opencl android`.

They are installed into `.rigs`, or the folder `ALBERT_EDGE_RIGS_DIR`, by apt-get, Maven, pip, npm
and gcc, without root, several at a time. What is there already stays.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

from .adb import ADB
from .android_arm64 import RIG as ANDROID_ARM64
from .app import APP, ROBOLECTRIC
from .base_install import RIG as BASE_INSTALL
from .chromium import CHROMIUM
from .cpp import CPP
from .edgetpu_delegate import RIG as EDGETPU
from .google_libraries import MEDIAPIPE, TASK_LIBRARY
from .gpu_delegate import ANDROID, FLOAT16, OPENCL
from .install import RigError
from .kotlin import KOTLIN
from .litert_js import LITERT_JS
from .minilm import MINILM
from .node import NODE
from .qemu import RIG as QEMU
from .readers import RIG as READERS
from .swiftshader import RIG as SWIFTSHADER
from .tflite_runtime_2_14 import RIG as TFLITE_RUNTIME

# Most of their time they wait for a download, or for their turn with apt-get or Maven.
_AT_ONCE = 4
USUAL = (
    *(SWIFTSHADER, OPENCL, ANDROID, ANDROID_ARM64, TFLITE_RUNTIME, ADB, EDGETPU, NODE, QEMU, CPP),
    *(CHROMIUM, LITERT_JS, BASE_INSTALL, MINILM),
)
# Of `make libraries`.
LIBRARIES = (MEDIAPIPE, TASK_LIBRARY, READERS)
RIGS = {rig.name: rig for rig in (*USUAL, *LIBRARIES, KOTLIN, ROBOLECTRIC, APP, FLOAT16)}


def main() -> None:
    """Install what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.rigs", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    install = commands.add_parser("install", help="install the usual rigs, or those named")
    install.add_argument("names", nargs="*", metavar="NAME", help=", ".join(RIGS))
    names = parser.parse_args().names or [rig.name for rig in USUAL]
    unknown = sorted(set(names) - set(RIGS))
    if unknown:
        parser.error(f"no rig is named {', '.join(unknown)}; choose from {', '.join(RIGS)}")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for done in as_completed([pool.submit(_install, name) for name in names]):
            try:
                done.result()
            except RigError as error:
                pool.shutdown(wait=False, cancel_futures=True)
                sys.exit(str(error))


def _install(name: str) -> None:
    rig = RIGS[name]
    if rig.installed:
        print(f"{name}: {rig.what}, installed in {rig.path}", flush=True)
        return
    print(f"{name}: installing {rig.what} ...", flush=True)
    began = time.monotonic()
    try:
        rig.install()
    except RigError as error:
        raise RigError(f"{name}: {error}") from error
    print(f"{name}: installed in {rig.path} in {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
