"""The process that is measured: it opens one model, runs it, and writes what it saw.

It reads one JSON job from standard input and writes one JSON answer to standard output, so that
the same worker can be started on another machine.  A `albert_edge.benchmark.devices.Device` starts
it.  A job's `do` is `measure` (the default), `answer` or `describe`.
"""

from __future__ import annotations

import json
import os
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from time import perf_counter_ns, process_time_ns
from typing import Any

from albert_edge.benchmark.memory_energy import read_memory, read_peak_bytes, reset_peak
from albert_edge.benchmark.system import cpu_busy_s, read_conditions
from albert_edge.errors import AlbertEdgeError

__all__ = ["main", "run_job"]

# [PAD], [UNK], [CLS], [SEP] and [MASK] are ids 0 to 4 of every published vocabulary.
_FIRST_ORDINARY_ID = 5
_SEED = 20
# The kernel counts time in steps of 10 ms: over less than this, a share of it says nothing.
_LEAST_SPAN_S = 0.2


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """Do a job and describe what happened, ready for JSON."""
    jobs = {"measure": _measure, "answer": _answer, "describe": _describe}
    return jobs[job.get("do", "measure")](job)


def _measure(job: dict[str, Any]) -> dict[str, Any]:
    before, others_busy = read_conditions(), _watch_others()
    start = perf_counter_ns()
    open_model = pkgutil.resolve_name(job["engine"])
    import_ns = perf_counter_ns() - start

    memory, peak_known = {"empty": _memory()}, reset_peak()
    start = perf_counter_ns()
    model = open_model(job["path"], threads=job["threads"])
    load_ns = perf_counter_ns() - start
    memory["loaded"] = _memory()

    input_ids = _input_ids(job, model)
    start = perf_counter_ns()
    outputs = model.run(input_ids)
    first_ns = perf_counter_ns() - start
    memory["running"] = _memory()
    for _ in range(job["warmup"]):
        model.run(input_ids)
    memory["warm"] = _memory()

    return {
        "import_ns": import_ns,
        "load_ns": load_ns,
        "first_ns": first_ns,
        **_warm_samples(job, lambda: model.run(input_ids)),
        "other_cores_busy": others_busy(),
        "memory": memory,
        "peak_rss_bytes": read_peak_bytes() if peak_known else None,
        "conditions": {"before": before, "after": read_conditions()},
        "input_ids": input_ids[0].tolist(),
        **_afterwards(job, model, input_ids, outputs),
    }


def _warm_samples(job: dict[str, Any], infer: Callable[[], object]) -> dict[str, list[int]]:
    samples: list[int] = []
    cpu_samples: list[int] = []
    deadline = perf_counter_ns() + int(job["min_time_s"] * 1e9)
    while len(samples) < job["runs"] or perf_counter_ns() < deadline:
        cpu_start, start = process_time_ns(), perf_counter_ns()
        infer()  # returns arrays of its own: the outputs have been read back
        samples.append(perf_counter_ns() - start)
        cpu_samples.append(process_time_ns() - cpu_start)
    return {"samples_ns": samples, "cpu_samples_ns": cpu_samples}


def _watch_others() -> Callable[[], float | None]:
    """Return what tells how many cores have worked for others since now, on average."""
    busy_s, own_ns, start = cpu_busy_s(), process_time_ns(), perf_counter_ns()

    def others_busy() -> float | None:
        then_s, span_s = cpu_busy_s(), (perf_counter_ns() - start) / 1e9
        if busy_s is None or then_s is None or span_s < _LEAST_SPAN_S:
            return None
        own_s = (process_time_ns() - own_ns) / 1e9
        return max(0.0, (then_s - busy_s - own_s) / span_s)

    return others_busy


def _afterwards(job: dict[str, Any], model: Any, input_ids: Any, outputs: Any) -> dict[str, Any]:
    # Nothing that needs more memory or imports more than the model may come before this.
    from albert_edge.benchmark.memory_energy import measure_energy
    from albert_edge.benchmark.outputs import digest, encode_outputs

    whole = getattr(model, "run_whole", model.run)  # what leaves early is compared where it ends
    answers = [whole(ids) for ids in (input_ids, *job.get("probes", ()))]
    bundle = getattr(model, "bundle", None)  # another engine's model has none
    engine = sys.modules[job["engine"].partition(":")[0]]
    describe = getattr(engine, "describe_delegate", None)  # another engine need not know
    return {
        "outputs": [encode_outputs(one) for one in answers],
        "outputs_sha256": digest(outputs),
        "layers_used": int(outputs["layers_used"][0]) if "layers_used" in outputs else None,
        "runtime": getattr(model, "runtime", None),
        **{name: getattr(bundle, name, None) for name in ("task", "quantize", "layout")},
        **({} if describe is None else describe(job["path"], threads=job["threads"])),
        "energy": measure_energy(lambda: model.run(input_ids), least_s=job["min_time_s"]),
        "text_samples_ns": _text_samples(job, model),
    }


def _text_samples(job: dict[str, Any], model: Any) -> list[int]:
    # From text to answer: the tokenizer, the model, and what the pipeline makes of its outputs.
    if not (text := job.get("text")):
        return []
    from albert_edge.pipelines import PIPELINES
    from albert_edge.tokenizer import tokenizer_from_files

    tokenizer = tokenizer_from_files(model.bundle.tokenizer_files, where=job["path"])
    pipe = PIPELINES[model.bundle.task](model, tokenizer)
    for _ in range(job["warmup"]):
        pipe(**text)
    return _warm_samples(job, lambda: pipe(**text))["samples_ns"]


def _answer(job: dict[str, Any]) -> dict[str, Any]:
    from albert_edge.benchmark.outputs import encode_outputs

    model = pkgutil.resolve_name(job["engine"])(job["path"], threads=job["threads"])
    whole = getattr(model, "run_whole", model.run)
    return {"outputs": [encode_outputs(whole(ids)) for ids in job["inputs"]]}


def _describe(job: dict[str, Any]) -> dict[str, Any]:
    from albert_edge.benchmark.system import describe_machine

    return describe_machine()


def _input_ids(job: dict[str, Any], model: Any) -> Any:
    import numpy as np

    if job["input_ids"] is not None:
        return np.array([job["input_ids"]], np.int32)  # [1, T]
    vocab_size = model.bundle.config.vocab_size
    rng = np.random.default_rng(_SEED)
    first = min(_FIRST_ORDINARY_ID, vocab_size - 1)
    return rng.integers(first, vocab_size, (1, job["seq_len"]), np.int32)  # [1, T]


def _memory() -> dict[str, int] | None:
    memory = read_memory()
    return None if memory is None else asdict(memory)


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
