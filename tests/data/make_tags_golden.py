"""Write tags_golden.json: the entities and the scores that seqeval finds in tags of any scheme.

seqeval knows B, I, E and S, with a kind or without; M of the scheme BMES is I there, and W is S.
Run it in an environment of its own with seqeval, which is no dependency of the tests:

    python tests/data/make_tags_golden.py
"""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path
from typing import Any

from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities

SCHEMES = {
    "nameless IOB": ["O", "B", "I"],
    "nameless IOBES": ["O", "B", "I", "E", "S"],
    "nameless BMES": ["O", "B", "M", "E", "S"],
    "BMES": ["O", *(f"{mark}-{kind}" for mark in "BMES" for kind in ("ORG", "PER"))],
    "BMEW": ["O", *(f"{mark}-{kind}" for mark in "BMEW" for kind in ("ORG", "A-B"))],
}
SCORES = {
    "f1": f1_score,
    "precision": precision_score,
    "recall": recall_score,
    "accuracy": accuracy_score,
}


def main() -> None:
    """Draw tags, also impossible ones, and write them with their entities and scores."""
    draw = random.Random(11)
    golden = [scored(draw, name, tags) for name, tags in SCHEMES.items() for _ in range(4)]
    # seqeval's own reading, where M and W are none of its marks: of tags in their usual order.
    golden += [
        {"scheme": "M as it is", "entities": [entities(tags) for tags in rows], "targets": rows}
        for rows in [
            [["B-ORG", "M-ORG", "E-ORG"], ["O", "B-ORG", "M-ORG", "M-ORG", "E-ORG", "O", "S-PER"]],
            [["W-ORG", "O", "B-PER", "M-PER", "E-PER"], ["B-PER", "M-PER", "O", "M-ORG"]],
        ]
    ]
    text = ",\n".join(json.dumps(row) for row in golden)
    Path(__file__).with_name("tags_golden.json").write_text(f"[\n{text}\n]\n", encoding="utf-8")


def scored(draw: random.Random, name: str, tags: list[str]) -> dict[str, Any]:
    """Score tags at random."""
    truth = [[draw.choice(tags) for _ in range(draw.randint(1, 9))] for _ in range(8)]
    guess = [
        [one if draw.random() < 0.7 else draw.choice(tags) for one in sentence]
        for sentence in truth
    ]
    known = [[[as_known(tag) for tag in row] for row in side] for side in (truth, guess)]
    scores = {metric: float(score(*known)) for metric, score in SCORES.items()}
    return {
        "scheme": name,
        "targets": truth,
        "predictions": guess,
        "entities": [entities(row) for row in known[0]],
        **scores,
    }


def as_known(tag: str) -> str:
    """Return a tag with a mark that seqeval knows."""
    return {"M": "I", "W": "S"}.get(tag[0], tag[0]) + tag[1:]


def entities(tags: list[str]) -> list[tuple[str, int, int]]:
    """Return each entity's kind, its first word and the one behind its last."""
    return [(kind, int(first), int(last) + 1) for kind, first, last in get_entities(tags)]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
