"""SQuAD's scores are those of the official evaluators."""

from __future__ import annotations

from pathlib import Path

import pytest

from albert_edge.evaluation.evaluate import evaluate
from albert_edge.evaluation.squad import (
    best_threshold,
    exact_score,
    f1_score,
    normalize_answer,
    references,
)
from evaluation.files import GOLDEN, figures


def test_the_scores_of_the_official_evaluator(data_folder: Path) -> None:
    """The scores equal those that SQuAD 1.1's own evaluator prints, to the last digit."""
    source = data_folder / "squad" / "dev-v1.1.from-explorer.json"
    for name, exact, f1 in (
        ("BERT__ensemble___Google_AI_Language_", 86.20624408703878, 92.19557978351129),
        ("albert-base_pohanchi_dev-v1.1_predictions", 78.27814569536424, 86.90508361514442),
        (
            "Logistic_Regression_Baseline__Stanford_University_",
            40.14191106906339,
            50.98153647324482,
        ),
    ):
        found = figures(evaluate(data_folder / f"squad/predictions-v1.1/{name}.json", source))
        assert 100 * found["exact"] == pytest.approx(exact, rel=1e-12)
        assert 100 * found["f1"] == pytest.approx(f1, rel=1e-12)


@pytest.mark.parametrize(("answer", "reference", "exact", "f1_v1", "f1_v2"), GOLDEN["squad"])
def test_squad(answer: str, reference: str, exact: bool, f1_v1: float, f1_v2: float) -> None:
    assert exact_score(answer, [reference]) == exact
    assert f1_score(answer, [reference], squad_v2=False) == pytest.approx(f1_v1, rel=1e-12)
    assert f1_score(answer, [reference], squad_v2=True) == pytest.approx(f1_v2, rel=1e-12)


def test_the_best_of_several_references_counts() -> None:
    assert exact_score("the mill", ["a river", "Mill!"])
    assert f1_score("old mill", ["river", "an old mill wheel"], squad_v2=False) == 0.8


def test_references_that_normalize_to_nothing_are_left_out_in_squad_2() -> None:
    assert normalize_answer("The!") == ""
    assert references(("The!", "mill"), squad_v2=True) == ["mill"]
    assert references(("The!",), squad_v2=True) == [""]
    assert references(("The!",), squad_v2=False) == ("The!",)


@pytest.mark.parametrize(
    ("scores", "answers", "has_answer", "odds", "best", "threshold"), GOLDEN["thresholds"]
)
def test_best_threshold(
    scores: list[float],
    answers: list[str],
    has_answer: list[bool],
    odds: list[float],
    best: float,
    threshold: float,
) -> None:
    found = best_threshold(scores, [bool(answer) for answer in answers], has_answer, odds)
    assert found == (pytest.approx(best / 100, rel=1e-12), threshold)
