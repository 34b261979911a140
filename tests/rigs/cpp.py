"""The C++ example, built by CMake with TensorFlow Lite's C API and SentencePiece's own library.

    python -m tests.rigs install cpp

It takes cmake and g++. Debian's libraries and those of Maven are unpacked into the folder: the
headers of TensorFlow Lite are those of the AAR for Android, its library for Linux is Bytedeco's,
which exports the C API.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from .install import HERE, Rig, call, debian, maven, maven_headers

EXAMPLE = HERE.parents[1] / "examples/cpp"
_HEADERS = "org.tensorflow:tensorflow-lite:2.16.1:aar"
_LIBRARY = "org.bytedeco:tensorflow-lite:2.19.0-1.5.12:jar:linux-x86_64"
_MEMBER = "org/bytedeco/tensorflowlite/linux-x86_64/libjnitensorflowlite.so"
_PACKAGES = ("libsentencepiece-dev", "libicu-dev", "libicu72", "nlohmann-json3-dev")


def _build(folder: Path) -> None:
    debian(folder, *_PACKAGES, dependencies=True)
    maven_headers(folder / "usr/include", _HEADERS)
    maven(folder / "usr/lib", {_LIBRARY: _MEMBER})
    prefix = f"-DCMAKE_PREFIX_PATH={folder / 'usr'}"
    call("cmake", "-S", EXAMPLE, "-B", folder / "build", prefix)
    environment = {**os.environ, **_libraries(folder)}
    call("cmake", "--build", folder / "build", environment=environment)


def _libraries(folder: Path) -> dict[str, str]:
    """Return the environment variable by which linker and program find what libraries need."""
    return {"LD_LIBRARY_PATH": f"{folder}/usr/lib/x86_64-linux-gnu:{folder}/usr/lib"}


CPP = Rig(
    name="cpp",
    what="the C++ example, built by cmake and g++,",
    build=_build,
    sources=tuple(str(EXAMPLE / name) for name in ("main.cc", "CMakeLists.txt")),
)


def run_cpp(*arguments: str | Path, given: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run the example with a standard input; skip the test where the rig is missing."""
    folder = CPP.require()
    done = subprocess.run(
        [folder / "build/albert_edge_cpp", *arguments],
        input=given,
        capture_output=True,
        check=False,
        env={**os.environ, **_libraries(folder)},
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )
