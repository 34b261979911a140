"""Texts for the tests of the libraries in other languages, drawn with a seed."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

# What is put into some texts: letters of two UTF-16 code units, marks, other scripts and spaces.
_FOREIGN = (
    *("😀", "👩‍👩‍👧", "𝒜𝓃", "𠮷野家", "é", "e\u0301", "ﬁne", "Ｆｕｌｌ", "東京タワーへ行く。"),
    *("Привет,", "مرحبا", "สวัสดี", "½", "3.5", "O'Hara", "well-known", "\u200b", "\u00a0"),
    *("…", "“so”", "No. 7"),
)
# What ends sentences and words, or nearly.
_MARKS = (
    *(".", ".", "!", "?", "…", ". . .", "...", '"', "'", "”", "’", ")", "»", "]", "“", "(", "-"),
    *(" ", " ", " ", "\n", "\t", "\u00a0", "\u2028", "\x1c", "\x85", "\u3000", "。", "！", "」"),
    *("a", "A", "i", "I", "ı", "İ", "ſ", "\u212a", "ß", "1", "²", "½", "Ⅷ", "東", "ก", "𝒜", "𐐨"),
    *("Mr", "dr", "e.g", "U.S", "a.m", "No", "vol", "Mrſ", "eqs", "sept", "é", "e\u0301", "'s"),
    *(",", "』", "😀", "x"),
)
_WORDS = tuple(
    word
    for line in (
        "the a film story of is and was good bad quiet moving dull plot who what river mill built",
        "by in widow storm took its roof bridge fell why nobody knows Ada Charles met London 1973",
        "oil price rose to 12 per barrel first shock science treaty signed king queen of France",
    )
    for word in line.split()
)


def drawn(seed: object) -> random.Random:
    """Return a generator that draws the same for the same seed in every process."""
    return random.Random(repr(seed))


def sentence(source: random.Random, *, foreign: bool = True) -> str:
    """Draw a sentence, of the data's reviews where they are, some with foreign characters in it."""
    words = source.choice(_reviews()).split() if _reviews() else _made(source)
    if foreign and source.random() < 0.4:
        for _ in range(source.randint(1, 3)):
            words.insert(source.randint(0, len(words)), source.choice(_FOREIGN))
    return " ".join(words)


def article(source: random.Random, sentences: int) -> str:
    """Draw an article of so many sentences, some at the end of a line."""
    parts = []
    for _ in range(sentences):
        text = sentence(source)
        parts.append(
            text[:1].upper() + text[1:] + source.choice((".", ".", "!", "?", ' . "', ". ."))
        )
    return "".join(part + source.choice((" ", " ", " ", "\n", "\n\n")) for part in parts)


def marks(source: random.Random) -> str:
    """Draw a text of what ends sentences and words; it contains a letter."""
    parts = [source.choice(_MARKS) for _ in range(source.randint(1, 40))]
    parts.insert(source.randint(0, len(parts)), "so")
    return "".join(part + source.choice(("", "", " ")) for part in parts)


def question_and_passage(source: random.Random) -> tuple[str, str]:
    """Draw a question and its passage, of SQuAD where it is: a dozen words around the answer.

    One in fifty is of several windows.
    """
    if not _squad():
        return f"who {' '.join(_made(source))}?", article(source, source.randint(1, 12))
    question, passage = source.choice(_squad())
    if source.random() < 0.02:
        others = [source.choice(_squad())[1] for _ in range(6)]
        passage = "\n".join([*others[:2], passage, *others[2:]])
    if source.random() < 0.3:
        at = source.randint(0, len(passage))
        passage = passage[:at] + source.choice(_FOREIGN) + passage[at:]
    return question, passage


def masked(source: random.Random) -> str:
    """Draw a sentence with one to three masks."""
    words = sentence(source).split()
    for _ in range(source.randint(1, 3)):
        words[source.randrange(len(words))] = source.choice(
            ("[MASK]", "[MASK]", "so[MASK]", "[MASK],")
        )
    return " ".join(words)


def _made(source: random.Random) -> list[str]:
    return [source.choice(_WORDS) for _ in range(source.randint(1, 30))]


@cache
def _reviews() -> tuple[str, ...]:
    return _read(
        "sentiment/dev.tsv", lambda text: [row.split("\t")[0] for row in text.splitlines()[1:]]
    )


@cache
def _squad() -> tuple[tuple[str, str], ...]:
    def parse(text: str) -> list[tuple[str, str]]:
        return [
            (asked["question"], _around(paragraph["context"], asked["answers"][0]["answer_start"]))
            for article in json.loads(text)["data"]
            for paragraph in article["paragraphs"]
            for asked in paragraph["qas"]
        ]

    return _read("squad/dev-v1.1.from-explorer.json", parse)


def _around(text: str, at: int) -> str:
    """Return the words of a text around a place."""
    begin = text.find(" ", max(0, at - 40)) + 1 if at > 40 else 0
    return text[begin : at + 40].rpartition(" ")[0]


def _read(name: str, parse: Callable[[str], list[Any]]) -> tuple[Any, ...]:
    path = Path(os.environ.get("ALBERT_EDGE_DATA") or "/nonexistent") / name
    return tuple(parse(path.read_text())) if path.exists() else ()
