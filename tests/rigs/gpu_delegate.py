"""Android's TensorFlow Lite 2.16.1, the phone's own library, with and without its GPU delegate.

The libraries come out of the AARs. A small C library lets them load on desktop Linux, and another
presents OpenCL on the CPU as a GPU of a chosen maker, so that the delegate picks that maker's
kernels. The file runs in a child process, because the library may crash.

    python -m tests.rigs.gpu_delegate model.tflite --maker mali --json
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .child import Inputs, ask
from .install import Rig, call, compile_c, debian, maven

VERSION = "2.16.1"
# What the device calls itself: the delegate looks for the maker and the model in it.
MAKERS = {
    "adreno": "QUALCOMM Adreno(TM) 640",
    "mali": "ARM Mali-G78",
    "powervr": "Imagination PowerVR Rogue GE8320",
    "intel": "Intel(R) UHD Graphics",
    "amd": "Advanced Micro Devices gfx1030",
    "nvidia": "NVIDIA Tegra X1",
}
_LIBRARIES = {"tensorflow-lite": "tensorflowlite", "tensorflow-lite-gpu": "tensorflowlite_gpu"}
STUBS = ("libm.so", "libdl.so", "liblog.so")  # what they hold on Android is in the shim, or libc
_GRAPHICS = ("libEGL.so", "libGLESv3.so")


def _build_android(folder: Path) -> None:
    members = {
        f"org.tensorflow:{name}:{VERSION}:aar": f"jni/x86_64/lib{library}_jni.so"
        for name, library in _LIBRARIES.items()
    }
    for path in maven(folder, members):
        path.write_bytes(without_versions(path.read_bytes()))
    # Its functions call each other, and not the C library's of the same name.
    compile_c("android.c", folder / "libc.so", "-fno-builtin", "-Wl,-Bsymbolic")
    for stub in STUBS:
        compile_c("/dev/null", folder / stub, "-x", "c", "-Wl,--no-as-needed", "-lm")
    _build_graphics(folder)


def _build_graphics(folder: Path) -> None:
    """Make an EGL and a GLES of functions that fail: the delegate computes with OpenCL."""
    listing = call("nm", "-D", "--undefined-only", folder / "libtensorflowlite_gpu_jni.so")
    names = [line.split()[-1] for line in listing.splitlines()]
    source = folder / "graphics.c"
    lines = (
        f"void *{name}(void) {{ return 0; }}" for name in names if name.startswith(("gl", "egl"))
    )
    source.write_text("\n".join(lines))
    for name in _GRAPHICS:
        compile_c(str(source), folder / name, "-fno-builtin")


def without_versions(library: bytes) -> bytes:
    """Return an ELF file of 64 bits without versions of symbols: Android's are not glibc's."""
    versions = (0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF)
    changed = bytearray(library)
    (table,) = struct.unpack_from("<Q", changed, 0x20)
    (segments,) = struct.unpack_from("<H", changed, 0x38)
    for at in range(table, table + 56 * segments, 56):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", changed, at)
        if kind != 2:  # PT_DYNAMIC
            continue
        for entry in range(offset, offset + size, 16):
            if struct.unpack_from("<Q", changed, entry)[0] in versions:
                struct.pack_into("<QQ", changed, entry, 0x15, 0)  # DT_DEBUG, which means nothing
    return bytes(changed)


def _build_opencl(folder: Path) -> None:
    debian(folder, "pocl-opencl-icd", "ocl-icd-libopencl1", dependencies=True)
    libraries = folder / "usr/lib/x86_64-linux-gnu"
    front = ("-Wl,--no-as-needed", libraries / "libOpenCL.so.1", f"-Wl,-rpath,{libraries}", "-ldl")
    compile_c("opencl.c", folder / "libOpenCL.so", *front)
    (folder / "vendors").mkdir()
    (driver,) = libraries.glob("libpocl.so.2.*.*")
    (folder / "vendors/pocl.icd").write_text(f"{driver}\n")


ANDROID = Rig(
    name="android",
    what=f"Android's TensorFlow Lite {VERSION}",
    build=_build_android,
    version=3,
    sources=("android.c",),
)
OPENCL = Rig(name="opencl", what="OpenCL on the CPU", build=_build_opencl, sources=("opencl.c",))


def _build_float16(folder: Path) -> None:
    call(sys.executable, "-m", "venv", folder)
    call(
        folder / "bin/python", "-m", "pip", "install", "-q", "intel-opencl-rt", "intel-cmplr-lib-rt"
    )
    (folder / "vendors").mkdir()
    (folder / "vendors/intel.icd").write_text(f"{folder}/lib/libintelocl.so\n")


# Of 700 MB, and only for processors with AVX512-FP16: installed only if named.
FLOAT16 = Rig(
    name="opencl-float16",
    what="OpenCL with float16 arithmetic on the CPU",
    build=_build_float16,
)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What the library answered.

    Attributes:
        outputs: For each of the inputs, the outputs by name. Empty if there was an error.
        nodes: Operators of the graph, those of all subgraphs together.
        delegated: How many of them the delegate took.
        partitions: In how many parts.
        left: Names of the operators that stayed on the CPU.
        launched: OpenCL kernels launched.
        sources: Digest of the kernels' sources: it differs from maker to maker.
        error: The call that failed, or empty. The library's own words are in `log`.
        log: All that the child process printed.
    """

    outputs: list[dict[str, np.ndarray]]
    nodes: int
    delegated: int
    partitions: int
    left: tuple[str, ...]
    launched: int
    sources: str
    error: str
    log: str


def run(
    file: Path,
    inputs: Inputs,
    *,
    maker: str | None = None,
    precision_loss: bool = False,
    xnnpack: bool = False,
    signature: str | None = None,
    timeout_s: float = 600,
) -> Result:
    """Run a file in Android's library, in a child process.

    Args:
        file: The `.tflite` file.
        inputs: Arrays by the signature's input names, or several of these; the file is loaded once.
            An input is resized to its array's shape.
        maker: Maker of the GPU, of `MAKERS`; without one the file runs on the CPU.
        precision_loss: Whether the GPU delegate may compute in float16, as by default on phones. It
            does only with the rig `FLOAT16`, which is used where it is installed.
        xnnpack: Whether to add XNNPACK as a delegate.
        signature: Name of the signature; the first one by default.
        timeout_s: Seconds after which the process is ended.

    Raises:
        RigError: if the process died, or was ended, without an answer.
    """
    request = {
        "file": str(file),
        "android": str(ANDROID.path),
        "shims": [str(ANDROID.path / stub) for stub in ("libc.so", *STUBS, *_GRAPHICS)],
        "opencl": str(OPENCL.path / "libOpenCL.so"),
        "maker": maker,
        "precision_loss": precision_loss,
        "xnnpack": xnnpack,
        "signature": signature,
    }
    python, env = (
        Path(sys.executable),
        environment(maker, precision_loss=precision_loss) if maker else {},
    )
    answer = ask(python, "tflite_c.py", request, inputs, env=env, timeout_s=timeout_s)
    taken = answer.facts["taken"]
    return Result(
        outputs=answer.outputs,
        nodes=answer.facts["nodes"],
        delegated=sum(map(len, taken)),
        partitions=len(taken),
        left=tuple(map(_operator_name, answer.facts["left"])),
        launched=answer.facts["launched"],
        sources=answer.facts["sources"],
        error=answer.error,
        log=answer.log,
    )


def environment(maker: str, *, precision_loss: bool) -> dict[str, str]:
    """Return the environment variables for OpenCL on the CPU as a GPU of `maker`."""
    libraries = OPENCL.path / "usr/lib"
    found = [libraries / "x86_64-linux-gnu", *libraries.glob("llvm-*/lib")]
    driver = FLOAT16 if precision_loss and FLOAT16.installed else OPENCL
    found += [FLOAT16.path / "lib"] if driver is FLOAT16 else []
    whole = {"RIGS_OPENCL_WHOLE_BUFFERS": "1"} if maker == "amd" else {}
    return {
        **whole,
        "LD_LIBRARY_PATH": ":".join(map(str, found)),
        "OCL_ICD_VENDORS": str(driver.path / "vendors"),
        "RIGS_OPENCL_NAME": MAKERS[maker],
        "POCL_CACHE_DIR": str(OPENCL.path / "compiled"),
    }


def _operator_name(code: int) -> str:
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    return names.get(code, str(code))


def main() -> None:
    """Run a file from the command line."""
    parser = argparse.ArgumentParser(description="Run a file in Android's TensorFlow Lite.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--inputs", type=Path, required=True, help="an .npz of the inputs by name")
    parser.add_argument("--maker", choices=MAKERS, help="maker of the GPU; the CPU without one")
    parser.add_argument("--xnnpack", action="store_true", help="add XNNPACK as a delegate")
    parser.add_argument("--precision-loss", action="store_true", help="allow float16 arithmetic")
    parser.add_argument("--signature")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for rig in (ANDROID, OPENCL):
        rig.install()
    with np.load(options.inputs) as inputs:
        result = run(
            options.file,
            dict(inputs),
            maker=options.maker,
            precision_loss=options.precision_loss,
            xnnpack=options.xnnpack,
            signature=options.signature,
        )
    shown = asdict(result)
    shown["outputs"] = [{k: v.tolist() for k, v in o.items()} for o in result.outputs]
    print(json.dumps(shown) if options.json else "\n".join(f"{k}: {v}" for k, v in shown.items()))


if __name__ == "__main__":
    main()
