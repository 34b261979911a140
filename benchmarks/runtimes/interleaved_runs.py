"""Measure peers interleaved, in fresh processes of their own environments; compare outputs."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from albert_edge.benchmark.devices.device import Local
from albert_edge.benchmark.measure import Measurement, measure
from albert_edge.benchmark.outputs import Outputs, compare_outputs, worst
from albert_edge.benchmark.statistics import find_warnings, spread, summarize_rounds
from albert_edge.errors import AlbertEdgeError
from benchmarks.runtimes.peers import Peer

__all__ = ["PeerRun", "bare_rss_bytes", "run_interleaved"]

_BARE_PROCESS = "benchmarks.runtimes.bare_process:open_model"


class PeerRun:
    """A peer at one length, and its measurements."""

    def __init__(self, peer: Peer, seq_len: int) -> None:
        self.peer, self.seq_len = peer, seq_len
        self.path: Path | None = None
        self.python = ""
        self.bare_rss_bytes: int | None = None
        self.error: dict[str, str] | None = None
        self._rounds: list[Measurement] = []
        self._fidelity: dict[str, Any] | None = None

    @property
    def label(self) -> str:
        """The name in progress messages."""
        return f"{self.peer.key}, {self.seq_len} tokens"

    def try_to(self, do: Callable[[], None]) -> None:
        """Call `do` unless an earlier call failed; record its error."""
        if self.error is None:
            try:
                do()
            except AlbertEdgeError as error:
                # Reports are published, so they contain no paths of this machine.
                message = str(error).replace(str(self.path), self.peer.file)
                self.error = {"type": type(error).__name__, "message": message}

    def take(self, ids: Sequence[Sequence[int]], want: Sequence[Outputs]) -> None:
        """Measure it once on the first ids, and compare its outputs on all of them."""
        assert self.path is not None  # noqa: S101 (a run without one has an error)
        taken = measure(
            self.path,
            device=Local(self.python),
            engine=self.peer.engine,
            input_ids=ids[0],
            probes=ids[1:],
            runs=10,
            warmup=2,
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
            "seq_len": self.seq_len,
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
            "rounds": len(self._rounds),
            "bare_rss_bytes": self.bare_rss_bytes,
            "process_rss_bytes": resident - self.bare_rss_bytes if known else None,
            "load_and_first_ms": summed["load_ms"] + summed["first_ms"],
        }


def bare_rss_bytes(python: str) -> int | None:
    """Return the resident memory of an environment's empty process, CPython with NumPy."""
    options = {"input_ids": [1], "runs": 1, "warmup": 0, "min_time_s": 0.0}
    return measure(__file__, device=Local(python), engine=_BARE_PROCESS, **options).empty_rss_bytes


def run_interleaved(
    runs: Sequence[PeerRun],
    ids: dict[int, list[list[int]]],
    want: dict[int, list[Outputs]],
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
            run.try_to(lambda run=run: run.take(ids[run.seq_len], want[run.seq_len]))
        longest_s = max(longest_s, time.monotonic() - begun)
    return (time.monotonic() - start) / 60
