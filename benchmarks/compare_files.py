"""Compare the latency of two files in one process, call by call.

python -m benchmarks.compare_files OLD.tflite NEW.tflite --seq-len 32,128

The speed of a shared machine changes by half within seconds, so that reports of different minutes
(`albert-edge benchmark --compare`) show differences of some percent only after hundreds of rounds.
Here both files are open in each process, and are called in turns: old, new, new, old.  Prints the
ratio of the medians and its 99% interval over processes, in which the files are opened in turns,
since the one that is opened first may lie better in memory.
"""

from __future__ import annotations

import statistics
import sys
import time
from multiprocessing import get_context

import click
import numpy as np

from albert_edge.benchmark.compare import ratio_of_rounds
from albert_edge.benchmark.worker import random_ids
from albert_edge.runtime import open_model


def medians(old: str, new: str, seq_len: int, seconds: float, new_first: bool) -> list[float]:
    """Return the median latency of both files in this process, in ms."""
    paths = [old, new]
    opened = {path: open_model(path) for path in (paths[::-1] if new_first else paths)}
    models = [opened[path] for path in paths]
    size = min(model.bundle.config.vocab_size for model in models)
    input_ids = np.asarray(random_ids(size, seq_len, seed=0))
    samples: list[list[int]] = [[], []]
    start = time.monotonic()
    while (elapsed := time.monotonic() - start) < seconds:
        for which in (0, 1, 1, 0):
            begin = time.perf_counter_ns()
            models[which].run(input_ids)
            if elapsed > seconds / 10:  # before that it warms up
                samples[which].append(time.perf_counter_ns() - begin)
    return [statistics.median(taken) / 1e6 for taken in samples]


@click.command()
@click.argument("old")
@click.argument("new")
@click.option("--seq-len", default="32,128", show_default=True, help="Lengths in tokens.")
@click.option("--processes", default=16, show_default=True, help="Processes a length.")
@click.option("--seconds", default=2.5, show_default=True, help="Seconds a process.")
def main(old: str, new: str, seq_len: str, processes: int, seconds: float) -> None:
    """Compare the latency of OLD and NEW, one thread each."""
    for length in map(int, seq_len.split(",")):
        jobs = [(old, new, length, seconds, bool(at % 2)) for at in range(processes)]
        with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            before, after = zip(*pool.starmap(medians, jobs, chunksize=1), strict=True)
        # Both are of the same process and minute, so their ratio is what varies between rounds.
        ratios = [new_ms / old_ms for old_ms, new_ms in zip(before, after, strict=True)]
        ratio = ratio_of_rounds([1.0] * processes, ratios, ratio=statistics.median(ratios))
        if ratio is None or ratio.low is None or ratio.high is None:
            raise click.UsageError("give at least 2 processes.")
        print(
            f"{length} tokens: {statistics.median(before):.3f} and {statistics.median(after):.3f} "
            f"ms, ratio {ratio.ratio:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
