"""Get what runs on a phone: the worker's jar of this package, and TFLite's libraries for its ABI.

The libraries are in Android archives (AARs), which the user names, or which Maven fetches into the
user's cache folder; those of the known version are checked by their SHA-256.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from albert_edge.benchmark.worker import file_digest
from albert_edge.errors import DeviceError, printable
from albert_edge.files import cache_folder, write_file

_JAR = "android_worker.jar"
# TFLite's libraries by name, the GPU delegate's second, and the archive that contains each.
CPU_LIBRARY = "libtensorflowlite_jni.so"
GPU_LIBRARY = "libtensorflowlite_gpu_jni.so"
VERSION = "2.16.1"  # whose Java classes are in the jar
ARCHIVES = {
    CPU_LIBRARY: (
        f"org.tensorflow:tensorflow-lite:{VERSION}",
        "34b065817e294e7dd3569504e8b9454938ceae453b6a459da54d5f6e45d3c94e",
    ),
    GPU_LIBRARY: (
        f"org.tensorflow:tensorflow-lite-gpu:{VERSION}",
        "4440e44d295e0e13964d4fe9d9e8c3d2c3f870b92fcb7b945e45036acdfcd459",
    ),
}
_COPIER = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
_MAVEN_S = 600.0
_MAX_LIBRARY_BYTES = 1 << 28  # 2.16.1's largest has 4 MB
_DAMAGE_ERRORS = (EOFError, OSError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)


def worker_jar() -> bytes:
    """Return the worker's jar: its classes and the library's, in Android's form.

    Raises:
        DeviceError: This package lacks it.
    """
    jar = resources.files("albert_edge.benchmark.devices") / _JAR
    if not jar.is_file():
        raise DeviceError(
            f"this installation lacks {_JAR}, the program that measures on a phone. In a copy of "
            "the project, `make android` builds it; else install albert_edge again."
        )
    return jar.read_bytes()


def fetch_runtime(*, gpu: bool) -> list[Path]:
    """Return the archives of the known version, fetched by Maven unless they are in the cache.

    Args:
        gpu: Whether the GPU delegate's is needed too.

    Raises:
        DeviceError: Maven is not installed or fails, or an archive is not the expected one.
    """
    names = [CPU_LIBRARY, GPU_LIBRARY] if gpu else [CPU_LIBRARY]
    return [_fetch(*ARCHIVES[name]) for name in names]


def _fetch(artifact: str, sha256: str) -> Path:
    name, version = artifact.split(":")[1:]
    path = cache_folder("android") / f"{name}-{version}.aar"
    if path.is_file() and file_digest(path) == sha256:
        return path
    if (maven := shutil.which("mvn")) is None:
        raise DeviceError(
            f"measuring on a phone needs {path.name}, TFLite's archive for Android, and Maven "
            f"(mvn), which fetches it, is not installed. Install it, or download {artifact} from "
            f"Maven Central and name it: --runtime {path.name}."
        )
    with tempfile.TemporaryDirectory() as folder:
        command = [maven, "-q", "-B", _COPIER, f"-Dartifact={artifact}:aar"]
        try:
            done = subprocess.run(  # noqa: S603 (Maven, and no shell)
                [*command, f"-DoutputDirectory={folder}"],
                cwd=folder,  # a project there would be built
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_MAVEN_S,
            )
        except subprocess.TimeoutExpired as error:
            raise DeviceError(f"Maven did not fetch {artifact} in {_MAVEN_S:g} s.") from error
        fetched = Path(folder, path.name)
        if done.returncode or not fetched.is_file():
            output = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
            reason = printable(output.splitlines()[0] if output else "it wrote nothing")
            raise DeviceError(
                f"Maven cannot fetch {artifact}: {reason} Check the network, or download it from "
                f"Maven Central and name it: --runtime {path.name}."
            )
        if file_digest(fetched) != sha256:
            raise DeviceError(
                f"Maven fetched another {path.name} than the one of {VERSION} that was published "
                "(its SHA-256 differs): check Maven's settings (~/.m2/settings.xml)."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, fetched.read_bytes(), force=True)
    return path


def extract_libraries(
    archives: Sequence[str | os.PathLike[str]], abi: str, *, gpu: bool
) -> dict[str, bytes]:
    """Read the libraries for an ABI out of archives.

    Args:
        archives: AARs.
        abi: Such as `arm64-v8a`.
        gpu: Whether the GPU delegate's is needed.

    Returns:
        The content of each by its file's name.

    Raises:
        DeviceError: An archive cannot be read, or a library is missing.
    """
    found: dict[str, bytes] = {}
    abis: set[str] = set()
    for archive in archives:
        try:
            with zipfile.ZipFile(archive) as opened:
                for member in opened.infolist():
                    folder, _, name = member.filename.rpartition("/")
                    if name in ARCHIVES and folder.startswith("jni/"):
                        abis.add(folder.removeprefix("jni/"))
                        if folder == f"jni/{abi}" and member.file_size <= _MAX_LIBRARY_BYTES:
                            found.setdefault(name, opened.read(member))
        except _DAMAGE_ERRORS as error:
            reason = getattr(error, "strerror", None) or error
            raise DeviceError(f"cannot read the archive {archive}: {reason}.") from error
    needed = [CPU_LIBRARY, GPU_LIBRARY] if gpu else [CPU_LIBRARY]
    for name in needed:
        if name not in found:
            raise DeviceError(
                f"--runtime has no {name} for {abi}, only for {', '.join(sorted(abis)) or 'none'}: "
                f"name the AAR of {ARCHIVES[name][0]}"
                + (" as well." if name == GPU_LIBRARY else ".")
            )
    return {name: found[name] for name in needed}
