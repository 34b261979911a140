"""The APK of the demo app: signed, aligned, small, and what a phone expects."""

from __future__ import annotations

import re
import struct
import subprocess
import zipfile
from pathlib import Path

import pytest

from albert_edge.bundle.bundle import read
from albert_edge.files import embedded_model
from rigs.android_project import MODELS
from rigs.app import APP

PAGE = 4096
ABIS = ("arm64-v8a", "x86_64")
LIBRARIES = ("libtensorflowlite_gpu_jni.so", "libtensorflowlite_jni.so")
# Measured: 21.3 MB of models, 12.1 MB of runtimes for two ABIs, 0.4 MB of code and resources.
MOST_MB = {"code": 0.5, "resources": 0.1, "apk": 34.5}


@pytest.fixture(scope="module")
def apk() -> Path:
    return APP.require() / "app.apk"


@pytest.fixture(scope="module")
def entries(apk) -> dict[str, zipfile.ZipInfo]:
    with zipfile.ZipFile(apk) as archive:
        return {entry.filename: entry for entry in archive.infolist()}


def output(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def place(apk: Path, entry: zipfile.ZipInfo) -> int:
    """Return where an entry's content begins in the file."""
    with apk.open("rb") as file:
        file.seek(entry.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
    return entry.header_offset + 30 + name + extra


def test_it_is_signed_for_all_its_androids(apk):
    text = output("apksigner", "verify", "--verbose", "--print-certs", apk)
    assert "Verified using v1 scheme (JAR signing): true" in text  # Android 6
    assert "Verified using v2 scheme (APK Signature Scheme v2): true" in text
    assert "CN=Android Debug" in text


def test_a_changed_byte_is_noticed(apk, entries, tmp_path):
    at = place(apk, entries["assets/sentiment_cpu.tflite"]) + 1000
    content = bytearray(apk.read_bytes())
    content[at] ^= 1
    changed = tmp_path / "changed.apk"
    changed.write_bytes(content)
    done = subprocess.run(["apksigner", "verify", changed], capture_output=True, check=False)
    assert done.returncode != 0


def test_aapt_reads_it(apk):
    text = output("aapt", "dump", "badging", apk)
    assert "package: name='org.albertedge.demo' versionCode='1' versionName='0.1.0'" in text
    assert "sdkVersion:'23'" in text
    assert "targetSdkVersion:'35'" in text
    assert "application-label:'ALBERT Edge'" in text
    assert "launchable-activity: name='org.albertedge.demo.MainActivity'" in text
    assert "native-code: 'arm64-v8a' 'x86_64'" in text
    assert "uses-permission" not in text
    tree = output("aapt", "dump", "xmltree", apk, "AndroidManifest.xml")
    (library,) = re.findall(r'E: uses-native-library.*\n.*"(\S+)".*\n.*required\S*=(.*)', tree)
    assert library == ("libOpenCL.so", "(type 0x12)0x0")


def test_dexdump_reads_its_code(apk):
    classes = re.findall(r"Class descriptor  : '(\S+)'", output("dexdump", apk))
    assert "Lorg/albertedge/demo/MainActivity;" in classes
    assert "Lorg/albertedge/demo/LatencyPlot;" in classes
    assert "Lorg/tensorflow/lite/NativeInterpreterWrapper;" in classes
    assert "Lorg/tensorflow/lite/gpu/GpuDelegate;" in classes


def test_it_contains_these_files_and_no_others(entries):
    expected = {
        *("AndroidManifest.xml", "classes.dex", "resources.arsc", "org/albertedge/unicode.bin"),
        *(f"assets/{name}" for name in MODELS),
        *(f"lib/{abi}/{library}" for abi in ABIS for library in LIBRARIES),
        *(f"META-INF/{name}" for name in ("MANIFEST.MF", "ANDROIDD.SF", "ANDROIDD.RSA")),
    }
    others = {name for name in entries if not name.startswith("res/")}
    assert others == expected


def test_models_and_libraries_are_stored_and_aligned(apk, entries):
    output("zipalign", "-c", "-p", "4", apk)
    stored = [entry for name, entry in entries.items() if name.endswith((".tflite", ".so"))]
    assert len(stored) == len(MODELS) + len(ABIS) * len(LIBRARIES)
    for entry in stored:
        assert entry.compress_type == zipfile.ZIP_STORED
        assert place(apk, entry) % (PAGE if entry.filename.endswith(".so") else 4) == 0


@pytest.mark.parametrize("name", MODELS)
def test_its_models_are_those_of_convert(apk, tmp_path, name):
    with zipfile.ZipFile(apk) as archive:
        path = Path(archive.extract(f"assets/{name}", tmp_path))
    model = read(path)
    source, target = MODELS[name]
    assert model.target == target
    assert model.task == read(embedded_model(source) / "model.tflite").task
    assert model.tokenizer_files


def test_its_size(apk, entries):
    sizes = {
        "code": entries["classes.dex"].compress_size,
        "resources": sum(e.compress_size for n, e in entries.items() if n.startswith("res")),
        "apk": apk.stat().st_size,
    }
    assert {name: size / 1e6 for name, size in sizes.items() if size / 1e6 > MOST_MB[name]} == {}
