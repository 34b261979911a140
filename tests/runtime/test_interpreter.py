"""`albert_edge.runtime.interpreter`: runtimes, and the pages of a model's file."""

from __future__ import annotations

import mmap
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from numpy.testing import assert_array_equal

from albert_edge.errors import BundleError, DeviceError
from albert_edge.runtime import interpreter, open_model
from albert_edge.runtime.interpreter import open_interpreter, runtime_name

PACKAGES = {"ai-edge-litert": "fake_litert", "tflite-runtime": "fake_tflite"}
WORKS = "class Interpreter:\n    def __init__(self, **options): self.options = options\n"


@pytest.fixture
def install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[dict[str, str]], None]]:
    """A function that installs runtimes, by package the source of their `interpreter`."""
    modules = tuple((package, f"{name}.interpreter") for package, name in PACKAGES.items())
    monkeypatch.setattr(interpreter, "_PACKAGES", modules)
    monkeypatch.syspath_prepend(tmp_path)

    def put(sources: dict[str, str]) -> None:
        for package, source in sources.items():
            folder = tmp_path / PACKAGES[package]
            folder.mkdir()
            (folder / "__init__.py").touch()
            (folder / "interpreter.py").write_text(source)

    yield put
    for module in [one for one in sys.modules if one.partition(".")[0] in PACKAGES.values()]:
        del sys.modules[module]


FAILURES = {
    "ImportError('libc.so.6: version `GLIBC_2.34\\' not found')": "GLIBC_2.34' not found; it was b",
    "OSError('wrong ELF class: ELFCLASS64')": "OSError: wrong ELF class: ELFCLASS64; install it ag",
    "MemoryError()": "MemoryError; there is too little memory",
    "ImportError('numpy.core.multiarray failed to import')": "pip install 'numpy<2'",
    "AttributeError('_ARRAY_API not found')": "pip install 'numpy<2'",
    "ValueError('numpy.dtype size changed')": "pip install 'numpy<2'",
    "ModuleNotFoundError('No module named numpy', name='numpy')": "named numpy; install it again",
    "SystemError('initialization failed')": "SystemError: initialization failed; install it again",
    "SyntaxError('invalid syntax')": "SyntaxError: invalid syntax",
    "TypeError('Descriptors cannot be created directly')": "TypeError: Descriptors cannot",
}


@pytest.mark.parametrize(("failure", "message"), FAILURES.items())
@pytest.mark.parametrize("package", PACKAGES)
def test_a_runtime_that_does_not_load_is_an_error_with_its_cause(
    package: str, failure: str, message: str, install: Callable[[dict[str, str]], None]
) -> None:
    install({package: f"raise {failure}"})
    with pytest.raises(DeviceError, match="does not load") as caught:
        runtime_name()
    assert f"\n  {package}: " in str(caught.value)
    assert message in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_runtime_without_an_interpreter_does_not_load(
    install: Callable[[dict[str, str]], None],
) -> None:
    install({"ai-edge-litert": ""})
    with pytest.raises(DeviceError, match=r"ai-edge-litert: AttributeError: .*Interpreter"):
        runtime_name()


def test_the_next_runtime_is_used_if_one_does_not_load(
    install: Callable[[dict[str, str]], None],
) -> None:
    install({"ai-edge-litert": "raise OSError('no')", "tflite-runtime": WORKS})
    assert runtime_name().startswith("tflite-runtime")
    assert open_interpreter(b"", threads=2).options["num_threads"] == 2


def test_every_runtime_that_does_not_load_is_named(
    install: Callable[[dict[str, str]], None],
) -> None:
    install(
        {"ai-edge-litert": "raise OSError('one')", "tflite-runtime": "raise ImportError('two')"}
    )
    with pytest.raises(DeviceError, match=r"(?s)litert: OSError: one.*runtime: ImportError: two"):
        runtime_name()


def test_no_runtime_is_installed(install: Callable[[dict[str, str]], None]) -> None:
    install({})
    with pytest.raises(DeviceError, match="no TFLite runtime is installed; install one with: pip"):
        runtime_name()


OPENING = {
    "raise SystemError('CreateWrapperFromFile returned a result with an exception set') from "
    "ImportError('numpy.core.multiarray failed to import')": r"ImportError: numpy.*'numpy<2'",
    "raise MemoryError": "MemoryError; there is too little memory",
    "raise OSError('cannot open shared object file')": "OSError: cannot open shared object file",
}


@pytest.mark.parametrize(("body", "message"), OPENING.items())
def test_a_runtime_that_fails_when_it_opens_a_model_is_an_error_with_its_cause(
    body: str, message: str, install: Callable[[dict[str, str]], None]
) -> None:
    install({"tflite-runtime": WORKS.replace("self.options = options", body)})
    with pytest.raises(DeviceError, match=rf"tflite-runtime.* does not load: {message}"):
        open_interpreter(b"", threads=1)


def test_a_model_that_a_runtime_refuses_is_not_the_runtime_s_fault(
    install: Callable[[dict[str, str]], None],
) -> None:
    install({"tflite-runtime": WORKS.replace("self.options = options", "raise ValueError('x')")})
    with pytest.raises(BundleError, match="cannot load the model: x"):
        open_interpreter(b"", threads=1)


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads resident memory from /proc")


def resident_kb(path: Path) -> int:
    """Return the resident memory of the mappings of a file."""
    smaps = Path("/proc/self/smaps").read_text(encoding="utf-8")
    found = re.findall(rf" {re.escape(str(path))}\n(?:.*\n)*?Rss: +(\d+) kB", smaps)
    return sum(int(one) for one in found)


@LINUX
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


@LINUX
def test_what_was_written_to_a_private_mapping_stays(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(bytes(8 << 20))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as own:
        own[:4] = b"mine"
        interpreter.release_pages(path)
        assert own[:4] == b"mine"


@LINUX
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


@LINUX
def test_a_file_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    interpreter.release_pages(tmp_path / "gone.tflite")
