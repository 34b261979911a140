"""Calls Kotlin from a test: one JVM for many calls, which answers lines of JSON.

    with open_jvm("android") as jvm:
        handle = jvm.call("Models.open", path=str(file))["handle"]
        jvm.call("Models.run", handle=handle, ids=[2, 3])

A call names an object of `android_demo/library/src/test/kotlin/org/albertedge/bench` and a function
of it, which takes a JSONObject.  The library is what R8 leaves of it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from bench_process import BenchProcess
from rigs.gpu_delegate import ANDROID, OPENCL, environment
from rigs.install import SHORT_JVM
from rigs.kotlin import KOTLIN, android_options, class_path

# Android's own library, 2.16.1, and TensorFlow Lite 2.19 for desktops.
RUNTIMES = ("android", "desktop")


def open_jvm(
    runtime: str = "android", *, maker: str | None = None, options: Sequence[str] = ()
) -> BenchProcess:
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
    command = ["java", "-Xmx1g", *SHORT_JVM, *options, "-cp", class_path(runtime)]
    return BenchProcess([*command, "org.albertedge.bench.Bench"], env)
