"""ROUGE: the scores are those of rouge_score."""

from __future__ import annotations

import pytest

from albert_edge.errors import MissingExtraError
from albert_edge.evaluation.rouge import Rouge, porter_stemmer, rouge
from evaluation.files import GOLDEN


def test_stems_need_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from albert_edge.evaluation.rouge import porter_stemmer

    monkeypatch.setitem(__import__("sys").modules, "nltk.stem.porter", None)
    with pytest.raises(MissingExtraError, match=r"albert_edge\[stem\]"):
        porter_stemmer()


@pytest.mark.parametrize(("summary", "references", "plain", "stemmed"), GOLDEN["rouge"])
def test_rouge(
    summary: str, references: list[str], plain: list[float], stemmed: list[float]
) -> None:
    assert rouge(summary, references) == pytest.approx(Rouge(*plain), rel=1e-12)
    with_stems = rouge(summary, references, stemmer=porter_stemmer())
    assert with_stems == pytest.approx(Rouge(*stemmed), rel=1e-12)
