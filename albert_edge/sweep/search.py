"""A search for training options by Optuna, the same every time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from albert_edge.errors import requires_extra
from albert_edge.sweep.plan import Plan, Search, Trial

_INTEGERS = ("epochs", "batch_tokens")


def run_search(
    plan: Plan, run: Callable[[Sequence[Trial]], Mapping[str, Mapping[str, Any]]]
) -> None:
    """Draw the trials of a plan's search, and run them.

    Tree-structured Parzen estimators (Bergstra et al. 2011) draw `at_once` trials from the results
    of all before, then wait for them.  So the trials depend on the seed and on the results alone,
    not on how many run at the same time, nor on whether the sweep was interrupted.

    Args:
        plan: A plan with a `search`.
        run: What runs trials, and returns their rows by name.

    Raises:
        MissingExtraError: Optuna is not installed.
    """
    with requires_extra("search"):
        import optuna
    search = plan.search
    assert search is not None  # noqa: S101 (see above)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(n_startup_trials=search.at_once, seed=search.seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    space = _space(optuna, search)
    for first in range(0, search.trials, search.at_once):
        numbers = range(first, min(first + search.at_once, search.trials))
        drawn = [study.ask(space) for _ in numbers]
        trials = [
            plan.searched(number + 1, _rounded(one.params))
            for number, one in zip(numbers, drawn, strict=True)
        ]
        rows = run(trials)
        for trial, one in zip(trials, drawn, strict=True):
            score = score_of(rows[trial.name])
            if score is None:
                study.tell(one, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(one, score)


def score_of(row: Mapping[str, Any]) -> float | None:
    """Return the metric of a row, negated where lower is better; None without one."""
    if row["status"] != "ok" or row["value"] is None:
        return None
    value = float(row["value"])
    return -value if row["metric"] in LOWER_IS_BETTER else value


LOWER_IS_BETTER = ("perplexity",)


def _space(optuna: Any, search: Search) -> dict[str, Any]:
    made = optuna.distributions
    return {
        name: made.IntDistribution(int(low), int(high), log=name == "batch_tokens")
        if name in _INTEGERS
        else made.FloatDistribution(low, high, log=True)
        for name, (low, high) in search.ranges.items()
    }


def _rounded(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with three digits, which is all that a report needs to show."""
    return {
        name: value if isinstance(value, int) else _round(value) for name, value in options.items()
    }


def _round(value: float) -> float:
    return round(value, 2 - math.floor(math.log10(value)))
