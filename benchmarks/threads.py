"""Call one loaded pipe from many threads: are its answers right, and what does that cost?

python -m benchmarks.threads                      the embedded model, 8 threads, 10,000 calls
python -m benchmarks.threads FILE... --threads 4

Prints a line for each file: wrong answers and errors, calls a second of one thread and of all of
them (medians of interleaved rounds, and their ratio), and the resident memory after each.
"""

from __future__ import annotations

import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np

import albert_edge
from albert_edge.benchmark.memory_energy import read_memory

TEXTS = [
    f"{start} {middle} film{end}"
    for start in ("a", "no", "the most", "hardly a", "such a")
    for middle in ("quiet, moving", "dull", "lovely and short", "weak", "fine", "bad, bad, bad")
    for end in (".", "; nobody in the cast seemed to mind.", " that I saw twice, and will again!")
]


def measure(path: str, *, threads: int, calls: int, rounds: int) -> str:
    """Return the line of a file."""
    pipe = albert_edge.load(path)
    wanted = [pipe(text) for text in TEXTS]
    texts = (TEXTS * (calls // len(TEXTS) + 1))[:calls]
    seconds: dict[int, list[float]] = {1: [], threads: []}
    memory = {}
    wrong = errors = 0
    for _ in range(rounds):
        for count, taken in seconds.items():
            start = time.perf_counter_ns()
            with ThreadPoolExecutor(count) as pool:
                futures = [pool.submit(pipe, text) for text in texts]
            taken.append((time.perf_counter_ns() - start) / 1e9)
            memory[count] = read_memory()["rss_bytes"]
            for at, future in enumerate(futures):
                if future.exception() is not None:
                    errors += 1
                else:
                    wrong += not _equal(future.result(), wanted[at % len(TEXTS)])
    rates = {count: calls / statistics.median(taken) for count, taken in seconds.items()}
    return (
        f"{Path(path).name}: {wrong} wrong, {errors} errors of {2 * rounds * calls:,} calls; "
        f"{rates[1]:,.0f} calls/s with 1 thread, {rates[threads]:,.0f} with {threads} "
        f"({rates[threads] / rates[1]:.3f}); RSS {memory[1] / 1e6:.1f} and "
        f"{memory[threads] / 1e6:.1f} MB"
    )


def _equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(value, other[name]) for name, value in one.items()
    )


@click.command()
@click.argument("files", nargs=-1)
@click.option("--threads", default=8, show_default=True, help="Threads that call the pipe.")
@click.option("--calls", default=2000, show_default=True, help="Calls in a round.")
@click.option("--rounds", default=5, show_default=True, help="Rounds of one thread and of all.")
def main(files: tuple[str, ...], threads: int, calls: int, rounds: int) -> None:
    """Compare many threads on one loaded pipe with one."""
    for path in files or ("default",):
        print(measure(path, threads=threads, calls=calls, rounds=rounds))


if __name__ == "__main__":
    sys.exit(main())
