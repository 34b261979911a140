"""Texts for Google's libraries: odd ones, which their tokenizers may read otherwise, and drawn."""

from __future__ import annotations

import json
import random
from pathlib import Path

# White space, case, accents, compatibility characters, marks, quotes, digits before commas, control
# characters, other scripts, unknown characters.
ODD = (
    "A QUIET Film, quietly MADE.",
    "  two  spaces\tand a\nline end  ",
    "a caf\u00e9, na\u00efve and \u00c5ngstr\u00f6m, fa\u00e7ade",
    "e\u0301 and n\u0303 in two characters, cafe\u0301",
    "\uff26\uff55\uff4c\uff4c\uff0d\uff57\uff49\uff44\uff54\uff48 \uff11\uff12\uff13\uff0c \uff21",
    "``quotes'' of LaTeX, and ''more``",
    "On March 3, 1999, it sold 1,234,567 copies.",
    "in 2009, 2010,2011 and 9,",
    "no\u00a0break\u2003em\u3000wide\u202fnarrow",
    "zero\u200bwidth\u200bspaces and \ufeffa byte order mark",
    "bell\u0007, delete\u007f and \u0080 control\u009f characters",
    "soft\u00adhyphen, joiner\u200d, non\u200cjoiner",
    "\ufb01ne \ufb02uff, \u2122 \u00ae, \u00bd, \u2460, \u2167, x\u00b2",
    "\u201ccurly\u201d \u2018quotes\u2019, \u2026 \u2014 dashes \u2013",
    "Stra\u00dfe, \u0130stanbul, \u03a3\u03af\u03c3\u03c5\u03c6 \u039f\u0394\u039f\u03a3",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440; \u0645\u0631\u062d\u0628\u0627",
    "\u6771\u4eac\u30bf\u30ef\u30fc \ud55c\uad6d\uc5b4 \u0e44\u0e17\u0e22",
    "\U0001f600 \U0001f469\u200d\U0001f467 \U0001d49c\U0001d4c3, \U00020bb7",
    "it's a well-known (rock'n'roll) e-mail@example.com, #1 & 50% / $9.99!",
    "[CLS] a [MASK] of </s> <pad> \u2581 names",
)
DRAWN = 200
_SEED = 18


def sentences(data: Path) -> list[str]:
    """Draw sentences of the sentiment dev set, and questions and sentences of SQuAD's."""
    lines = (data / "sentiment/dev.tsv").read_text(encoding="utf-8").splitlines()
    reviews = [line.split("\t")[0] for line in lines[1:]]
    pairs = _squad(data)
    questions = [question for question, _ in pairs]
    facts = [passage.split(". ")[0] for _, passage in pairs]
    draw = random.Random(_SEED)
    return [*draw.sample(reviews, 100), *draw.sample(questions, 50), *draw.sample(facts, 50)]


def questions(data: Path, count: int) -> list[tuple[str, str]]:
    """Draw questions of SQuAD's two dev sets, with their passages."""
    both = dict.fromkeys([*_squad(data), *_squad(data, "2.0")])
    return random.Random(_SEED).sample(list(both), count)


def _squad(data: Path, version: str = "1.1") -> list[tuple[str, str]]:
    text = (data / f"squad/dev-v{version}.from-explorer.json").read_text(encoding="utf-8")
    return [
        (question["question"], paragraph["context"])
        for article in json.loads(text)["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]
