"""The Kotlin library in a JVM: built by Maven, shrunk by R8, with a runtime.

    python -m tests.rigs install android kotlin

It takes a JDK 17 and Maven: `sudo apt-get install openjdk-17-jdk-headless maven`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from .android_project import PROJECT, TOOLS, MavenRig, built, version_of
from .gpu_delegate import ANDROID, OPENCL
from .install import compile_c

_MODULES = ("library", "desktop")


def _build(folder: Path) -> None:
    with built(*_MODULES):
        _copy(folder)
    compile_c("jvm_agent.c", folder / "agent.so", "-ldl")


def _copy(folder: Path) -> None:
    library = PROJECT / "library/target"
    shutil.copy(library / "shrunk.jar", folder / "library.jar")
    shutil.copytree(library / "test-classes", folder / "bench")
    for aar in library.glob("*.aar"):
        shutil.copy(aar, folder)
    shutil.copy(library / "aar.pom", folder)
    shutil.copy(*(PROJECT / "tflite/target").glob("*.jar"), folder / "tflite.jar")
    shutil.copytree(PROJECT / "desktop/target/lib", folder / "desktop")
    shutil.copy(*(PROJECT / "desktop/target").glob("*.jar"), folder / "desktop")
    jars = (library / "classpath.txt").read_text().strip().split(":")
    kept = [jar for jar in jars if not Path(jar).is_relative_to(PROJECT)]
    (folder / "classpath").write_text("\n".join(kept))


KOTLIN = MavenRig(
    name="kotlin",
    what=f"the Kotlin library, built by a JDK and Maven ({TOOLS}),",
    build=_build,
    sources=("jvm_agent.c",),
    version=version_of(*_MODULES),
)


def class_path(engine: str) -> str:
    """Return the class path with a runtime: `android` (2.16.1), `desktop` (2.19) or `none`."""
    folder = KOTLIN.path
    engines = {
        "android": [folder / "tflite.jar"],
        "desktop": sorted((folder / "desktop").glob("*.jar")),
        "none": [],
    }
    others = (folder / "classpath").read_text().splitlines()
    return ":".join(map(str, [folder / "bench", folder / "library.jar", *engines[engine], *others]))


def android_options(*, gpu: bool = False, opencl: bool = False) -> list[str]:
    """Return options of a JVM for Android's libraries, its GPU delegate and software OpenCL."""
    shims = ("libc.so", "libm.so", "libdl.so", "liblog.so", "libEGL.so", "libGLESv3.so")
    shared = [ANDROID.path / name for name in shims]
    own = [OPENCL.path / "libOpenCL.so"] if opencl else []
    libraries = ["libtensorflowlite_jni.so", *(["libtensorflowlite_gpu_jni.so"] if gpu else [])]
    loaded = [*map(str, shared + own), "", *(str(ANDROID.path / name) for name in libraries)]
    return [
        f"-agentpath:{KOTLIN.path / 'agent.so'}={':'.join(loaded)}",
        f"-Djava.library.path={ANDROID.path}",
    ]
