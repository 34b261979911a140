"""The process that is measured: it opens one model, runs it, and writes what it saw.

It reads one JSON job from standard input and writes one JSON answer to standard output, so that
the same worker can be started on another machine.  `albert_edge.benchmark.measure` starts it.
"""

from __future__ import annotations

import json
import os
import pkgutil
import sys
from time import perf_counter_ns, process_time_ns
from typing import Any

from albert_edge.benchmark.memory import Memory, read_memory, read_peak_bytes, reset_peak
from albert_edge.errors import AlbertEdgeError

__all__ = ["main", "run_job"]

# [PAD], [UNK], [CLS], [SEP] and [MASK] are ids 0 to 4 of every published vocabulary.
_FIRST_ORDINARY_ID = 5
_SEED = 20


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """Open the job's model, run it, and describe what happened, ready for JSON."""
    start = perf_counter_ns()
    open_model = pkgutil.resolve_name(job["engine"])
    import_ns = perf_counter_ns() - start

    empty, peak_known = read_memory(), reset_peak()
    start = perf_counter_ns()
    model = open_model(job["path"], threads=job["threads"])
    load_ns = perf_counter_ns() - start

    input_ids = _input_ids(job, model)
    start = perf_counter_ns()
    outputs = model.run(input_ids)
    first_ns = perf_counter_ns() - start
    running = read_memory()

    return {
        "import_ns": import_ns,
        "load_ns": load_ns,
        "first_ns": first_ns,
        **_warm_samples(job, model, input_ids),
        **_memory_fields(empty, running),
        "peak_rss_bytes": read_peak_bytes() if peak_known else None,
        "input_ids": input_ids[0].tolist(),
        "outputs": _encode(outputs),
        **_describe(model),
    }


def _warm_samples(job: dict[str, Any], model: Any, input_ids: Any) -> dict[str, list[int]]:
    for _ in range(job["warmup"]):
        model.run(input_ids)
    samples: list[int] = []
    cpu_samples: list[int] = []
    deadline = perf_counter_ns() + int(job["min_time_s"] * 1e9)
    while len(samples) < job["runs"] or perf_counter_ns() < deadline:
        cpu_start, start = process_time_ns(), perf_counter_ns()
        model.run(input_ids)  # returns arrays of its own: the outputs have been read back
        samples.append(perf_counter_ns() - start)
        cpu_samples.append(process_time_ns() - cpu_start)
    return {"samples_ns": samples, "cpu_samples_ns": cpu_samples}


def _input_ids(job: dict[str, Any], model: Any) -> Any:
    import numpy as np

    if job["input_ids"] is not None:
        return np.array([job["input_ids"]], np.int32)  # [1, T]
    vocab_size = model.bundle.config.vocab_size
    rng = np.random.default_rng(_SEED)
    first = min(_FIRST_ORDINARY_ID, vocab_size - 1)
    return rng.integers(first, vocab_size, (1, job["seq_len"]), np.int32)  # [1, T]


def _memory_fields(empty: Memory | None, running: Memory | None) -> dict[str, int | None]:
    if empty is None or running is None:
        names = ("empty_rss", "model_rss", "model_anonymous", "model_file")
        return {f"{name}_bytes": None for name in names}
    return {
        "empty_rss_bytes": empty.rss_bytes,
        "model_rss_bytes": running.rss_bytes - empty.rss_bytes,
        "model_anonymous_bytes": running.anonymous_bytes - empty.anonymous_bytes,
        "model_file_bytes": running.file_bytes - empty.file_bytes,
    }


def _describe(model: Any) -> dict[str, str | None]:
    bundle = getattr(model, "bundle", None)  # another engine's model has none
    return {name: getattr(bundle, name, None) for name in ("task", "quantize", "layout")}


def _encode(outputs: dict[str, Any]) -> str:
    import base64
    import io

    import numpy as np

    file = io.BytesIO()
    np.savez_compressed(file, **outputs)
    return base64.b64encode(file.getvalue()).decode()


def main() -> None:
    """Answer the job on standard input; exit with 1 if it fails."""
    # A library that prints must not spoil the answer: what it prints joins standard error.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        result = run_job(json.load(sys.stdin))
    except AlbertEdgeError as error:
        result = {"error": type(error).__name__, "message": str(error)}
    with answer:
        json.dump(result, answer)
    sys.exit("error" in result)


if __name__ == "__main__":
    main()
