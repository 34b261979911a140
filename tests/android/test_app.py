"""The demo app on Android 6, 11 and 15 in a JVM, with the real library, runtime and models."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

import pytest

import albert_edge
from albert_edge import convert, load_keras
from rigs.android_project import PROJECT
from rigs.app import ANDROIDS, APP, ROBOLECTRIC, run_tests
from rigs.gpu_delegate import ANDROID, OPENCL
from rigs.kotlin import KOTLIN

PICTURES = PROJECT / "app/target/pictures"  # for a look at them
NAMES = ("light", "dark", "landscape", "large_font", "answer", "questions", "similar")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A folder with files that a user may open: one of another task, and wrong ones."""
    folder = tmp_path_factory.mktemp("files")
    trained = Path(os.environ.get("ALBERT_EDGE_DATA", "/none")) / "albert_minilm/qa"
    untrained = Path(albert_edge.__file__).parent / "models/sentiment"
    if trained.exists():
        model = load_keras(trained)
    else:
        model = load_keras(untrained, task="question-answering", init_head=True)
    answers = folder / "answers.tflite"
    convert(model, target="android", verified=False).save(answers)
    content = answers.read_bytes()
    middle = len(content) // 2
    damaged = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    (folder / "damaged.tflite").write_bytes(damaged)
    (folder / "photo.tflite").write_bytes(b"\x89PNG\r\n\x1a\n" * 100)
    (folder / "empty.tflite").write_bytes(b"")
    return folder


@pytest.mark.parametrize("sdk", ANDROIDS)
def test_the_app(files, sdk):
    for rig in (APP, ROBOLECTRIC, ANDROID, OPENCL, KOTLIN):
        rig.require()
    pictures = PICTURES / str(sdk)
    done = run_tests("org.albertedge.demo.MainActivityTest", sdk, files=files, pictures=pictures)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-3000:]
    (count,) = re.findall(r"OK \((\d+) tests\)", done.stdout)
    assert int(count) >= 14
    for name in NAMES:
        width, height = struct.unpack(">II", (pictures / f"{name}.png").read_bytes()[16:24])
        assert (width > height) == (name == "landscape")
