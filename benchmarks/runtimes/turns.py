"""Measure peers in turns, each in fresh processes of its own environment, and compare answers."""

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
from benchmarks.runtimes.catalogue import Peer

__all__ = ["Turn", "bare_rss_bytes", "take_turns"]

_BARE = "benchmarks.runtimes.bare:open_model"


class Turn:
    """A peer at one length, and what its turns brought."""

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
        """What people call it."""
        return f"{self.peer.key}, {self.seq_len} tokens"

    def try_to(self, do: Callable[[], None]) -> None:
        """Do something, unless something failed before; note why it fails."""
        if self.error is None:
            try:
                do()
            except AlbertEdgeError as error:
                # A report is for everybody; where this machine keeps its files is not.
                message = str(error).replace(str(self.path), self.peer.file)
                self.error = {"type": type(error).__name__, "message": message}

    def take(self, ids: Sequence[Sequence[int]], want: Sequence[Outputs]) -> None:
        """Measure it once on the first ids, and compare its answers on all of them."""
        assert self.path is not None  # noqa: S101 (a turn without one has an error)
        taken = measure(
            self.path,
            device=Local(self.python),
            engine=self.peer.engine,
            input_ids=ids[0],
            probes=ids[1:],
            runs=10,
            warmup=2,
        )
        # Some keep a model in several files.
        size = sum(path.stat().st_size for path in self.path.parent.iterdir())
        self._rounds.append(dataclasses.replace(taken, size_bytes=size))
        got = [{"logits": next(iter(outputs.values()))} for outputs in taken.outputs]
        found = compare_outputs(got, want, limit=self.peer.limit)
        self._fidelity = found if self._fidelity is None else worst(self._fidelity, found)

    def to_row(self) -> dict[str, Any]:
        """Describe it, ready for JSON; figures are left out if there is no round."""
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
    """Return what is resident in an environment's empty process: CPython with NumPy imported."""
    options = {"input_ids": [1], "runs": 1, "warmup": 0, "min_time_s": 0.0}
    return measure(__file__, device=Local(python), engine=_BARE, **options).empty_rss_bytes


def take_turns(
    turns: Sequence[Turn],
    ids: dict[int, list[list[int]]],
    want: dict[int, list[Outputs]],
    *,
    rounds: int,
    minutes: float,
    on_turn: Callable[[str], object],
) -> float:
    """Let all take a turn in each round, in another order each time; return the minutes it took.

    There is no further round if it would not end in time; one there always is.
    """
    start, order, longest_s = time.monotonic(), random.Random(0), 0.0  # noqa: S311 (an order)
    for _ in range(rounds):
        begun = time.monotonic()
        if begun - start + longest_s > 60 * minutes:
            break
        for turn in order.sample(turns, len(turns)):
            on_turn(turn.label)
            turn.try_to(lambda turn=turn: turn.take(ids[turn.seq_len], want[turn.seq_len]))
        longest_s = max(longest_s, time.monotonic() - begun)
    return (time.monotonic() - start) / 60
