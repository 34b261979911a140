"""The measured process: it opens one model, runs it, and reports time, memory and outputs.

It reads one JSON job from standard input and writes one JSON result to standard output, so that
the same worker also runs on another machine; a `Device` of `albert_edge.benchmark.devices.device`
starts it.  A job's `do` is `measure`, `pair`, `count`, `predict`, `describe`, `identify`,
`check_gpu` or `check_edgetpu`.
"""

from __future__ import annotations

import json
import os
import pkgutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns, process_time_ns
from typing import Any

from albert_edge.benchmark.memory_energy import (
    measure_energy,
    read_memory,
    read_peak_bytes,
    reset_peak,
)
from albert_edge.benchmark.system import (
    cpu_busy_s,
    describe_machine,
    machine_id,
    read_conditions,
)
from albert_edge.errors import AlbertEdgeError, BundleError

__all__ = ["SEED", "check_same_file", "file_digest", "file_state"]

# [PAD], [UNK], [CLS], [SEP] and [MASK] are ids 0 to 4 of every published vocabulary.
_FIRST_ORDINARY_ID = 5
SEED = 20
# The kernel counts CPU time in steps of 10 ms, which are too coarse for a shorter span.
_MIN_SPAN_S = 0.2
_PR_SET_PDEATHSIG = 1  # of prctl(2), Linux
_MARKER = 0x616C6265  # an option that no kernel knows; `devices/instructions.c` looks for it


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """Run a job and return its result, ready for JSON.

    Raises:
        BundleError: The file is not the one of the job's `sha256`, or was replaced meanwhile.
        AlbertEdgeError: The engine's own error.
    """
    if job["do"] == "describe":
        return describe_machine()
    if job["do"] == "identify":
        return {"machine_id": machine_id()}
    if job["do"] == "check_gpu":
        from albert_edge.runtime.compiled_model import check_gpu

        return check_gpu()
    if job["do"] == "check_edgetpu":
        from albert_edge.runtime.composed import check_compiled

        return check_compiled(job["path"], accelerator=job["accelerator"])
    path, before = Path(job["path"]), file_state(job["path"])
    work = {"measure": _measure, "pair": _pair, "count": _count, "predict": _predict}[job["do"]]
    result = work(job)
    # The engine opens the file by its path, and may open it again later.
    digest = file_digest(path)
    check_same_file((before, job["sha256"] or digest), (file_state(path), digest))
    return {**result, "sha256": digest, "size_bytes": path.stat().st_size}


def file_state(path: str | os.PathLike[str]) -> tuple[int, ...] | None:
    """Return what changes when a file is replaced or written to; None if there is no file."""
    try:
        state = Path(path).stat()
    except OSError:  # whoever opens the file reports it
        return None
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def file_digest(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's content."""
    # After the timing: the engine's import is timed, and may need them too.
    import hashlib

    from albert_edge.files import open_input

    digest = hashlib.sha256()
    with open_input(path) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def check_same_file(before: object, after: object) -> None:
    """Check that what identifies a file is the same before and after it was measured.

    Raises:
        BundleError: It differs.
    """
    if before != after:
        raise BundleError(
            "the file was replaced while it was measured: let it be until the benchmark ends, and "
            "measure again."
        )


def random_ids(vocab_size: int, length: int, *, seed: int) -> Any:
    """Draw ordinary token ids (no special tokens): int32 [T], in [0, V)."""
    import numpy as np  # the empty process is measured before anything imports it

    first = min(_FIRST_ORDINARY_ID, vocab_size - 1)
    return np.random.default_rng(seed).integers(first, vocab_size, length, np.int32)


def _measure(job: dict[str, Any]) -> dict[str, Any]:
    before, other_cores_busy = read_conditions(), _watch_other_processes()
    start = perf_counter_ns()
    open_model = pkgutil.resolve_name(job["engine"])
    import_ns = perf_counter_ns() - start

    memory, has_peak = {"empty": read_memory()}, reset_peak()
    start = perf_counter_ns()
    model = open_model(job["path"], threads=job["threads"], **job.get("options", {}))
    load_ns = perf_counter_ns() - start
    memory["loaded"] = read_memory()

    input_ids = _input_ids(job, model)
    start = perf_counter_ns()
    outputs = model.run(input_ids)
    first_ns = perf_counter_ns() - start
    memory["running"] = read_memory()
    for _ in range(job["warmup"]):
        model.run(input_ids)
    memory["warm"] = read_memory()

    products_spent = _watch_products(model)
    samples = _time_warm(job, lambda: model.run(input_ids))
    return {
        "import_ns": import_ns,
        "load_ns": load_ns,
        "first_ns": first_ns,
        **samples,
        "products": products_spent(len(samples["samples_ns"])),
        "other_cores_busy": other_cores_busy(),
        "memory": memory,
        "peak_rss_bytes": read_peak_bytes() if has_peak else None,
        "conditions": {"before": before, "after": read_conditions()},
        "input_ids": input_ids[0].tolist(),
        **_after_timing(job, model, input_ids, outputs),
    }


def _pair(job: dict[str, Any]) -> dict[str, Any]:
    """Call two models in turns, so that both meet the same state of the machine."""
    open_model = pkgutil.resolve_name(job["engine"])
    paths = [job["old"], job["path"]]
    # The one that is opened first may lie better in memory.
    order = paths[::-1] if job["new_first"] else paths
    opened = {path: open_model(path, threads=job["threads"]) for path in order}
    models = [opened[path] for path in paths]
    vocab_size = min(model.bundle.config.vocab_size for model in models)
    input_ids = random_ids(vocab_size, job["seq_len"], seed=SEED)[None]  # [1, T]
    for model in models * (1 + job["warmup"]):
        model.run(input_ids)
    samples: list[list[int]] = [[], []]
    deadline = perf_counter_ns() + int(2 * job["min_time_s"] * 1e9)
    while len(samples[0]) < job["runs"] or perf_counter_ns() < deadline:
        for which in (0, 1, 1, 0):
            start = perf_counter_ns()
            models[which].run(input_ids)
            samples[which].append(perf_counter_ns() - start)
    return {"samples_ns": samples}


def _count(job: dict[str, Any]) -> dict[str, Any]:
    """Load and run a model between markers, for a plugin of the emulator to count instructions."""
    import ctypes
    import gc

    mark = ctypes.CDLL(None).prctl
    open_model = pkgutil.resolve_name(job["engine"])
    gc.collect()
    gc.disable()  # as `timeit` does: it would run in one inference of many
    mark(_MARKER)
    model = open_model(job["path"], threads=job["threads"])
    mark(_MARKER)
    input_ids = _input_ids(job, model)
    mark(_MARKER)
    outputs = model.run(input_ids)
    mark(_MARKER)
    for _ in range(job["warmup"]):
        model.run(input_ids)
    mark(_MARKER)
    for _ in range(job["runs"]):
        model.run(input_ids)
    mark(_MARKER)
    described = _describe_run(job, model, input_ids, outputs)
    return {**described, "input_ids": input_ids[0].tolist(), "uncompiled": _has_uncompiled()}


def _has_uncompiled() -> bool:
    """Return whether a module was compiled when it was imported, which counts as loading."""
    compiled = [getattr(module, "__cached__", None) for module in list(sys.modules.values())]
    return not all(Path(path).exists() for path in compiled if path)


def _time_warm(job: dict[str, Any], infer: Callable[[], object]) -> dict[str, list[int]]:
    samples: list[int] = []
    cpu_samples: list[int] = []
    deadline = perf_counter_ns() + int(job["min_time_s"] * 1e9)
    while len(samples) < job["runs"] or perf_counter_ns() < deadline:
        cpu_start, start = process_time_ns(), perf_counter_ns()
        infer()  # returns arrays of its own: the outputs have been read back
        samples.append(perf_counter_ns() - start)
        cpu_samples.append(process_time_ns() - cpu_start)
    return {"samples_ns": samples, "cpu_samples_ns": cpu_samples}


def _watch_products(model: Any) -> Callable[[int], dict[str, float] | None]:
    """Return a function that returns what products took of an inference since now, on average."""
    products = getattr(model, "products", None)  # of the target edgetpu only
    if products is None:
        return lambda runs: None
    calls, seconds = products.calls, products.seconds

    def spent(runs: int) -> dict[str, float]:
        return {
            "calls": (products.calls - calls) / runs,
            "ms": (products.seconds - seconds) * 1e3 / runs,
        }

    return spent


def _watch_other_processes() -> Callable[[], float | None]:
    """Return a function that returns how many cores other processes used since now, on average."""
    busy_before_s, own_before_ns, start = cpu_busy_s(), process_time_ns(), perf_counter_ns()

    def other_cores_busy() -> float | None:
        busy_s, span_s = cpu_busy_s(), (perf_counter_ns() - start) / 1e9
        if busy_before_s is None or busy_s is None or span_s < _MIN_SPAN_S:
            return None
        own_s = (process_time_ns() - own_before_ns) / 1e9
        return max(0.0, (busy_s - busy_before_s - own_s) / span_s)

    return other_cores_busy


def _after_timing(job: dict[str, Any], model: Any, input_ids: Any, outputs: Any) -> dict[str, Any]:
    # Nothing that needs more memory or imports more than the model may come before this.
    return {
        **_describe_run(job, model, input_ids, outputs),
        "energy": measure_energy(lambda: model.run(input_ids), min_time_s=job["min_time_s"]),
        "text_samples_ns": _time_from_text(job, model),
    }


def _describe_run(job: dict[str, Any], model: Any, input_ids: Any, outputs: Any) -> dict[str, Any]:
    from albert_edge.benchmark.outputs import digest, encode_outputs

    bundle = getattr(model, "bundle", None)  # models of other engines have none
    return {
        "outputs": [encode_outputs(one) for one in _run_all(model, [input_ids, *job["probes"]])],
        "outputs_sha256": digest(outputs),
        "layers_used": int(outputs["layers_used"][0]) if "layers_used" in outputs else None,
        "runtime": getattr(model, "runtime", None),
        **{name: getattr(bundle, name, None) for name in ("task", "quantize", "layout")},
        **_describe_delegate(job, model),
    }


def _describe_delegate(job: dict[str, Any], model: Any) -> dict[str, Any]:
    if (share := getattr(model, "acceleration", None)) is not None:
        on_gpu = share.accelerator.startswith("gpu")
        return {
            "delegate": f"GPU ({share.device})" if on_gpu else share.device,
            "operators": share.operators,
            "operators_delegated": share.operators_accelerated,
            "acceleration": share.to_dict(),
        }
    engine = sys.modules[job["engine"].partition(":")[0]]
    describe = getattr(engine, "describe_delegate", None)  # optional in other engines
    return {} if describe is None else dict(describe(job["path"], threads=job["threads"]))


def _run_all(model: Any, inputs: list[Any]) -> list[Any]:
    # An early-exit model runs all layers here: outputs are compared after the last one.
    run = getattr(model, "run_all_layers", model.run)
    return [run(input_ids) for input_ids in inputs]


def _time_from_text(job: dict[str, Any], model: Any) -> list[int]:
    # The whole pipeline: tokenizer, model, and postprocessing.
    if not (text := job["text"]):
        return []
    from albert_edge.pipelines import PIPELINES
    from albert_edge.tokenizer import tokenizer_from_files

    tokenizer = tokenizer_from_files(model.bundle.tokenizer_files, where=job["path"])
    pipeline = PIPELINES[model.bundle.task](model, tokenizer)
    for _ in range(job["warmup"]):
        pipeline(**text)
    return _time_warm(job, lambda: pipeline(**text))["samples_ns"]


def _predict(job: dict[str, Any]) -> dict[str, Any]:
    from albert_edge.benchmark.outputs import encode_outputs

    model = pkgutil.resolve_name(job["engine"])(job["path"], threads=job["threads"])
    return {"outputs": [encode_outputs(outputs) for outputs in _run_all(model, job["inputs"])]}


def _input_ids(job: dict[str, Any], model: Any) -> Any:
    import numpy as np

    if job["input_ids"] is not None:
        return np.array([job["input_ids"]], np.int32)  # [1, T]
    return random_ids(model.bundle.config.vocab_size, job["seq_len"], seed=SEED)[None]  # [1, T]


def main(parent: int) -> None:
    """Run the job on standard input; exit with 1 if it fails.

    Args:
        parent: The process that started this one, and whose end ends it.
    """
    if sys.platform == "linux":  # elsewhere a worker whose parent is killed completes its job
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the process that started this worker has ended")
    # A library that prints must not spoil the result: redirect its prints to standard error.
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        result = run_job(json.load(sys.stdin))
    except AlbertEdgeError as error:
        result = {"error": type(error).__name__, "message": str(error)}
    with stdout:
        json.dump(result, stdout)
    sys.exit("error" in result)
