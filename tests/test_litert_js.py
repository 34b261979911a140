"""LiteRT.js is fetched once by npm, checked, and kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from albert_edge.errors import DeviceError
from albert_edge.litert_js import PACKAGES, VERSION, litert_files
from rigs.litert_js import LITERT_JS

VARIANTS = ("", "_compat", "_jspi", "_threaded")


def unexpected(line: str) -> None:
    raise AssertionError(line)


def test_the_files_that_a_page_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    LITERT_JS.use(monkeypatch)
    files = litert_files(unexpected)
    runtimes = {f"core/wasm/litert_wasm{kind}_internal" for kind in VARIANTS}
    assert set(files) == {
        "core/index.js",
        "wasm-utils/index.js",
        *(f"{name}.{kind}" for name in runtimes for kind in ("js", "wasm")),
    }
    assert all(files[f"{name}.wasm"].startswith(b"\0asm") for name in runtimes)
    # A worker has no import map: no import by a package's name may be left.
    assert b'from "../wasm-utils/index.js"' in files["core/index.js"]
    assert b'from "@' not in files["core/index.js"] + files["wasm-utils/index.js"]
    assert b"sourceMappingURL" not in files["core/index.js"] + files["wasm-utils/index.js"]


@pytest.fixture
def make_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return a function that puts a program `npm` first in PATH; it returns the cache's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin")

    def make(script: str) -> Path:
        program = tmp_path / "bin" / "npm"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return tmp_path / "cache" / "albert_edge" / "litert_js"

    return make


def test_what_was_fetched_is_checked_and_kept(
    make_npm: Callable[[str], Path], tmp_path: Path
) -> None:
    kept = LITERT_JS.require() / "albert_edge" / "litert_js"
    count = tmp_path / "count"
    name = "name=${2#@litertjs/}; name=litertjs-${name%@*}"
    cache = make_npm(f"{name}; cp {kept}/$name-{VERSION}.tgz . ; echo run >> {count}")
    announced: list[str] = []
    first = litert_files(announced.append)
    assert len(announced) == 1
    assert f"LiteRT.js {VERSION} (Apache-2.0)" in announced[0]
    assert "11.8 MB" in announced[0]
    assert str(cache) in announced[0]
    sizes = [(cache / f"litertjs-{name}-{VERSION}.tgz").stat().st_size for name in PACKAGES]
    assert round(sum(sizes) / 1e6, 1) == 11.8
    assert litert_files(unexpected) == first
    assert count.read_text() == "run\n" * len(PACKAGES)
    # What is damaged in the cache is fetched again.
    (cache / f"litertjs-core-{VERSION}.tgz").write_bytes(b"damaged")
    assert litert_files(announced.append) == first
    assert count.read_text() == "run\n" * (len(PACKAGES) + 1)


def test_another_package_is_refused(make_npm: Callable[[str], Path]) -> None:
    cache = make_npm("echo other > package.tgz")
    with pytest.raises(DeviceError, match=r"another @litertjs/core@2.* SHA-512 differs.*registry"):
        litert_files(print)
    assert not list(cache.glob("*"))


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'npm error code E404' >&2; exit 1", "npm error code E404"),
        ("exit 1", "npm printed nothing"),
        ("exit 0", "npm printed nothing"),
    ],
)
def test_npm_that_fails_is_quoted(
    make_npm: Callable[[str], Path], script: str, reason: str
) -> None:
    make_npm(script)
    with pytest.raises(DeviceError, match=f"npm cannot fetch @litertjs/core@{VERSION}: {reason}"):
        litert_files(print)


def test_npm_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match=r"npm, which fetches it, is not installed. Install Node"):
        litert_files(print)


def test_a_cache_that_cannot_be_written_is_named(
    make_npm: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = LITERT_JS.require() / "albert_edge" / "litert_js"
    make_npm(f"cp {kept}/litertjs-core-{VERSION}.tgz .")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DeviceError, match=r"cannot make .*litert_js: Not a directory"):
        litert_files(print)
