"""What works on a machine, with each accelerator and device there and not."""

from __future__ import annotations

import re
import sys

import pytest

from albert_edge import doctor
from albert_edge.doctor import diagnose
from albert_edge.errors import DeviceError
from rigs import edgetpu_delegate, qemu

LIBRARY = "ALBERT_EDGE_EDGETPU_LIBRARY"


def check(name):
    """Return whether one thing works, and what is said of it, trying nothing else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doctor, "_TRIED", [one for one in doctor._TRIED if one[1] == name])
        (found,) = (one for one in diagnose()["checks"] if one["name"] == name)
    return found["works"], found["detail"]


def test_models_run():
    works, detail = check("embedded model")
    assert works
    assert "positive" in detail


def test_the_recipes_are_compared():
    works, detail = check("recipes")
    assert works
    assert re.fullmatch(r"a product's .*: int8 \d+\.\d\d, int4 \d+\.\d\d; .+ here.*", detail)


@pytest.mark.parametrize(
    ("times", "advice"),
    [
        ({"float32": 2.0, "int8": 0.4, "int4": 1.1}, "int8 0.20, int4 0.55; int8 is the fastest"),
        ({"float32": 2.0, "int8": 1.9, "int4": 3.0}, "no recipe is faster than float32 here"),
    ],
)
def test_a_processor_without_kernels_for_int8(monkeypatch, times, advice):
    monkeypatch.setattr("albert_edge.quantization.speed.time_products", lambda: dict(times))
    assert advice in check("recipes")[1]


def test_a_runtime_that_is_missing(monkeypatch):
    def fail(*_, **__):
        raise DeviceError("no TFLite runtime is installed: pip install ai-edge-litert.")

    monkeypatch.setattr("albert_edge.load", fail, raising=False)
    monkeypatch.setattr(doctor, "_TRIED", doctor._TRIED[:1])
    found = diagnose()
    assert not found["ready"]
    assert "pip install ai-edge-litert" in found["checks"][-1]["detail"]


def test_a_gpu(software_gpu):
    works, detail = check("gpu")
    assert works
    assert "SwiftShader" in detail
    assert "a program on the CPU" in detail


def test_no_gpu(no_gpu):
    works, detail = check("gpu")
    assert not works
    assert "use --accelerator cpu" in detail


def test_an_edge_tpu(monkeypatch):
    monkeypatch.setenv(LIBRARY, str(edgetpu_delegate.RIG.require() / edgetpu_delegate.NAME))
    assert check("edgetpu")[0]
    monkeypatch.setenv(LIBRARY, "/nonexistent/libedgetpu.so.1")
    works, detail = check("edgetpu")
    assert not works
    assert "is not installed. Install libedgetpu1-std" in detail


def test_an_arm64_root(monkeypatch, tmp_path):
    qemu.use(monkeypatch)
    works, detail = check("qemu://")
    assert works
    assert detail.startswith("the arm64 root is in ")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert check("qemu://")[1].startswith("can be measured; the first time makes the arm64 root")
    monkeypatch.setenv("PATH", str(tmp_path))
    works, detail = check("qemu://")
    assert not works
    assert "apt-get is missing" in detail


def test_no_adb(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    works, detail = check("adb://")
    assert not works
    assert "apt install adb" in detail


@pytest.mark.parametrize(
    ("package", "name"), [("asyncssh", "ssh"), ("tensorflow", "convert"), ("nltk", "stem")]
)
def test_extras(monkeypatch, package, name):
    works, detail = check_extra(name)
    assert works
    assert f"{package} " in detail
    # What Python does not find either: `find_spec` raises for a module without a specification.
    monkeypatch.setitem(sys.modules, package, None)
    works, detail = check_extra(name)
    assert not works
    assert f"pip install 'albert_edge[{name}]'" in detail


def check_extra(name):
    (found,) = (one for one in doctor._check_extras() if one.name == name)
    return found.works, found.detail
