"""Write metrics_golden.json: what the public evaluators make of the same answers.

Run it in an environment of its own with scikit-learn, scipy, seqeval and rouge_score (they are no
dependency of the package or of its tests), and give it SQuAD's two official evaluators:

    python tests/data/make_metrics_golden.py evaluate-v1.1.py evaluate-v2.0.py
"""

from __future__ import annotations

import importlib.util
import json
import random
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

LABELS = {"two": ["bad", "good"], "four": ["a", "b", "c", "d"]}
ANSWERS = [
    "The mill",
    "a mill, by the river",
    "Mill",
    "the",
    "",
    "!?",
    "An  old   mill-wheel",
    "old millwheel",
    "1,843",
    "the theatre of a man",
    "ÉTÉ",
    "été",
    "a a a mill mill",
    "the\u00a0mill",
    "U.S. and U.K.",
    "“the mill”",
]
TEXTS = [
    "The miller's daughters were running to the river, running and singing.",
    "Her daughter ran to the river; she sang as the millers run.",
    "In 1843 Ada wrote notes -- longer than the paper they explained!",
    "Notes, written by Ada, explained the paper in 1843",
    "été naïve ＡＢＣ x1 2y",
    "running",
    "...",
    "dying skies and happily lying generously",
    "the the the the mill of the the mill",
    "it has a gas and two buses",
    "its gas was on the bus",
]
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "E-PER", "S-LOC", "E-LOC", "S-PER"]


def main() -> None:
    """Make answers at random, score them, and write both beside this script."""
    draw = random.Random(5)
    first, second = (load(Path(path)) for path in sys.argv[1:3])
    golden = {
        "squad": squad(first, second),
        "thresholds": thresholds(second, draw),
        "classification": [
            classification(draw, name, count) for name in LABELS for count in (9, 60)
        ],
        "multi_label": multi_label(draw),
        "regression": [regression(draw, step) for step in (0.01, 1.0, 2.5)],
        "tags": [tags(draw, TAGS[:count]) for count in (3, 5, 9) for _ in range(3)],
        "rouge": rouge(),
        "statistics": statistics(),
    }
    lines = [f'"{name}": {json.dumps(part, ensure_ascii=False)}' for name, part in golden.items()]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    Path(__file__).with_name("metrics_golden.json").write_text(text, encoding="utf-8")


def load(path: Path) -> ModuleType:
    """Import a script."""
    spec = importlib.util.spec_from_file_location(path.stem.replace(".", "_"), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def squad(first: ModuleType, second: ModuleType) -> list[Any]:
    """Score every answer against every other one: [answer, truth, exact, F1 of 1.1, F1 of 2.0]."""
    return [
        [
            answer,
            truth,
            bool(first.exact_match_score(answer, truth)),
            float(first.f1_score(answer, truth)),
            float(second.compute_f1(truth, answer)),
        ]
        for answer in ANSWERS
        for truth in ANSWERS
    ]


def thresholds(second: ModuleType, draw: random.Random) -> list[Any]:
    """Find the best: [scores, answers, known, odds, best score in percent, threshold]."""
    found = []
    for size, bias in ((12, 1.0), (12, -8.0), (12, 8.0), (40, 2.0)):
        names = [f"q{index}" for index in range(size)]
        known = {name: draw.random() < 0.5 for name in names}
        answers = {name: draw.choice(["", "mill", "river"]) for name in names}
        scores = {name: draw.choice([0.0, 0.5, 1.0]) * known[name] for name in names}
        odds = {name: round(draw.gauss(-bias if known[name] else bias, 2), 1) for name in names}
        best = second.find_best_thresh(answers, scores, odds, known)
        found.append([list(x.values()) for x in (scores, answers, known, odds)] + list(best))
    return found


def classification(draw: random.Random, name: str, count: int) -> dict[str, Any]:
    """Score labels at random with scikit-learn."""
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    labels = LABELS[name]
    truth = [draw.choice(labels) for _ in range(count)]
    guess = [one if draw.random() < 0.6 else draw.choice(labels) for one in truth]
    how = (
        {"average": "binary", "pos_label": labels[1]} if len(labels) == 2 else {"average": "macro"}
    )
    return {
        "labels": labels,
        "targets": truth,
        "predictions": guess,
        "accuracy": accuracy_score(truth, guess),
        "f1" if len(labels) == 2 else "macro_f1": f1_score(truth, guess, **how),
        "matthews": matthews_corrcoef(truth, guess),
    }


def multi_label(draw: random.Random) -> dict[str, Any]:
    """Score sets of labels with scikit-learn; the last label never occurs."""
    from sklearn.metrics import accuracy_score, f1_score

    rows = [[draw.random() < 0.4 for _ in range(3)] + [False] for _ in range(30)]
    guesses = [[one != (draw.random() < 0.2) for one in row[:3]] + [False] for row in rows]
    labels = LABELS["four"]
    sides = {
        name: [[label for label, is_on in zip(labels, row, strict=True) if is_on] for row in side]
        for name, side in (("targets", rows), ("predictions", guesses))
    }
    return {
        "labels": labels,
        **sides,
        "micro_f1": f1_score(rows, guesses, average="micro"),
        "macro_f1": f1_score(rows, guesses, average="macro", zero_division=0),
        "accuracy": accuracy_score(rows, guesses),
    }


def regression(draw: random.Random, step: float) -> dict[str, Any]:
    """Correlate numbers with scipy; a coarse step makes many of them equal."""
    from scipy.stats import pearsonr, spearmanr

    truth = [round(draw.uniform(0, 5) / step) * step for _ in range(40)]
    guess = [round((one + draw.gauss(0, 1)) / step) * step for one in truth]
    return {
        "targets": truth,
        "predictions": guess,
        "pearson": float(pearsonr(truth, guess).statistic),
        "spearman": float(spearmanr(truth, guess).statistic),
    }


def tags(draw: random.Random, names: list[str]) -> dict[str, Any]:
    """Score tags in any order, also impossible ones, with seqeval."""
    from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score

    truth = [[draw.choice(names) for _ in range(draw.randint(1, 9))] for _ in range(8)]
    guess = [
        [one if draw.random() < 0.7 else draw.choice(names) for one in sentence]
        for sentence in truth
    ]
    scores = {
        "f1": f1_score,
        "precision": precision_score,
        "recall": recall_score,
        "accuracy": accuracy_score,
    }
    figures = {name: float(score(truth, guess)) for name, score in scores.items()}
    return {"targets": truth, "predictions": guess, **figures}


def rouge() -> list[Any]:
    """Score texts against pairs of texts: [summary, references, plain, with Porter's stemmer]."""
    from rouge_score.rouge_scorer import RougeScorer

    kinds = ["rouge1", "rouge2", "rougeL"]
    scorers = [RougeScorer(kinds, use_stemmer=stem) for stem in (False, True)]
    rows: list[Any] = []
    for at, summary in enumerate(TEXTS):
        for size in (1, 2):
            references = [TEXTS[(at + step) % len(TEXTS)] for step in range(1, size + 1)]
            scores = [scorer.score_multi(references, summary) for scorer in scorers]
            figures = [[one[kind].fmeasure for kind in kinds] for one in scores]
            rows.append([summary, references, *figures])
    return rows


def statistics() -> list[Any]:
    """Compute [successes, trials, Wilson's interval, exact two-sided p-value of one half]."""
    from scipy.stats import binomtest

    rows = []
    for right, count in ((0, 5), (1, 1), (8, 10), (30, 97), (1092, 1471)):
        test = binomtest(right, count)
        low, high = test.proportion_ci(method="wilson")
        rows.append([right, count, float(low), float(high), float(test.pvalue)])
    return rows


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
