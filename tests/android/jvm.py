"""Calls Kotlin from a test: one JVM for many calls, which answers lines of JSON.

    with open_jvm("android") as jvm:
        handle = jvm.call("Models.open", path=str(file))["handle"]
        jvm.call("Models.run", handle=handle, ids=[2, 3])

A call names an object of `android_demo/library/src/test/kotlin/org/albertedge/bench` and a function
of it, which takes a JSONObject.  The library is what R8 leaves of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from rigs.gpu_delegate import ANDROID, OPENCL, environment
from rigs.kotlin import KOTLIN, android_options, class_path

# Android's own library, 2.16.1, and TensorFlow Lite 2.19 for desktops.
RUNTIMES = ("android", "desktop")


class KotlinError(Exception):
    """An AlbertEdgeException.

    Attributes:
        kind: `FILE`, `INPUT` or `DEVICE`.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def open_jvm(
    runtime: str = "android", *, maker: str | None = None, options: Sequence[str] = ()
) -> Jvm:
    """Start a JVM with the library and a runtime; skip the test where a rig is missing.

    Args:
        runtime: One of `RUNTIMES`, or `none`.
        maker: Maker of the GPU that OpenCL presents, of `rigs.gpu_delegate.MAKERS`; `none` for a
            phone without OpenCL.
        options: Further options of the JVM.
    """
    KOTLIN.require()
    env = dict(os.environ)
    if runtime == "android":
        ANDROID.require()
        shown = maker not in (None, "none")
        options = [*android_options(gpu=maker is not None, opencl=shown), *options]
    if maker not in (None, "none"):
        OPENCL.require()
        env |= environment(maker, precision_loss=False)
    command = ["java", "-Xmx1g", "-Xshare:auto", *options, "-cp", class_path(runtime)]
    return Jvm([*command, "org.albertedge.bench.Bench"], env)


class Jvm:
    """A process that answers lines of JSON."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            command,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            encoding="utf-8",
        )

    def __enter__(self) -> Jvm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, function: str, **arguments: Any) -> Any:
        """Call a function such as `Models.open`; return what it returns.

        Raises:
            KotlinError: It threw an AlbertEdgeException.
            RuntimeError: It threw anything else, or the JVM ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = json.dumps({"call": function, "arguments": arguments})
        try:
            self._process.stdin.write(f"{request}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the JVM ended ({self._process.wait()}):\n{self.log()[-3000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise KotlinError(answer["error"]["kind"], answer["error"]["message"])
        if "exception" in answer:
            raise RuntimeError(answer["exception"])
        return answer["result"]

    def log(self) -> str:
        """Return what the JVM and its libraries printed."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def close(self) -> None:
        """End the JVM."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:  # a library's teardown may hang
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()
