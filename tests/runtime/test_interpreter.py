from __future__ import annotations

import mmap
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from numpy.testing import assert_array_equal

from albert_edge.runtime import interpreter, open_model

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads resident memory from /proc")


def resident_kb(path: Path) -> int:
    """Return the resident memory of the mappings of a file."""
    smaps = Path("/proc/self/smaps").read_text(encoding="utf-8")
    found = re.findall(rf" {re.escape(str(path))}\n(?:.*\n)*?Rss: +(\d+) kB", smaps)
    return sum(int(one) for one in found)


def test_pages_leave_memory_and_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "with a blank.bin"
    content = bytes(range(256)) * (8 << 12)  # 8 MB
    path.write_bytes(content)
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as read,
    ):
        assert read[:] == content
        assert resident_kb(path) == 8192
        interpreter.release_pages(path)
        assert resident_kb(path) == 0
        assert read[:] == content


def test_what_was_written_to_a_private_mapping_stays(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(bytes(8 << 20))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as own:
        own[:4] = b"mine"
        interpreter.release_pages(path)
        assert own[:4] == b"mine"


def test_the_file_is_given_back_after_the_first_inference(
    tiny_tflite: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tiny_tflite("classification"))
    monkeypatch.setattr(interpreter, "_LEAST_BYTES", 0)
    seen = []
    give_back = interpreter.release_pages

    def watch(path: Path) -> None:
        before = resident_kb(path)
        give_back(path)
        seen.append((before, resident_kb(path)))

    monkeypatch.setattr("albert_edge.runtime.model.release_pages", watch)
    model = open_model(path)
    first, second = model.run([2, 7, 3]), model.run([2, 7, 3])
    ((before, after),) = seen
    assert before > after == 0
    for name in first:
        assert_array_equal(first[name], second[name])


def test_a_file_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    interpreter.release_pages(tmp_path / "gone.tflite")
