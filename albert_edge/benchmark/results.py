"""What became of one configuration: its rounds, whether it answers rightly, or why it failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from albert_edge.benchmark.figures import figures, restore_rounds, round_figures
from albert_edge.benchmark.health import doubts, spread
from albert_edge.benchmark.measure import Measurement
from albert_edge.benchmark.outputs import worse
from albert_edge.benchmark.plan import Configuration
from albert_edge.errors import AlbertEdgeError

__all__ = ["Result"]


@dataclass(slots=True, kw_only=True)
class Result:
    """One line of a report, which grows from round to round.

    Attributes:
        configuration: What is measured.
        rounds: What was measured, the rounds in turn.
        fidelity: How its outputs compare with the reference's, the worst round; None before one.
        error: Why it failed, its class's name and its message; None if it did not.
        text_tokens: How many tokens the text has that is answered from end to end.
    """

    configuration: Configuration
    rounds: list[Measurement] = field(default_factory=list)
    fidelity: dict[str, Any] | None = None
    error: dict[str, str] | None = None
    text_tokens: int | None = None
    _row: dict[str, Any] | None = None  # what `to_row` returned, until something changes

    def add(self, measured: Measurement, fidelity: dict[str, Any]) -> None:
        """Add a round and how its outputs compare."""
        self._row = None
        self.rounds.append(measured)
        self.fidelity = fidelity if self.fidelity is None else worse(self.fidelity, fidelity)

    def fail(self, error: AlbertEdgeError) -> None:
        """Note why it cannot be measured; what was measured before is kept."""
        self._row = None
        self.error = {"type": type(error).__name__, "message": str(error)}

    def restore(self, row: Mapping[str, Any]) -> None:
        """Take the rounds of an earlier run; what failed then gets another chance.

        Raises:
            KeyError: A field is missing.
        """
        self._row = None
        if row.get("rounds"):
            self.rounds = restore_rounds(row)
            self.fidelity = row["fidelity"]

    @property
    def status(self) -> str:
        """`error`, `pending` (no round yet), `wrong` (beyond its recipe's tolerance) or `ok`."""
        if self.error is not None:
            return "error"
        if self.fidelity is None:
            return "pending"
        return "ok" if self.fidelity["passed"] else "wrong"

    def to_row(self) -> dict[str, Any]:
        """Describe it, ready for JSON; the figures are left out before the first round."""
        if self._row is None:
            self._row = {**self._identity(), **(self._measured() if self.rounds else {})}
        return self._row

    def _identity(self) -> dict[str, Any]:
        one = self.configuration
        return {
            **one.subject.to_dict(),
            "accelerator": one.accelerator,
            "threads": one.threads,
            "seq_len": one.seq_len,
            "status": self.status,
            "rank": None,
            "warnings": doubts(self.rounds),
            "error": self.error,
            "fidelity": self.fidelity,
        }

    def _measured(self) -> dict[str, Any]:
        summed = figures(self.rounds)
        if summed["end_to_end"]:
            summed["end_to_end"]["tokens"] = self.text_tokens
        rounds = [round_figures(each) for each in self.rounds]
        return {**summed, "spread": spread(self.rounds), "rounds": rounds}
