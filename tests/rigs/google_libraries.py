"""Google's ready-made libraries that take a text and a file: MediaPipe Tasks and Task Library.

Each has a virtual environment of its own. Task Library's last release, tflite-support 0.4.4, needs
Python 3.11 at most and NumPy 1. Of Debian both need libraries that only their other tasks use, for
graphics, cameras and sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from .child import ask
from .install import Rig, RigError, debian, old_python, virtual_environment

_LIBRARIES = "usr/lib/x86_64-linux-gnu"


def _build_mediapipe(folder: Path) -> None:
    virtual_environment(folder, old_python(), "mediapipe==1.2.3")
    debian(folder, "libegl1", "libgles2", dependencies=True)


def _build_task_library(folder: Path) -> None:
    packages = ("tflite-support==0.4.4", "numpy<2", "protobuf<4")
    virtual_environment(folder, old_python(), *packages)
    debian(folder, "libusb-1.0-0", "libportaudio2", dependencies=True)


MEDIAPIPE = Rig(name="mediapipe", what="MediaPipe Tasks 1.2.3", build=_build_mediapipe)
TASK_LIBRARY = Rig(name="task-library", what="Task Library 0.4.4", build=_build_task_library)
RIGS = {rig.name: rig for rig in (MEDIAPIPE, TASK_LIBRARY)}


def give_texts(
    library: Literal["mediapipe", "task-library"],
    task: Literal["classifier", "embedder", "answerer"],
    file: Path,
    texts: Sequence[str] | Sequence[tuple[str, str]],
) -> list[Any]:
    """Give texts, or pairs of a question and a passage, to a library; see `text_tasks`.

    Raises:
        RigError: if the library refused the file, or its process died.
    """
    rig = RIGS[library]
    env = {"LD_LIBRARY_PATH": str(rig.path / _LIBRARIES)}
    given = {"pairs" if task == "answerer" else "texts": list(texts)}
    request = {"library": library, "task": task, "file": str(file), **given}
    answer = ask(rig.path / "bin/python", "text_tasks.py", request, [], env=env, timeout_s=1800)
    if answer.error:
        raise RigError(answer.error)
    results: list[Any] = answer.facts["results"]
    return results
