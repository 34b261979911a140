"""TFLite's libraries for a phone: out of archives that the user names, or that Maven fetches."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from albert_edge.benchmark.devices import adb_runtime
from albert_edge.benchmark.devices.adb_runtime import (
    CPU_LIBRARY,
    GPU_LIBRARY,
    extract_libraries,
    fetch_runtime,
    worker_jar,
)
from albert_edge.errors import DeviceError


def make_archive(path: Path, *members: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("classes.jar", *members):
            archive.writestr(name, f"content of {name}")
    return path


def test_the_worker_is_part_of_the_package() -> None:
    assert worker_jar().startswith(b"PK")


def test_a_package_without_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adb_runtime, "_JAR", "none.jar")
    with pytest.raises(DeviceError, match=r"lacks none\.jar, .*`make android` builds it"):
        worker_jar()


def test_the_libraries_of_the_phone_s_abi_are_read(tmp_path: Path) -> None:
    abis = ("arm64-v8a", "armeabi-v7a")
    cpu = make_archive(tmp_path / "it's a.aar", *(f"jni/{abi}/{CPU_LIBRARY}" for abi in abis))
    gpu = make_archive(tmp_path / "b.aar", *(f"jni/{abi}/{GPU_LIBRARY}" for abi in abis))
    expected = f"content of jni/arm64-v8a/{CPU_LIBRARY}".encode()
    assert extract_libraries([cpu], "arm64-v8a", gpu=False) == {CPU_LIBRARY: expected}
    both = extract_libraries([gpu, str(cpu)], "armeabi-v7a", gpu=True)
    assert list(both) == [CPU_LIBRARY, GPU_LIBRARY]
    assert both[GPU_LIBRARY] == f"content of jni/armeabi-v7a/{GPU_LIBRARY}".encode()


@pytest.mark.parametrize(
    ("abi", "gpu", "message"),
    [
        (
            "x86",
            False,
            r"has no libtensorflowlite_jni\.so for x86, only for arm64-v8a: .*lite:2\.16",
        ),
        ("", False, "only for arm64-v8a"),
        ("arm64-v8a", True, r"no libtensorflowlite_gpu_jni\.so for arm64-v8a.*-gpu:2.* as well\."),
    ],
)
def test_a_library_that_is_missing(abi: str, gpu: bool, message: str, tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "a.aar", f"jni/arm64-v8a/{CPU_LIBRARY}")
    with pytest.raises(DeviceError, match=message):
        extract_libraries([archive], abi, gpu=gpu)


def test_archives_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"cannot read the archive .*none\.aar: No such file"):
        extract_libraries([tmp_path / "none.aar"], "x86", gpu=False)
    name = f"jni/x86/{CPU_LIBRARY}"
    blob = make_archive(tmp_path / "a.aar", name).read_bytes()
    damaged = tmp_path / "damaged.aar"
    for content in (b"", blob[:60], blob.replace(b"content of jni", b"CONTENT of jni")):
        damaged.write_bytes(content)
        with pytest.raises(DeviceError, match=r"cannot read the archive .*damaged\.aar"):
            extract_libraries([damaged], "x86", gpu=False)
    plain = make_archive(tmp_path / "plain.aar")
    with pytest.raises(DeviceError, match="only for none"):
        extract_libraries([plain], "x86", gpu=False)


@pytest.fixture
def make_maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A function that makes a script the only Maven; it returns the cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin/none")

    def make(script: str) -> Path:
        program = tmp_path / "bin/mvn"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return tmp_path / "cache/albert_edge/android"

    return make


# Writes what the option names, and counts how often.
COPIES = (
    'for one; do case "$one" in -DoutputDirectory=*) folder=${one#*=} ;;\n'
    "-Dartifact=org.tensorflow:*) name=${one#*:}; name=${name%:aar} ;;\nesac; done\n"
    'echo "$name" > "$folder/$(echo "$name" | tr : -).aar"'
)


def test_without_maven_the_error_says_what_to_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        DeviceError, match=r"Maven \(mvn\), .* is not installed.*--runtime tensorfl"
    ):
        fetch_runtime(gpu=False)


def test_an_archive_that_was_fetched_is_checked_and_kept(
    make_maven: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_maven(COPIES)
    with pytest.raises(
        DeviceError, match=r"fetched another tensorflow-lite-2\.16\.1\.aar .*SHA-256"
    ):
        fetch_runtime(gpu=False)
    assert not cache.exists()
    for name, artifact in ((CPU_LIBRARY, "tensorflow-lite"), (GPU_LIBRARY, "tensorflow-lite-gpu")):
        content = f"{artifact}:2.16.1\n".encode()
        entry = (f"org.tensorflow:{artifact}:2.16.1", hashlib.sha256(content).hexdigest())
        monkeypatch.setitem(adb_runtime.ARCHIVES, name, entry)
    paths = fetch_runtime(gpu=True)
    assert [path.name for path in paths] == [
        "tensorflow-lite-2.16.1.aar",
        "tensorflow-lite-gpu-2.16.1.aar",
    ]
    assert {path.parent for path in paths} == {cache}
    make_maven("echo 'no network' >&2; exit 1")
    assert fetch_runtime(gpu=True) == paths
    paths[0].write_bytes(b"damaged")
    with pytest.raises(DeviceError, match=r"Maven cannot fetch org\.tensorflow:tensorflow-lite:2"):
        fetch_runtime(gpu=True)


def test_maven_that_takes_too_long(
    make_maven: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_maven("exec sleep 20")
    monkeypatch.setattr(adb_runtime, "_MAVEN_S", 0.2)
    with pytest.raises(DeviceError, match=r"did not fetch .* in 0\.2 s"):
        fetch_runtime(gpu=False)
