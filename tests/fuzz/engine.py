"""Run mutated cases in worker processes that may die, and count the outcomes."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

AREAS = ("checkpoint", "data", "isolated", "kill", "report", "snapshot", "tflite", "tokenizer")
OUTCOMES = ("refused", "same", "different", "crashed", "hung", "foreign")
FAILURES = ("crashed", "hung", "foreign")
_START_S = 120.0  # for a worker to import and read what cases are made from
# A worker has no threads of its own where its area forks.
_ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    "OPENBLAS_NUM_THREADS": "1",
}
_REPORTED = 3  # failures kept with their message, of each kind


@dataclass
class Table:
    """Counts of outcomes for each kind of mutation, and the first failures of each."""

    area: str
    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    failures: list[str] = field(default_factory=list)
    forbidden: frozenset[str] = frozenset()

    def add(self, number: int, kind: str, outcome: str, message: str) -> None:
        self.counts[kind][outcome] += 1
        failed = outcome in FAILURES or (outcome == "different" and kind in self.forbidden)
        if failed and self.counts[kind][outcome] <= _REPORTED:
            self.failures.append(f"{self.area} case {number} ({kind}): {outcome}: {message}")

    def cases(self) -> int:
        return sum(sum(counts.values()) for counts in self.counts.values())

    def format(self) -> str:
        rows = [("area", "mutation", "cases", *OUTCOMES)]
        total: Counter[str] = Counter()
        for kind, counts in sorted(self.counts.items()):
            total += counts
            rows.append((self.area, kind, sum(counts.values()), *(counts[x] for x in OUTCOMES)))
        rows.append((self.area, "total", sum(total.values()), *(total[x] for x in OUTCOMES)))
        width = max(len(str(row[1])) for row in rows)
        return "\n".join(
            f"{row[0]:<12}{row[1]:<{width}}" + "".join(f"{cell:>11}" for cell in row[2:])
            for row in rows
        )


def area_module(name: str) -> Any:
    return importlib.import_module(f"{__package__}.{name}")


def run_case(area: Any, number: int, seeds: Any) -> tuple[str, str, str]:
    """Run one case in this process: the kind, the outcome, and the message of an exception."""
    from albert_edge.errors import AlbertEdgeError

    kind = area.KINDS[number % len(area.KINDS)]
    where = "the mutator: "
    try:
        case, where = area.mutate(kind, random.Random(number), seeds), ""
        return kind, "same" if area.run(case, seeds) else "different", ""
    except AlbertEdgeError as error:
        return kind, "refused", f"{type(error).__name__}: {error}"
    except Exception as error:  # the outcome that is counted
        lines = "".join(traceback.format_tb(error.__traceback__)[-2:]).strip()
        return kind, "foreign", f"{where}{type(error).__name__}: {error}\n{lines}"


def fuzz(
    name: str,
    folder: Path,
    *,
    seconds: float,
    first: int = 0,
    workers: int = 1,
    least: int = 0,
    most: int = 10**9,
    kinds: str = "",
) -> Table:
    """Run cases of one area from number `first` on, for so many seconds or `most` cases.

    Args:
        name: The area.
        folder: An empty folder, for what cases are made from.
        seconds: When to stop; a case that runs then is waited for.
        first: The number of the first case.
        workers: How many processes run cases.
        least: How many cases to run, however long they take.
        most: How many cases to run.
        kinds: What the names of the kinds to run begin with.
    """
    area = area_module(name)
    area.prepare(folder)
    table = Table(name, forbidden=getattr(area, "FORBIDS_OTHER_RESULTS", frozenset()))
    pool = [_Worker(name, folder, area) for _ in range(workers)]
    chosen = [kind.startswith(kinds) for kind in area.KINDS]
    numbers = islice((n for n in count(first) if chosen[n % len(chosen)]), most)
    try:
        for worker in pool:
            worker.wait_until_ready()
        deadline, given = time.monotonic() + seconds, 0
        while True:
            for worker in pool:
                if worker.number is None and (given < least or time.monotonic() < deadline):
                    worker.give(next(numbers, None))
                    given += 1
            if not (busy := [worker for worker in pool if worker.number is not None]):
                break
            for number, kind, outcome, message in _results(busy):
                table.add(number, kind, outcome, message)
    finally:
        for worker in pool:
            worker.close()
    return table


def _results(busy: list[_Worker]) -> Iterator[tuple[int, str, str, str]]:
    select.select([worker.process.stdout for worker in busy], [], [], 0.2)
    for worker in busy:
        if (result := worker.result()) is not None:
            yield result


class _Worker:
    """A process that runs cases one after the other; it is started again when it dies."""

    def __init__(self, name: str, folder: Path, area: Any) -> None:
        self._name, self._folder, self._kinds = name, folder, area.KINDS
        self._limit_s = getattr(area, "LIMIT_S", 10.0)
        self._memory = getattr(area, "MEMORY_BYTES", 4 << 30)
        self.number: int | None = None
        self._start()

    def _start(self) -> None:
        command = [sys.executable, "-m", f"{__package__}.worker", self._name, str(self._folder)]
        self.process = subprocess.Popen(
            [*command, str(self._memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_ENVIRONMENT},
        )
        self._ready = False

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], _START_S)
        line = self.process.stdout.readline() if ready else b""
        assert line == b"ready\n", f"a worker of {self._name} did not start"
        self._ready = True

    def give(self, number: int | None) -> None:
        self.number = number
        if number is not None:
            assert self.process.stdin is not None
            self.process.stdin.write(f"{number}\n".encode())
            self.process.stdin.flush()
            self._given = time.monotonic()

    def result(self) -> tuple[int, str, str, str] | None:
        """Return the outcome of the case that was given; None while it runs."""
        assert self.process.stdout is not None
        number = self.number
        assert number is not None
        kind = self._kinds[number % len(self._kinds)]
        if select.select([self.process.stdout], [], [], 0)[0]:
            line = self.process.stdout.readline()
            if line == b"ready\n":
                self._ready, self._given = True, time.monotonic()
                return None
            if line:
                self.number = None
                outcome, message = json.loads(line)
                return number, kind, outcome, message
            code = self.process.wait()
            assert self._ready, f"a worker of {self._name} ended with {code} before it was ready"
            return self._replace(number, kind, "crashed", _signal_name(code))
        if time.monotonic() - self._given > (self._limit_s if self._ready else _START_S):
            assert self._ready, f"a worker of {self._name} was not ready after {_START_S} s"
            return self._replace(number, kind, "hung", f"over {self._limit_s} s")
        return None

    def _replace(self, number: int, kind: str, *what: str) -> tuple[int, str, str, str]:
        self.close()
        self._start()
        self.number = None
        return number, kind, what[0], what[1]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def _signal_name(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"exit code {code}"
