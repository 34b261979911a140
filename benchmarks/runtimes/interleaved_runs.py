"""Measure peers interleaved, in fresh processes of their own environments; compare outputs."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from albert_edge.benchmark.devices.device import Local
from albert_edge.benchmark.measure import Measurement, measure
from albert_edge.benchmark.outputs import Outputs, compare_outputs, worst
from albert_edge.benchmark.statistics import find_warnings, spread, summarize_rounds
from albert_edge.errors import AlbertEdgeError
from benchmarks.runtimes.peers import Peer
from benchmarks.stream import ENGINE as STREAM
from benchmarks.stream import text_ids

__all__ = ["Condition", "PeerRun", "bare_rss_bytes", "run_interleaved"]

_PROBES = 4  # further inputs, compared but not timed
_BARE_PROCESS = "benchmarks.runtimes.bare_process:open_model"


@dataclass(frozen=True, slots=True)
class Condition:
    """What peers are measured with.

    Attributes:
        lengths: The tokens of each text; several texts are one measured inference.
        threads: CPU threads.
        without: "amx", to measure as on a processor without it.
    """

    lengths: tuple[int, ...]
    threads: int = 1
    without: str = ""

    @property
    def seq_len(self) -> int | None:
        """The length of the only text."""
        return self.lengths[0] if len(self.lengths) == 1 else None

    @property
    def _is_stream(self) -> bool:
        return self.seq_len is None or bool(self.without)

    @property
    def texts(self) -> list[list[npt.NDArray[np.int32]]]:
        """The texts' ids; first those of the measured inference, then others to compare."""
        if self._is_stream:
            return [[text_ids(length) for length in self.lengths]]
        return [[text_ids(self.lengths[0], seed)] for seed in range(20, 21 + _PROBES)]

    def arguments(self, engine: str) -> dict[str, Any]:
        """Return the arguments of `measure` for an engine."""
        if self._is_stream:
            options = {"engine": engine, "without": self.without}
            return {"engine": STREAM, "options": options, "input_ids": self.lengths}
        (first,), *others = self.texts
        return {"engine": engine, "input_ids": first, "probes": [ids for (ids,) in others]}

    @property
    def name(self) -> str:
        """Its name, such as `128 tokens, 2 threads`."""
        what = f"{self.seq_len} tokens"
        if self.seq_len is None:
            what = f"{len(self.lengths)} texts of {np.mean(self.lengths):.0f} tokens on average"
        threads = [f"{self.threads} threads"] if self.threads > 1 else []
        return ", ".join([what, *threads, *([f"without {self.without}"] if self.without else [])])


class PeerRun:
    """A peer under one condition, and its measurements."""

    def __init__(self, peer: Peer, condition: Condition) -> None:
        self.peer, self.condition = peer, condition
        self.path: Path | None = None
        self.python = ""
        self.bare_rss_bytes: int | None = None
        self.error: dict[str, str] | None = None
        self._rounds: list[Measurement] = []
        self._fidelity: dict[str, Any] | None = None

    @property
    def label(self) -> str:
        """The name in progress messages."""
        return f"{self.peer.key}, {self.condition.name}"

    def try_to(self, do: Callable[[], None]) -> None:
        """Call `do` unless an earlier call failed; record its error."""
        if self.error is None:
            try:
                do()
            except AlbertEdgeError as error:
                # Reports are published, so they contain no paths of this machine.
                message = str(error).replace(str(self.path), self.peer.file)
                self.error = {"type": type(error).__name__, "message": message}

    def take(self, want: Sequence[Outputs]) -> None:
        """Measure it once, and compare its outputs."""
        assert self.path is not None  # noqa: S101 (a run without one has an error)
        taken = measure(
            self.path,
            device=Local(self.python),
            threads=self.condition.threads,
            **self.condition.arguments(self.peer.engine),
            runs=10 if self.condition.seq_len else 3,  # many texts are a sample each
            warmup=2 if self.condition.seq_len else 1,
        )
        # Some runtimes store a model in several files.
        size = sum(path.stat().st_size for path in self.path.parent.iterdir())
        self._rounds.append(dataclasses.replace(taken, size_bytes=size))
        got = [{"logits": next(iter(outputs.values()))} for outputs in taken.outputs]
        found = compare_outputs(got, want, limit=self.peer.limit)
        self._fidelity = found if self._fidelity is None else worst(self._fidelity, found)

    def to_row(self) -> dict[str, Any]:
        """Return a row ready for JSON; without a measurement it has no figures."""
        status = "ok" if self._fidelity and self._fidelity["passed"] else "wrong"
        identity = {
            "name": self.peer.name,
            "recipe": self.peer.recipe,
            "condition": self.condition.name,
            "seq_len": self.condition.seq_len,
            "threads": self.condition.threads,
            "accelerator": "cpu",
            "rank": None,
            "status": "error" if self.error else status,
            "error": self.error,
            "fidelity": self._fidelity,
        }
        return {**identity, **self._figures(), **identity} if self._rounds else identity

    def _figures(self) -> dict[str, Any]:
        summed = summarize_rounds(self._rounds)
        known = None not in (summed["model_rss_bytes"], self.bare_rss_bytes)
        resident = known and summed["empty_rss_bytes"] + summed["model_rss_bytes"]
        return {
            **summed,
            "warnings": find_warnings(self._rounds),
            "spread": spread(self._rounds),
            "rounds": [self._round(one) for one in self._rounds],
            "bare_rss_bytes": self.bare_rss_bytes,
            "process_rss_bytes": resident - self.bare_rss_bytes if known else None,
            "load_and_first_ms": summed["load_ms"] + summed["first_ms"],
        }

    def _round(self, one: Measurement) -> dict[str, Any]:
        """Return the figures of a round; memory is over a bare process, and over the runtime's."""
        figures = {
            "latency_ms": one.latency_ms,
            "cpu_ms": one.cpu_ms,
            "load_and_first_ms": one.load_ms + one.first_ms,
        }
        warm, empty, bare = one.memory["warm"], one.empty_rss_bytes, self.bare_rss_bytes
        if warm is None or empty is None or bare is None or one.peak_rss_bytes is None:
            return figures
        for name, used in (("rss", warm["rss_bytes"]), ("peak", one.peak_rss_bytes)):
            figures |= {f"process_{name}_bytes": used - bare, f"model_{name}_bytes": used - empty}
        return figures


def bare_rss_bytes(python: str) -> int | None:
    """Return the resident memory of an environment's empty process, CPython with NumPy."""
    options = {"input_ids": [1], "runs": 1, "warmup": 0, "min_time_s": 0.0}
    return measure(__file__, device=Local(python), engine=_BARE_PROCESS, **options).empty_rss_bytes


def run_interleaved(
    runs: Sequence[PeerRun],
    want: dict[Condition, list[Outputs]],
    *,
    rounds: int,
    minutes: float,
    on_run: Callable[[str], object],
) -> float:
    """Measure every peer once a round, in a new random order each time; return the minutes.

    A round that would exceed the time limit is not started, except the first.
    """
    start, order, longest_s = time.monotonic(), random.Random(0), 0.0  # noqa: S311 (an order)
    for _ in range(rounds):
        begun = time.monotonic()
        if begun - start + longest_s > 60 * minutes:
            break
        for run in order.sample(runs, len(runs)):
            on_run(run.label)
            run.try_to(lambda run=run: run.take(want[run.condition]))
        longest_s = max(longest_s, time.monotonic() - begun)
    return (time.monotonic() - start) / 60
