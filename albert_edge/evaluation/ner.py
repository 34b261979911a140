"""Labelled words: files with a word a line, and the F1 of the entities in them."""

from __future__ import annotations

from collections.abc import Sequence

from albert_edge.evaluation.metrics import Metric, f_measure, metric_from_sums
from albert_edge.pipelines.words import bio_to_entities

__all__ = ["tagging"]


def tagging(predictions: Sequence[Sequence[str]], targets: Sequence[Sequence[str]]) -> list[Metric]:
    """Return the F1, precision and recall of entities, and the accuracy of words.

    An entity is right if its kind, its first and its last word are (Tjong Kim Sang & De Meulder
    2003, arXiv:cs/0306050); entities begin and end as in `bio_to_entities`, and as in seqeval.
    """
    found = [set(bio_to_entities(labels)) for labels in predictions]
    true = [set(bio_to_entities(labels)) for labels in targets]
    hits = [len(ours & theirs) for ours, theirs in zip(found, true, strict=True)]
    claims, truths = [len(each) for each in found], [len(each) for each in true]
    right = [
        sum(one == other for one, other in zip(ours, theirs, strict=True))
        for ours, theirs in zip(predictions, targets, strict=True)
    ]
    return [
        metric_from_sums("f1", [hits, claims, truths], lambda sums: f_measure(*sums)),
        metric_from_sums(
            "precision", [hits, claims], lambda sums: sums[0] / sums[1] if sums[1] else 0.0
        ),
        metric_from_sums(
            "recall", [hits, truths], lambda sums: sums[0] / sums[1] if sums[1] else 0.0
        ),
        metric_from_sums("accuracy", [right, [*map(len, targets)]], lambda sums: sums[0] / sums[1]),
    ]
