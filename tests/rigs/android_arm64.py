"""Android's TensorFlow Lite 2.16.1 for arm64, the very library that phones load, under qemu.

The library comes out of the AAR. It runs in qemu over Debian's C library for arm64 and a shim. A
plugin of qemu counts the instructions of loading and of each run: the numbers are the same each
time. Times mean nothing there.

    python -m tests.rigs.android_arm64 model.tflite --inputs in.npz --cpu cortex-a53 --json
"""

from __future__ import annotations

import argparse
import io
import json
import struct
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np

from albert_edge.benchmark.devices.arm64_root import INSTRUCTIONS
from albert_edge.benchmark.devices.qemu import CPUS, write_cpu_files

from .child import Inputs
from .gpu_delegate import STUBS, VERSION, without_versions
from .install import HERE, Rig, RigError, call, compile_c, debian, maven

_X86_64 = "usr/lib/x86_64-linux-gnu"
_LIBRARY = "libtensorflowlite_jni.so"
_TYPES = {  # TfLiteType of tensorflow/lite/c/c_api_types.h
    1: np.float32,
    2: np.int32,
    3: np.uint8,
    4: np.int64,
    6: np.bool_,
    9: np.int8,
}
_CODES = {np.dtype(kind): code for code, kind in _TYPES.items()}
# Those of Debian 12: the plugin is one of its qemu 7.2.
_COMPILER = (
    "binutils-aarch64-linux-gnu",
    "cpp-12-aarch64-linux-gnu",
    "gcc-12-aarch64-linux-gnu",
    "libc6-arm64-cross",
    "libc6-dev-arm64-cross",
    "libgcc-12-dev-arm64-cross",
    "libgcc-s1-arm64-cross",
    "linux-libc-dev-arm64-cross",
)


def _build(folder: Path) -> None:
    debian(folder, "qemu-user", dependencies=True)
    for program in (folder / "usr/bin").glob("qemu-*"):
        if program.name != "qemu-aarch64":
            program.unlink()  # of 35 other processors
    debian(folder, "libc6-arm64-cross")
    artifact = f"org.tensorflow:tensorflow-lite:{VERSION}:aar"
    (library,) = maven(folder, {artifact: f"jni/arm64-v8a/{_LIBRARY}"})
    library.write_bytes(without_versions(library.read_bytes()))
    with tempfile.TemporaryDirectory() as compiler:
        debian(Path(compiler), *_COMPILER)
        _compile_all(folder, Path(compiler))
    compile_c(str(INSTRUCTIONS), folder / "count.so", "-fvisibility=hidden")
    for name in CPUS:
        _make_root(folder, name)


def _compile_all(folder: Path, compiler: Path) -> None:
    def compile_for_arm64(source: str, made: str, *options: str) -> None:
        gcc = compiler / "usr/bin/aarch64-linux-gnu-gcc-12"
        include = compiler / "usr/aarch64-linux-gnu/include"
        search = (f"--sysroot={compiler}", "-isystem", include)
        of_the_compiler = f"LD_LIBRARY_PATH={compiler / _X86_64}"
        call(
            "env",
            of_the_compiler,
            gcc,
            *search,
            "-O1",
            "-Wall",
            "-o",
            folder / made,
            HERE / source,
            *options,
        )

    def compile_library(source: str, made: str, *options: str) -> None:
        compile_for_arm64(source, made, "-shared", "-fPIC", f"-Wl,-soname,{made}", *options)

    # Its functions call each other, and not the C library's of the same name.
    compile_library("bionic_arm64.c", "libc.so", "-fno-builtin", "-Wl,-Bsymbolic")
    for stub in STUBS:
        compile_library("/dev/null", stub, "-x", "c", "-Wl,--no-as-needed", "-lm")
    compile_for_arm64("android_arm64.c", "android_arm64")


def _make_root(folder: Path, cpu: str) -> None:
    """Make the root folder that a program sees: the libraries, and one core of that processor."""
    root = folder / cpu
    root.mkdir()
    (root / "lib").symlink_to(folder / "usr/aarch64-linux-gnu/lib")
    write_cpu_files(root, cpu)


RIG = Rig(
    name="android-arm64",
    what=f"Android's TensorFlow Lite {VERSION} for arm64, under qemu",
    build=_build,
    sources=("android.c", "android_arm64.c", "bionic_arm64.c", str(INSTRUCTIONS)),
)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What the library answered.

    Attributes:
        outputs: For each of the inputs, the outputs by name. Empty if there was an error.
        load_instructions: Instructions of opening the file and making the interpreter.
        run_instructions: For each of the inputs, instructions of writing them, running the
            signature, and reading its outputs; with resizing where the shapes differ from those of
            the inputs before.
        error: The call that failed, or empty.
    """

    outputs: list[dict[str, np.ndarray]]
    load_instructions: int | None
    run_instructions: list[int]
    error: str


def run(
    file: Path,
    inputs: Inputs,
    *,
    cpu: str = "cortex-a76",
    xnnpack: bool = False,
    signature: str = "serving_default",
    timeout_s: float = 600,
) -> Result:
    """Run a file in Android's library for arm64, on one thread.

    Args:
        file: The `.tflite` file.
        inputs: Arrays by the signature's input names, or several of these; the file is loaded once.
            An input is resized to its array's shape.
        cpu: Processor, of `CPUS`.
        xnnpack: Whether to add XNNPACK as a delegate.
        signature: Name of the signature.
        timeout_s: Seconds after which the process is ended.

    Raises:
        RigError: if the process crashed, or was ended.
    """
    batches = [inputs] if isinstance(inputs, Mapping) else list(inputs)
    content = struct.pack("<i", len(batches)) + b"".join(map(_pack, batches))
    words = [f"rig/{_LIBRARY}", "model", signature, "xnnpack" if xnnpack else "cpu"]
    done, marks = _emulate(words, cpu, content, timeout_s, model=file)
    error = ""
    if done.returncode:
        error = done.stderr.decode(errors="replace")
        if done.returncode != 1:
            raise RigError(f"qemu ended with exit code {done.returncode}:\n{error[-2000:]}")
    between = [end - begin for begin, end in pairwise(marks)][::2]
    return Result(
        outputs=[] if error else _unpack(done.stdout),
        load_instructions=between[0] if between else None,
        run_instructions=between[1:],
        error=error,
    )


def count_loop(times: int, *, cpu: str = "cortex-a76") -> int:
    """Count the instructions of a loop of two instructions, between two markers."""
    done, marks = _emulate([str(times)], cpu, b"", 60)
    if done.returncode:
        raise RigError(done.stderr.decode(errors="replace"))
    return marks[1] - marks[0]


def _emulate(
    words: Sequence[str], cpu: str, content: bytes, timeout_s: float, *, model: Path | None = None
) -> tuple[subprocess.CompletedProcess[bytes], list[int]]:
    """Run the program for arm64; return with it the number of instructions up to each marker."""
    # The length of a path or of the environment would change what runs, so the program sees only
    # short names, and `-seed` makes the same random numbers for it.
    qemu: list[str | Path] = [RIG.path / "usr/bin/qemu-aarch64", "-cpu", cpu, "-seed", "1"]
    qemu += ["-plugin", f"{RIG.path / 'count.so'},counts=counts", "-L", RIG.path / cpu]
    qemu += ["-E", "LD_LIBRARY_PATH=rig", "rig/android_arm64", *words]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rig").symlink_to(RIG.path)
        if model is not None:
            (folder / "model").symlink_to(model.resolve())
        environment = {"LD_LIBRARY_PATH": str(RIG.path / _X86_64)}
        try:
            done = subprocess.run(
                qemu,
                cwd=folder,
                env=environment,
                input=content,
                capture_output=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RigError(f"the program gave no answer in {timeout_s:.0f} s") from error
        return done, [int(line) for line in (folder / "counts").read_text().split()]


def _pack(inputs: Mapping[str, np.ndarray]) -> bytes:
    """Write a run's inputs, in the form that the program's source describes."""
    parts = [struct.pack("<i", len(inputs))]
    for name, array in inputs.items():
        data = np.ascontiguousarray(array)
        shape = struct.pack(f"<{data.ndim}i", *data.shape)
        head = struct.pack("<2i", _CODES[data.dtype], data.ndim) + shape
        parts += [struct.pack("<i", len(name.encode())), name.encode(), head]
        parts += [struct.pack("<i", data.nbytes), data.tobytes()]
    return b"".join(parts)


def _unpack(content: bytes) -> list[dict[str, np.ndarray]]:
    """Read the outputs of every run."""
    source, runs = io.BytesIO(content), []
    while source.tell() < len(content):
        (count,) = _numbers(source, 1)
        runs.append(dict(_read_tensor(source) for _ in range(count)))
    return runs


def _read_tensor(source: BinaryIO) -> tuple[str, np.ndarray]:
    (length,) = _numbers(source, 1)
    name = source.read(length).decode()
    code, rank = _numbers(source, 2)
    shape = _numbers(source, rank)
    (size,) = _numbers(source, 1)
    return name, np.frombuffer(source.read(size), _TYPES[code]).reshape(shape)


def _numbers(source: BinaryIO, count: int) -> tuple[int, ...]:
    return struct.unpack(f"<{count}i", source.read(4 * count))


def main() -> None:
    """Run a file from the command line."""
    parser = argparse.ArgumentParser(description="Run a file in Android's library for arm64.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--inputs", type=Path, required=True, help="an .npz of the inputs by name")
    parser.add_argument("--cpu", choices=CPUS, default="cortex-a76")
    parser.add_argument("--xnnpack", action="store_true", help="add XNNPACK as a delegate")
    parser.add_argument("--runs", type=int, default=2, help="how often; 2 by default")
    parser.add_argument("--signature", default="serving_default")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    RIG.install()
    with np.load(options.inputs) as inputs:
        batches = [dict(inputs)] * options.runs
    how = {"cpu": options.cpu, "xnnpack": options.xnnpack, "signature": options.signature}
    shown = asdict(run(options.file, batches, **how))
    shown["outputs"] = [{k: v.tolist() for k, v in o.items()} for o in shown["outputs"]]
    print(json.dumps(shown) if options.json else "\n".join(f"{k}: {v}" for k, v in shown.items()))


if __name__ == "__main__":
    main()
