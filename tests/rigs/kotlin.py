"""The Kotlin library in a JVM: built by Maven, shrunk by R8, with a runtime.

    python -m tests.rigs install android kotlin

It takes a JDK 17 and Maven: `sudo apt-get install openjdk-17-jdk-headless maven`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from .gpu_delegate import ANDROID, OPENCL
from .install import Rig, RigError, call, compile_c, rigs_folder

TOOLS = "sudo apt-get install openjdk-17-jdk-headless maven"
_MODULES = ("tflite", "library", "desktop")
PROJECT = Path(__file__).parents[2] / "android_demo"


def _files(modules: Sequence[str]) -> list[Path]:
    """What modules are built from."""
    poms = [PROJECT / "pom.xml", *(PROJECT / name / "pom.xml" for name in modules)]
    sources = (path for name in modules for path in (PROJECT / name / "src").rglob("*"))
    # The models in the app are converted anew whenever it is built.
    return poms + sorted(path for path in sources if path.is_file() and path.suffix != ".tflite")


def _build(folder: Path) -> None:
    require_tools()
    call("mvn", "-q", "-B", "-pl", ",".join(_MODULES), "package", folder=PROJECT)
    built = PROJECT / "library/target"
    shutil.copy(built / "shrunk.jar", folder / "library.jar")
    shutil.copytree(built / "test-classes", folder / "bench")
    for aar in built.glob("*.aar"):
        shutil.copy(aar, folder)
    shutil.copy(built / "aar.pom", folder)
    shutil.copy(*(PROJECT / "tflite/target").glob("*.jar"), folder / "tflite.jar")
    shutil.copytree(PROJECT / "desktop/target/lib", folder / "desktop")
    shutil.copy(*(PROJECT / "desktop/target").glob("*.jar"), folder / "desktop")
    jars = (built / "classpath.txt").read_text().strip().split(":")
    kept = [jar for jar in jars if not Path(jar).is_relative_to(PROJECT)]
    (folder / "classpath").write_text("\n".join(kept))
    compile_c("jvm_agent.c", folder / "agent.so", "-ldl")


def require_tools() -> None:
    """Check that a JDK and Maven are installed.

    Raises:
        RigError: if one is missing.
    """
    missing = [name for name in ("java", "javac", "mvn") if not shutil.which(name)]
    if missing:
        raise RigError(f"{', '.join(missing)} missing: install a JDK and Maven by `{TOOLS}`")


def version_of(*modules: str) -> int:
    """Return a number that changes with the files that modules are built from."""
    digest = hashlib.sha256()
    for path in _files(modules):
        digest.update(str(path.relative_to(PROJECT)).encode() + b"\0" + path.read_bytes())
    return int(digest.hexdigest()[:12], 16)


class MavenRig(Rig):
    """A rig that is built anew when a file of its modules changes, once it was installed."""

    @property
    def lock(self) -> Path:  # it is built in the project's own folders
        return PROJECT / "target/lock"

    def require(self) -> Path:
        was = any(rigs_folder().glob(f"{self.name}-*/installed"))
        required = os.environ.get("ALBERT_EDGE_RIGS") == "required"
        if not self.installed and was and not required and shutil.which("mvn"):
            self.install()
            self.remove_older()
        return super().require()

    def remove_older(self) -> None:
        """Keep the three newest builds."""
        folders = sorted(rigs_folder().glob(f"{self.name}-*"), key=lambda one: one.stat().st_mtime)
        for folder in folders[:-3]:
            shutil.rmtree(folder, ignore_errors=True)


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
