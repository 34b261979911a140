"""A phone that is reached over adb: Android, without an app.

The worker's jar, TFLite's libraries and the models are copied, each once, to a private folder that
the phone removes in the end.  `app_process` runs the worker in a fresh process for each job.  The
worker returns what the phone's kernel reports as text; the files of `/proc` and `/sys` are read
here as those of any machine (`albert_edge.benchmark.system`).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import albert_edge
from albert_edge.benchmark import system
from albert_edge.benchmark.devices.adb_connection import Phone, open_phone, parse_address
from albert_edge.benchmark.devices.adb_runtime import (
    CPU_LIBRARY,
    extract_libraries,
    fetch_runtime,
    worker_jar,
)
from albert_edge.benchmark.devices.device import CopiedFiles, parse_worker_output
from albert_edge.benchmark.memory_energy import parse_memory, parse_peak_bytes
from albert_edge.benchmark.outputs import encode_outputs
from albert_edge.benchmark.worker import SEED, check_same_file, file_digest, random_ids
from albert_edge.bundle import Bundle, OpenFile, count_operators, output_shapes, read
from albert_edge.errors import DeviceError, describe_exit, printable
from albert_edge.runtime.compiled_model import Acceleration, difference_limit, double_model

_MAIN = "org.albertedge.worker.Worker"
_JAR = "worker.jar"
_REPLY = re.compile(rb"^albert_edge (\d+) (\d+)\n", re.MULTILINE)
_NOT_FOUND = 127  # a shell's exit code
_GRACE_S = 30.0  # to start and to end
# Of the phone's state at one moment; an asterisk stands for any part of a name.
_CONDITIONS = (
    "/proc/loadavg",
    "/proc/stat",
    "/proc/self/stat",
    "/proc/uptime",
    "/sys/devices/system/cpu/cpufreq/policy*/scaling_governor",
    "/sys/devices/system/cpu/cpufreq/policy*/scaling_*_freq",
    "/sys/devices/system/cpu/cpufreq/policy*/cpuinfo_max_freq",
    "/sys/class/thermal/thermal_zone*/type",
    "/sys/class/thermal/thermal_zone*/temp",
)
_HARDWARE = (
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu/cpu*/cpufreq/cpuinfo_max_freq",
)
# What the phone's services report, each after a line that begins with "@".
_SERVICES = (
    "echo @battery; dumpsys battery; echo @power; dumpsys power | grep -m 1 mWakefulness=; "
    "echo @thermal; dumpsys thermalservice | grep -m 1 'Thermal Status:'"
)
_PROPERTY = re.compile(r"^\[(.+?)\]: \[(.*)\]$", re.MULTILINE)
# The log of the runtime, on standard error.
_SHARE = re.compile(r"Replacing (\d+) out of (\d+) node\(s\) with delegate \((\w+)\)")
_XNNPACK = "TfLiteXNNPackDelegate"
_GPU = "TfLiteGpuDelegateV2"
_SOFTWARE = re.compile(r"swiftshader|llvmpipe|softpipe|software", re.IGNORECASE)
_ENGINES = ("cpu", "gpu:float32", "gpu:default")
_MIN_SPAN_S = 0.2  # the kernel counts CPU time in steps of 10 ms
_NO_ENERGY = {
    "joules": None,
    "source": None,
    "n": None,
    "reason": "a phone reports no energy of a process over adb",
}
# Fields of the worker's result that are a measurement's.
_COPIED = (
    *("import_ns", "load_ns", "first_ns", "samples_ns", "cpu_samples_ns", "outputs_sha256"),
    *("layers_used", "runtime", "sha256", "size_bytes", "text_samples_ns"),
)


class Adb:
    """A phone that is reached over adb, as a `Device`."""

    engines: Mapping[str, str] = {name: f"{_MAIN}:{name}" for name in _ENGINES}
    counts_instructions = False

    def __init__(
        self,
        phone: Phone,
        *,
        cores: Sequence[int] = (),
        runtime: Sequence[str | os.PathLike[str]] = (),
    ) -> None:
        """Copy the worker and the runtime to the phone.

        Args:
            phone: The phone.
            cores: The cores to run on; empty for all.
            runtime: Archives (AARs) of TFLite's libraries; empty for those of the known version.

        Raises:
            DeviceError: They cannot be had or copied.
        """
        self.name = phone.name
        self._phone, self._cores = phone, cores
        self._runtime = runtime
        self._files = CopiedFiles(self._push)
        self._opened: dict[str, Path] = {}  # the file of the host by its path there
        self._properties = self._read_properties()
        self._gpu_name: str | None = None
        self._put(_JAR, worker_jar())
        self._put_libraries(gpu=False)

    # Copying.

    def send(self, path: Path) -> str:
        """Copy a file to the phone, unless that was tried before."""
        sent = self._files.send(path)
        self._opened[sent] = path
        return sent

    def _put_libraries(self, *, gpu: bool) -> None:
        archives = self._runtime or fetch_runtime(gpu=gpu)
        abi = self._properties.get("ro.product.cpu.abi", "")
        for name, content in extract_libraries(archives, abi, gpu=gpu).items():
            if not gpu or name != CPU_LIBRARY:
                self._put(name, content)

    def _put(self, name: str, content: bytes) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            path.write_bytes(content)
            return self._push(path, name)

    def _push(self, path: Path, name: str) -> str:
        digest = file_digest(path)
        target = self._phone.push(path, name)
        done = self._phone.shell(f"sha256sum {shlex.quote(target)}")
        if done.returncode == _NOT_FOUND:  # before Android 8
            found = self._start({"do": "digest", "path": target}, timeout_s=_GRACE_S)[0]["sha256"]
        else:
            found = done.stdout.decode("utf-8", "replace").partition(" ")[0]
        if found != digest:
            self._phone.shell(f"rm -f {shlex.quote(target)}")
            raise DeviceError(f"{name} arrived damaged on {self.name}; try again.")
        return target

    # Running.

    def run(self, job: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """Run one job in a fresh process on the phone."""
        if job["do"] == "describe":
            return self._describe(timeout_s)
        if job["do"] == "check_gpu":
            return self._check_gpu(timeout_s)
        path = self._opened[job["path"]]
        bundle = read(path)
        accelerator = next((one for one in _ENGINES if self.engines[one] == job["engine"]), "cpu")
        request = {**job, "accelerator": accelerator, "watched": _CONDITIONS}
        if job["do"] == "predict":
            reply, values, _ = self._start(request, timeout_s=timeout_s)
            return {"outputs": _encode_outputs(bundle, reply["outputs"], job["inputs"], values)}
        if job["input_ids"] is None:
            ids = random_ids(bundle.config.vocab_size, job["seq_len"], seed=SEED)
            request["input_ids"] = ids.tolist()
        if accelerator != "cpu":
            self._check_gpu(timeout_s)
        before = self._read_services()
        reply, values, log = self._start(request, timeout_s=timeout_s)
        after = self._read_services()
        check_same_file(job["sha256"] or reply["sha256"], reply["sha256"])
        inputs = [request["input_ids"], *job["probes"]]
        memory = {stage: text and parse_memory(text) for stage, text in reply["memory"].items()}
        measured = {
            **{name: reply[name] for name in _COPIED},
            **{name: getattr(bundle, name) for name in ("task", "quantize", "layout")},
            **_read_conditions(reply["texts"]),
            **self._read_share(log, path, bundle, accelerator),
            "memory": memory,
            "peak_rss_bytes": parse_peak_bytes(reply["status"]) if reply["status"] else None,
            "input_ids": request["input_ids"],
            "outputs": _encode_outputs(bundle, reply["outputs"], inputs, values),
            "energy": _NO_ENERGY,
        }
        measured["conditions"]["before"] |= before
        measured["conditions"]["after"] |= after
        return measured

    def _start(
        self, request: Mapping[str, Any], *, timeout_s: float
    ) -> tuple[dict[str, Any], npt.NDArray[np.float32], str]:
        """Run a job by the worker; return its result, its values and what the process logged."""
        folder = shlex.quote(self._phone.folder)
        jar = shlex.quote(f"{self._phone.folder}/{_JAR}")
        mask = f"{sum(1 << core for core in self._cores):x}"  # hexadecimal
        taskset = f"taskset {mask} " if self._cores else ""
        script = (
            f"cd {folder} && export LD_LIBRARY_PATH={folder} CLASSPATH={jar} && "
            f"exec {taskset}app_process / {_MAIN}"
        )
        line = json.dumps(request).encode() + b"\n"
        done = self._phone.shell(script, line=line, timeout_s=timeout_s + _GRACE_S)
        where = f"{Path(request.get('path', 'the job')).name} on {self.name}"
        if done.returncode is None:
            raise DeviceError(
                f"{where} took over {timeout_s:g} s; increase the timeout, or measure fewer runs."
            )
        log = done.stderr.decode("utf-8", "replace")
        text, values = _split_reply(done.stdout)
        if text is None:
            self._phone.check_connection(done)
            text = done.stdout.decode("utf-8", "replace")
        ending = describe_exit(done.returncode)
        result = parse_worker_output(text, stderr=log, ending=ending, where=where)
        return result, values, log

    def machine_id(self) -> str:
        """Return the phone's own serial number, or else its address."""
        return self._property("ro.serialno", "ro.boot.serialno") or self.name

    def close(self) -> None:
        """Let the phone remove the copied files; never raises."""
        self._phone.close()

    # Describing the phone.

    def _read_properties(self) -> dict[str, str]:
        listed = self._phone.shell("getprop").stdout.decode("utf-8", "replace")
        return dict(_PROPERTY.findall(listed))

    def _property(self, *names: str) -> str | None:
        return next((value for name in names if (value := self._properties.get(name))), None)

    def _describe(self, timeout_s: float) -> dict[str, Any]:
        request = {"do": "describe", "watched": [*_CONDITIONS, *_HARDWARE]}
        reply, _, _ = self._start(request, timeout_s=timeout_s)
        maker = self._property("ro.product.manufacturer") or ""
        model = self._property("ro.product.model") or "Android"
        chip = (self._property("ro.soc.manufacturer"), self._property("ro.soc.model"))
        release, level = (self._property(f"ro.build.version.{name}") for name in ("release", "sdk"))
        memory = re.search(r"MemTotal:\s+(\d+) kB", reply["texts"].get("/proc/meminfo", ""))
        with _as_root(reply["texts"]) as root:
            kinds, instructions = system.core_kinds(root), system.instructions(root)
            conditions = system.read_conditions(root)
        return {
            "model": model if model.lower().startswith(maker.lower()) else f"{maker} {model}",
            "processor": " ".join(filter(None, chip))
            or self._property("ro.board.platform", "ro.hardware"),
            "cores": len(self._cores) or reply["cores"],
            "core_kinds": kinds,
            "instructions": instructions,
            "ram_bytes": int(memory[1]) * 1024 if memory else None,
            "architecture": reply["architecture"],
            "system": f"Android {release} (API {level}),",
            "kernel": reply["kernel"],
            "python": "none",
            "versions": {
                "albert_edge": albert_edge.__version__,
                "tensorflow-lite": reply["runtime"],
            },
            "conditions": {**conditions, "throttled_bits": None, **self._read_services()},
        }

    def _read_services(self) -> dict[str, Any]:
        return read_services(self._phone.shell(_SERVICES).stdout.decode("utf-8", "replace"))

    # The GPU.

    def _check_gpu(self, timeout_s: float) -> dict[str, Any]:
        """Copy the GPU delegate and run one operator by it, once."""
        if self._gpu_name is None:
            self._put_libraries(gpu=True)
            found = self._phone.shell("dumpsys SurfaceFlinger | grep -m 1 GLES:")
            match = re.search(r"GLES: (.+?), (.+?),", found.stdout.decode("utf-8", "replace"))
            name = printable(" ".join(match.groups())) if match else "its GPU"
            path = self._put("double.tflite", double_model())
            request = {"do": "check_gpu", "path": path, "watched": []}
            try:
                _, values, log = self._start(request, timeout_s=timeout_s)
            except DeviceError as error:
                raise DeviceError(f"{self.name} cannot use {name}: {error}") from error
            if "OpenCL-based" not in log:
                lines = [printable(one) for one in log.splitlines() if "OpenCL" in one]
                reason = f" ({lines[0].removeprefix('ERROR: ')})" if lines else ""
                raise DeviceError(
                    f"{self.name} cannot use {name}: TFLite's delegate finds no OpenCL{reason}, "
                    "and OpenGL lacks what these files need. Many phones open libOpenCL.so to apps "
                    "only, not to the user of adb; measure in an app there, or use --accelerator "
                    "cpu."
                )
            if values.tolist() != [0.0, 2.0, 4.0, 6.0]:
                raise DeviceError(f"{name} doubles 0, 1, 2, 3 to {values.tolist()}: it is faulty.")
            self._gpu_name = name
        return {"device": self._gpu_name}

    def _read_share(self, log: str, path: Path, bundle: Bundle, accelerator: str) -> dict[str, Any]:
        """Read from the runtime's log which delegate ran operators, and how many.

        Raises:
            DeviceError: A GPU does not run all but the lookups.
        """
        shares = [(int(some), int(of), name) for some, of, name in _SHARE.findall(log)]
        if accelerator == "cpu":
            return {"delegate": "XNNPACK" if any(one[2] == _XNNPACK for one in shares) else None}
        operators, lookups = count_operators(OpenFile(path).view(), where=str(path))
        delegated = [(some, of) for some, of, name in shares if name == _GPU]
        left = sum(of - some for some, of in delegated)
        name = self._gpu_name or "its GPU"
        if not delegated or left > len(lookups):
            raise DeviceError(
                f"{name} does not run {path}: of {operators} operators, {left or 'all'} would run "
                f"on the CPU, where only the {len(lookups)} of the table lookups may. Convert the "
                "checkpoint again with --target gpu, or use --accelerator cpu."
            )
        share = Acceleration(
            accelerator=accelerator,
            device=name,
            is_software=_SOFTWARE.search(name) is not None,
            operators=operators,
            operators_accelerated=operators - left,
            on_cpu=tuple(sorted(set(lookups))) if left else (),
            limit=difference_limit(bundle.quantize, accelerator),
        )
        return {
            "delegate": f"GPU ({name})",
            "operators": operators,
            "operators_delegated": share.operators_accelerated,
            "acceleration": share.to_dict(),
        }


def connect(address: str, *, runtime: Sequence[str | os.PathLike[str]] = ()) -> Adb:
    """Open the phone at `adb://[SERIAL][?cores=N,...][&adb=PATH]`.

    Args:
        address: The address; without a serial, the only phone.
        runtime: Archives (AARs) of TFLite's libraries; empty for those of the known version, which
            Maven fetches.

    Raises:
        ConfigError: The address is malformed.
        DeviceError: adb is not installed, or the phone is missing, not ready, or has too little
            space; or the libraries cannot be had.
    """
    parsed = parse_address(address)
    phone = open_phone(parsed)
    try:
        return Adb(phone, cores=parsed.cores, runtime=runtime)
    except BaseException:
        phone.close()
        raise


# What the worker returns, as `albert_edge.benchmark.worker` would.


def _split_reply(output: bytes) -> tuple[str | None, npt.NDArray[np.float32]]:
    """Return the JSON of a worker's reply, None if it is not whole, and the values after it."""
    if (match := _REPLY.search(output)) is not None:
        size, value_bytes = map(int, match.groups())
        middle = match.end() + size
        values = output[middle : middle + value_bytes]
        if len(values) == value_bytes and value_bytes % 4 == 0:
            text = output[match.end() : middle].decode("utf-8", "replace")
            return text, np.frombuffer(values, "<f4")
    return None, np.empty(0, np.float32)


def _encode_outputs(
    bundle: Bundle,
    described: Sequence[Sequence[tuple[str, int]]],
    inputs: Sequence[Sequence[int]],
    values: npt.NDArray[np.float32],
) -> list[str]:
    """Give the outputs on each input their shapes, and encode them as the worker of Python does."""
    encoded, start = [], 0
    for ids, sizes in zip(inputs, described, strict=True):
        shapes = output_shapes(bundle, "serving_default", len(ids))
        outputs = {}
        for name, size in sizes:
            outputs[name] = values[start : start + size].reshape(shapes.get(name, (1, size)))
            start += size
        encoded.append(encode_outputs(outputs))
    return encoded


@contextmanager
def _as_root(texts: Mapping[str, str]) -> Iterator[Path]:
    """Write the phone's files into a temporary folder, which its readers take for the root."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in texts.items():
            path = Path(folder, *(part for part in name.split("/") if part not in ("", "..")))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        yield Path(folder)


def _read_conditions(texts: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return the conditions before and after, and how many cores other processes used between."""
    conditions, moments = {}, []
    for moment in ("before", "after"):
        with _as_root(texts[moment]) as root:
            # Not the firmware of a host that is a board itself.
            of_host = dict.fromkeys(("arm_clock_mhz", "throttled_bits"))
            conditions[moment] = {**system.read_conditions(root), **of_host}
            busy_s = system.cpu_busy_s(root)
        own, uptime = (texts[moment].get(f"/proc/{name}", "") for name in ("self/stat", "uptime"))
        moments.append((busy_s, _own_cpu_s(own), float((uptime.split() or ["0"])[0])))
    (busy, own_s, start), (busy_after, own_after_s, end) = moments
    other = None
    if busy is not None and busy_after is not None and end - start >= _MIN_SPAN_S:
        other = max(0.0, (busy_after - busy - (own_after_s - own_s)) / (end - start))
    return {"conditions": conditions, "other_cores_busy": other}


def _own_cpu_s(text: str) -> float:
    """Return the CPU time in a process's `stat`: proc(5), fields 14 and 15, in steps of 10 ms."""
    fields = text.rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def read_services(text: str) -> dict[str, Any]:
    """Read what `dumpsys` reports of battery, screen and heat; None for what it does not."""

    def find(name: str, pattern: str) -> str | None:
        match = re.search(rf"^\s*{name}[:=]\s*({pattern})\s*$", text, re.MULTILINE)
        return match and match[1]

    charge, tenths = find("level", r"\d+"), find("temperature", r"-?\d+")
    powered = [
        found
        for kind in ("AC", "USB", "Wireless", "Dock")
        if (found := find(f"{kind} powered", "true|false"))
    ]
    wakefulness, status = find("mWakefulness", r"\w+"), find("Thermal Status", r"\d")
    return {
        "battery_percent": charge and int(charge),
        "battery_temperature_c": tenths and int(tenths) / 10,
        "charging": "true" in powered if powered else None,
        "screen_on": wakefulness and wakefulness == "Awake",
        "thermal_status": status and int(status),
    }
