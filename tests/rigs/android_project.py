"""The Maven build of `android_demo`: what is built of the same files is not built again.

    python -m tests.rigs.android_project [MODULE...]    # those named, or all

It takes the programs that `TOOLS` installs, and for the app those of `APP_TOOLS`.  Only the models
in the app take Python's packages.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .install import Rig, RigError, call, maven_lock, rigs_folder, taking_turns

PROJECT = Path(__file__).parents[2] / "android_demo"
TOOLS = "sudo apt-get install openjdk-17-jdk-headless maven"
APP_TOOLS = f"{TOOLS} aapt zipalign apksigner dexdump gcc"
_PROGRAMS = ("java", "javac", "mvn")
_OF_THE_APP = ("keytool", "aapt", "zipalign", "apksigner", "dexdump", "gcc")
# The modules, in the order of their build, and those that each is built with.
_NEEDED = {
    "tflite": (),
    "desktop": (),
    "library": ("tflite",),
    "worker": ("tflite", "library"),
    "app": ("tflite", "library"),
}
# The files in the app: the models that they are made of, and the targets that they are made for.
MODELS = {
    "sentiment_cpu.tflite": ("default", "android"),
    "sentiment_gpu.tflite": ("default", "gpu"),
    "questions.tflite": ("questions", "android"),
    "embeddings.tflite": ("embeddings", "android"),
}
_CONVERT = """
import sys
from albert_edge import convert, load_keras
for path, model, target in zip(sys.argv[1::3], sys.argv[2::3], sys.argv[3::3]):
    convert(load_keras(model), target=target).save(path, force=True)
"""


class MavenRig(Rig):
    """A rig that is built anew when a file of its modules changes, once it was installed."""

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


def require_programs(*, app: bool = False) -> None:
    """Check that a JDK and Maven are installed, and what else builds the app.

    Raises:
        RigError: if one is missing.
    """
    programs = _PROGRAMS + (_OF_THE_APP if app else ())
    if missing := [name for name in programs if not shutil.which(name)]:
        tools = APP_TOOLS if app else TOOLS
        raise RigError(f"{', '.join(missing)} missing: install them by `{tools}`")


def version_of(*modules: str) -> int:
    """Return a number that changes with the files of modules and of those that they need."""
    digest = hashlib.sha256()
    for path in _files(_with_needed(modules)):
        digest.update(str(path.relative_to(PROJECT)).encode() + b"\0" + path.read_bytes())
    return int(digest.hexdigest()[:12], 16)


def _files(modules: tuple[str, ...]) -> list[Path]:
    poms = [PROJECT / "pom.xml", *(PROJECT / name / "pom.xml" for name in modules)]
    own = [path for name in modules for path in (PROJECT / name).glob("*.pro")]
    sources = (path for name in modules for path in (PROJECT / name / "src").rglob("*"))
    # The models in the app are converted anew whenever it is built.
    kept = sorted(path for path in sources if path.is_file() and path.suffix != ".tflite")
    return poms + sorted(own) + kept


def _with_needed(modules: tuple[str, ...]) -> tuple[str, ...]:
    wanted = {*modules, *(needed for name in modules for needed in _NEEDED[name])}
    return tuple(name for name in _NEEDED if name in wanted)


@contextmanager
def built(*modules: str) -> Iterator[None]:
    """Build modules unless they are built of the files as they are; keep them while it lasts.

    Raises:
        RigError: A program is missing, or Maven failed.
    """
    require_programs(app="app" in modules)
    if "app" in modules and not _is_built("app"):
        _convert_models(PROJECT / "app/src/main/assets")
    with taking_turns(PROJECT / "target/lock"):
        if not all(_is_built(name) for name in modules):
            _build(_with_needed(modules))
        yield


def _build(modules: tuple[str, ...]) -> None:
    versions = {name: version_of(name) for name in modules}
    kept = ("-Dlibrary.built",) if _is_built("library") else ()
    for name in modules:
        _mark(name).unlink(missing_ok=True)
    options = ("-q", "-B", "-T2", "-DskipTests", *kept, "-pl", ",".join(modules))
    with taking_turns(maven_lock()):
        call("mvn", *options, "package", folder=PROJECT)
    for name, version in versions.items():
        _mark(name).write_text(str(version))


def _is_built(module: str) -> bool:
    mark = _mark(module)
    return mark.exists() and mark.read_text() == str(version_of(module))


def _mark(module: str) -> Path:
    return PROJECT / module / "target/built_from"


def _convert_models(folder: Path) -> None:
    """Convert the models in the app, also while another process builds other modules."""
    with taking_turns(PROJECT / "target/models.lock"):
        folder.mkdir(exist_ok=True)
        words = [word for name, made in MODELS.items() for word in (folder / name, *made)]
        call(sys.executable, "-c", _CONVERT, *words, folder=PROJECT.parent)


def main() -> None:
    """Build the modules that the command line names, or all."""
    names = sys.argv[1:] or list(_NEEDED)
    if unknown := sorted(set(names) - set(_NEEDED)):
        sys.exit(f"no module is named {', '.join(unknown)}; choose from {', '.join(_NEEDED)}")
    try:
        with built(*names):
            pass
    except RigError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
