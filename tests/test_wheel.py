"""What is published: the source archive and the wheel, installed where nothing else is."""

from __future__ import annotations

import email
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from albert_edge.errors import EXTRAS
from rigs.base_install import RIG
from rigs.litert_js import LITERT_JS

ROOT = Path(__file__).parents[1]
LARGEST = 40 * 10**6  # bytes of the wheel; 27 million of them are the embedded models


def call(*command: Any, **options: Any) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source archive, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    (archive,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return archive, wheel


def test_the_wheel_has_what_it_needs(published: tuple[Path, Path]) -> None:
    _, wheel = published
    assert wheel.stat().st_size < LARGEST
    with zipfile.ZipFile(wheel) as files:
        names = files.namelist()
        (entry,) = (name for name in names if name.endswith("entry_points.txt"))
        assert b"albert-edge = albert_edge.cli:main" in files.read(entry)
    assert "albert_edge/py.typed" in names
    for model in ("sentiment", "questions", "embeddings"):
        assert {f"albert_edge/models/{model}/{one}" for one in ("model.tflite", "README.md")} <= {
            *names
        }
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names} == {"albert_edge", wheel_info(wheel)}


def test_the_wheel_describes_itself(published: tuple[Path, Path]) -> None:
    _, wheel = published
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as files:
        described = email.message_from_bytes(files.read(f"{wheel_info(wheel)}/METADATA"))
    assert described["License-Expression"] == "Apache-2.0"
    assert described["License-File"] == "LICENSE"
    assert described["Requires-Python"] == ">=3.10"
    classifiers = described.get_all("Classifier")
    assert {"Operating System :: POSIX :: Linux", "Typing :: Typed"} <= {*classifiers}
    assert {*EXTRAS.values()} <= {*described.get_all("Provides-Extra")}
    base = [need for need in described.get_all("Requires-Dist") if "extra ==" not in need]
    assert not any(need.startswith("tensorflow") for need in base)


def test_the_wheel_carries_the_page_for_browsers(
    published: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LITERT_JS.use(monkeypatch)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "installed"))
    with zipfile.ZipFile(published[1]) as files:
        files.extractall(tmp_path / "installed")  # noqa: S202 (ours)
    code = "from albert_edge.cli import main; main()"
    call(sys.executable, "-c", code, "serve-demo", "-o", "site", cwd=tmp_path)
    for name, folder in (("", "web_demo"), ("albert-edge/src", "web/src")):
        sources = {path for path in (ROOT / folder).rglob("*") if path.suffix in (".js", ".html")}
        assert sources
        for source in sources:
            written = tmp_path / "site" / name / source.relative_to(ROOT / folder)
            assert written.read_bytes() == source.read_bytes()


def wheel_info(wheel: Path) -> str:
    return "-".join(wheel.name.split("-")[:2]) + ".dist-info"


def test_the_archive_builds_without_what_git_ignores(published: tuple[Path, Path]) -> None:
    archive, _ = published
    with tarfile.open(archive) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    assert {"pyproject.toml", "LICENSE", "tests/test_wheel.py"} <= names
    assert not any(name.startswith((".venv", ".rigs", ".git/")) for name in names)


def test_an_index_would_take_them(published: tuple[Path, Path]) -> None:
    call(sys.executable, "-m", "twine", "check", "--strict", *published)


def test_the_wheel_runs_in_an_empty_environment(
    published: tuple[Path, Path], tmp_path: Path
) -> None:
    wheels = RIG.require()
    call(sys.executable, "-m", "venv", tmp_path / "venv")
    tools = tmp_path / "venv/bin"
    call(
        *(tools / "python", "-m", "pip", "install", "-q"),
        *("--no-index", "--find-links", wheels, published[1]),
    )
    call(tools / "python", "-m", "pip", "check")
    assert "tensorflow" not in call(tools / "python", "-m", "pip", "list")
    printed = call(tools / "albert-edge", "run", "default", "a quiet, moving film", cwd=tmp_path)
    assert printed.startswith("positive")
