"""`albert_edge.sweep.search`: what is drawn depends on the seed and the results alone."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from albert_edge.sweep.plan import Plan, Search, Trial
from albert_edge.sweep.search import run_search, score_of

KNOBS: dict[str, Any] = {"finetune": (False,), "compress": (False,), "seed": (5,)}


def search(seed: int = 0, fails: str = "") -> list[dict[str, Any]]:
    """Return what is drawn where a rate near 1e-3 is best, and results come in disorder."""
    drawn: dict[str, dict[str, Any]] = {}

    def run(trials: Sequence[Trial]) -> Mapping[str, Mapping[str, Any]]:
        assert len(trials) <= 3
        drawn.update({trial.name: dict(trial.knobs["finetune"]) for trial in trials})
        rows = {
            trial.name: {
                "status": "error" if trial.name == fails else "ok",
                "metric": "accuracy",
                "value": -abs(trial.knobs["finetune"]["learning_rate"] - 1e-3),
            }
            for trial in trials
        }
        return dict(random.sample(sorted(rows.items()), len(rows)))

    found = Search(
        trials=8,
        seed=seed,
        at_once=3,
        options={"max_length": 16},
        learning_rate=(1e-5, 1e-1),
        epochs=(1, 3),
    )
    knobs = {**KNOBS, "vocabulary": ("all",)}
    run_search(Plan(model="m", dev=Path("d"), train=Path("t"), knobs=knobs, search=found), run)
    assert [*drawn] == [f"search-{number}" for number in range(1, 9)]
    return [*drawn.values()]


def test_the_same_seed_draws_the_same_trials_within_the_ranges() -> None:
    first = search()
    assert first == search() != search(seed=1)
    assert search(fails="search-2")[:3] == first[:3]
    for options in first:
        assert options["max_length"] == 16  # for all
        assert 1e-5 <= options["learning_rate"] <= 1e-1
        assert options["epochs"] in (1, 2, 3)


@pytest.mark.parametrize(
    ("row", "score"),
    [
        ({"status": "ok", "metric": "accuracy", "value": 0.5}, 0.5),
        ({"status": "ok", "metric": "perplexity", "value": 9.0}, -9.0),
        ({"status": "ok", "metric": "mcc", "value": None}, None),
        ({"status": "error"}, None),
    ],
)
def test_a_higher_score_is_better(row: dict[str, Any], score: float | None) -> None:
    assert score_of(row) == score
