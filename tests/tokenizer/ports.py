"""Texts, vocabularies and options to compare the tokenizers of other languages with Python's."""

from __future__ import annotations

import json
import random
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from albert_edge.files import embedded_model
from albert_edge.tokenizer import Encoding, Span, Tokenizer, tokenizer_from_files
from albert_edge.tokenizer.protobuf import encode_bytes, encode_varint
from albert_edge.tokenizer.subset import open_vocab
from tokenizer.reference import DATA, NASTY

Files = Mapping[str, bytes]

SPIECES = ("albert", "embedded", "trimmed")
VOCABS = ("minilm", "chinese", "trimmed")

LANGUAGES = (
    "The quick brown fox doesn't jump over 13 lazy dogs; it sleeps, at 9, in the ``old'' barn.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich, für 1.234,50 €.",
    "Dès Noël, où un zéphyr haï me vêt de glaçons würmiens, je dîne d'exquis rôtis de bœuf.",
    "El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y frío; añoraba a su hermano.",
    "Pijamalı hasta yağız şoföre çabucak güvendi. İstanbul'da IŞIK vardı.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю в 1998, году. ЁЖИК й.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. ΟΔΥΣΣΕΥΣ, ΣΟΦΟΣ ΛΟΓΟΣ, Σ.",
    "עטלף אבק נס דרך מזגן שהתפוצץ כי חם. שָׁלוֹם עֲלֵיכֶם",
    "صِف خَلقَ خَودِ كَمِثلِ الشَمسِ إِذ بَزَغَت — ١٢٣، ٤٥٦",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश। १२३",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน",
    "いろはにほへと ちりぬるを。ガギグゲゴ ｶﾞｷﾞ、東京都は１２３番地です。",
    "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. 각값넋",
    "我能吞下玻璃而不伤身体。中文，标点！「引号」ABC漢字混ぜ書き㐀𠀀豈",
    "Tiếng Việt: Do bạch kim rất quý nên sẽ dùng để lắp vô xương.",
)
EMOJI = "😀👍🏽👩‍👩‍👧‍👦🏳️‍🌈🇩🇪1️⃣❤️\u200d🔥☎️©️™🫠🧑🏿‍🚀"
SPECIAL = ("[MASK]", "[CLS]", "[SEP]", "<pad>", "[PAD]", "<unk>", "[UNK]", "<PAD>", "[mask]")
ADDED = ("<ent>", "</ent>", "New York", "[E1]", "foo", "ß", "ΣΣ", "🦊")
# Of each plane some characters, and of the first ones all that a rule could be about.
PLANES = [
    *(chr(n) for n in range(0x250)),
    *(chr(n) for n in range(0x300, 0x500)),
    *(chr(n) for n in range(0x1E00, 0x2200)),
    *(chr(n) for n in range(0x2460, 0x2500)),
    *(chr(n) for n in range(0x3040, 0x3400, 3)),
    *(chr(n) for n in range(0xF900, 0xFB50, 2)),
    *(chr(n) for n in range(0xFE00, 0x10000)),
    *(chr(n) for n in range(0x10000, 0x110000, 997)),
    *(chr(n) for n in range(0x1D400, 0x1D800, 5)),
]
COMBINING = [chr(n) for n in range(0x110000) if unicodedata.combining(chr(n))]


@cache
def texts(count: int, *, seed: int) -> list[str]:
    """Texts of all planes, languages, emoji, marks, control characters and names of tokens."""
    rng = random.Random(seed)
    words = [word for line in LANGUAGES for word in line.split()]
    kinds: list[Callable[[], str]] = [
        lambda: rng.choice(words) + rng.choice((" ", "  ", " ", "\t", "\n", ",", "")),
        lambda: rng.choice(words).upper() + " ",
        lambda: rng.choice(PLANES),
        lambda: rng.choice(NASTY),
        lambda: rng.choice(EMOJI),
        lambda: rng.choice(words) + "".join(rng.choices(COMBINING, k=rng.randint(1, 4))),
        lambda: chr(rng.choice((*range(32), *range(0x7F, 0xA0), 0x200B, 0xFEFF, 0xFFFD))),
        lambda: rng.choice((" ", "")) + rng.choice((*SPECIAL, *ADDED)) + rng.choice((" ", "")),
        lambda: f"{rng.randint(0, 10 ** rng.randint(1, 6)):,}{rng.choice((',', ', ', '.', ' '))}",
        lambda: unicodedata.normalize(
            rng.choice(("NFC", "NFD", "NFKC", "NFKD")),  # type: ignore[arg-type]
            rng.choice(words),
        ),
    ]
    found = [*LANGUAGES, "", " ", "\n", EMOJI, "e", "▁", "▁▁ ▁", "\u0301", "\x00"]
    while len(found) < count:
        weights = [rng.random() for _ in kinds]
        parts = rng.choices(kinds, weights, k=rng.choice((1, 3, 10, 30)))
        found.append("".join(part() for part in parts))
    return [text.encode("utf-8", "replace").decode() for text in found]


def utf16_index(text: str) -> Callable[[int], int]:
    """Return a function from the index of a character to that of its first code unit."""
    wide = [at for at, char in enumerate(text) if char > "\uffff"]
    return lambda at: at + bisect_left(wide, at)


def tokens_of(tokenizer: Tokenizer, text: str) -> list[list[int]]:
    ids, offsets = tokenizer.tokenize(text)
    return [ids, *moved(text, offsets)]


def moved(text: str, offsets: Sequence[Span]) -> list[list[int]]:
    index = utf16_index(text)
    return [[index(start) for start, _ in offsets], [index(end) for _, end in offsets]]


def encoded(encoding: Encoding, text: str, pair: str | None) -> list[list[int]]:
    starts, ends = [], []
    indices = (utf16_index(text), utf16_index(pair or ""))
    for kind, span in zip(encoding.token_type_ids, encoding.offsets, strict=True):
        starts.append(-1 if span is None else indices[kind](span[0]))
        ends.append(-1 if span is None else indices[kind](span[1]))
    return [encoding.input_ids, starts, ends, encoding.token_type_ids]


def config(**options: Any) -> dict[str, bytes]:
    return {"tokenizer_config.json": json.dumps(options).encode()}


def token(name: str, **flags: bool) -> dict[str, Any]:
    return {"content": name, **flags}


ADDED_TOKENS = {
    "40000": token("<ent>", special=True),
    "40001": token("</ent>", lstrip=True, rstrip=True),
    "40002": token("New York", normalized=True),
    "40003": token("[E1]", special=True, rstrip=True),
    "40004": token("foo", single_word=True),
    "40005": token("ß", lstrip=True, single_word=True),
    "40006": token("🦊", normalized=False),
    "40007": token("ΣΣ"),
}
SENTENCE_PIECE_OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "keeps accents": {"keep_accents": True},
    "keeps space": {"remove_space": False},
    "cased": {"do_lower_case": False},
    "keeps all": {"do_lower_case": False, "keep_accents": True, "remove_space": False},
    "added tokens": {"added_tokens_decoder": ADDED_TOKENS, "truncation_side": "left"},
    "named tokens": {
        "additional_special_tokens": ["New York", "[E1]"],
        "mask_token": {"content": "[MASK]", "lstrip": True},
        "model_max_length": 64,
    },
}
WORD_PIECE_OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "cased": {"do_lower_case": False},
    "keeps accents": {"strip_accents": False},
    "cased without accents": {"do_lower_case": False, "strip_accents": True},
    "chinese words": {"tokenize_chinese_chars": False, "truncation_side": "left"},
    "added tokens": {"added_tokens_decoder": ADDED_TOKENS, "model_max_length": 1e30},
}


def embedded_files() -> dict[str, bytes]:
    return {"spiece.model": (embedded_model() / "spiece.model").read_bytes()}


def chinese_files() -> dict[str, bytes]:
    return {"vocab.txt": (DATA / "wordpiece_vocab.txt").read_bytes()}


def trimmed(files: Files) -> dict[str, bytes]:
    """The files of the tokenizer with only the pieces that some texts need."""
    tokenizer = tokenizer_from_files(files)
    vocab = open_vocab(tokenizer)
    used = {token_id for text in LANGUAGES for token_id in vocab.used_ids(text)}
    return vocab.subset(sorted(vocab.required_ids | used)).files()


@cache
def character_files() -> dict[str, bytes]:
    """A vocabulary of characters, whose ids say what becomes of each character of a text."""
    chars = sorted(characters())
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    lines = [*special, *chars, *(f"##{char}" for char in chars)]
    return {"vocab.txt": "".join(f"{line}\n" for line in lines).encode()}


@cache
def unigram_files() -> dict[str, bytes]:
    """A SentencePiece model of characters, without rules of its own."""
    names = [("<pad>", 3), ("<unk>", 2), ("[CLS]", 3), ("[SEP]", 3), ("[MASK]", 3), ("▁", 1)]
    names += [(char, 1) for char in sorted(characters()) if char != "▁"]
    pieces = (
        encode_bytes(1, encode_bytes(1, name.encode()) + encode_varint(3, kind))
        for name, kind in names
    )
    settings = encode_varint(3, 1)
    normalizer = encode_varint(3, 1) + encode_varint(4, 0)
    proto = b"".join(pieces) + encode_bytes(2, settings) + encode_bytes(3, normalizer)
    return {"spiece.model": proto}


@cache
def characters() -> frozenset[str]:
    """All characters that Unicode's rules change, and those that they become."""
    found = {chr(n) for n in (*range(33, 127), *range(0x1100, 0x1200), *range(0xAC00, 0xD7A4))}
    for char in filter(str.isprintable, map(chr, range(0x110000))):
        forms = [char.lower(), char.upper(), unicodedata.normalize("NFKD", char.lower())]
        forms += [unicodedata.normalize("NFKD", char)] if not char.isascii() else []
        if any(form != char for form in forms) or unicodedata.combining(char):
            found.update(char, *forms)
    return frozenset(char for char in found if char.isprintable() and not char.isspace())


def spiece_files(request: pytest.FixtureRequest) -> dict[str, bytes]:
    """Return the files of the parameter, one of `SPIECES`."""
    if request.param == "embedded":
        return embedded_files()
    folder: Path = request.getfixturevalue("data_folder")
    files = {"spiece.model": (folder / "albert_spm/30k-clean.model").read_bytes()}
    return files if request.param == "albert" else trimmed(files)


def vocab_files(request: pytest.FixtureRequest) -> dict[str, bytes]:
    """Return the files of the parameter, one of `VOCABS`."""
    if request.param == "chinese":
        return chinese_files()
    folder: Path = request.getfixturevalue("data_folder")
    files = {"vocab.txt": (folder / "albert_minilm/encoder/vocab.txt").read_bytes()}
    return files if request.param == "minilm" else trimmed(files)


@cache
def every_character() -> list[str]:
    """All characters, but of the planes that have none assigned or only private ones some."""
    ranges = (range(0xD800), range(0xE000, 0x32000), range(0x32000, 0x110000, 61))
    every = [chr(n) for part in (*ranges, range(0xE0000, 0xE0200)) for n in part]
    return [" ".join(every[at : at + 4096]) for at in range(0, len(every), 4096)]


@cache
def mixed_characters() -> list[str]:
    rng = random.Random(3)
    pool = [*sorted(characters()), *map(chr, range(0x1100, 0x1200)), *COMBINING, *"ΣσςΑ.' "]
    sigma = ["Σ", "σ", "Α", "'", ".", "\u0301", "\u00ad", " ", "1", "𝚺", "ʰ"]
    return [
        *("".join(rng.choices(pool, k=rng.randint(2, 30))) for _ in range(1000)),
        *("".join(rng.choices(COMBINING, k=30)) for _ in range(100)),
        *("".join(rng.choices(sigma, k=8)) for _ in range(1000)),
    ]


def encode(tokenizer: Tokenizer, call: Mapping[str, Any]) -> list[list[int]]:
    return encoded(tokenizer.encode(**call), call["text"], call["pair"])


def windows(tokenizer: Tokenizer, call: Mapping[str, Any]) -> list[list[list[int]]]:
    pair = call["question"], call["context"]
    return [encoded(window, *pair) for window in tokenizer.windows(**call)]


CONFIGS: list[dict[str, Any]] = [
    {"tokenizer_class": "T5Tokenizer"},
    {"do_lowercase": True},
    {"remove_spaces": True},
    {"padding_side": "left"},
    {"truncation_side": "middle"},
    {"split_special_tokens": True},
    {"model_input_names": ["input_ids"]},
    {"model_max_length": 4},
    {"model_max_length": "512"},
    {"model_max_length": True},
    {"do_lower_case": "yes"},
    {"cls_token": 3},
    {"cls_token": "<no such piece>"},
    {"additional_special_tokens": "x"},
    {"additional_special_tokens": [""]},
    {"added_tokens_decoder": []},
    {"added_tokens_decoder": {"x": token("y")}},
    {"added_tokens_decoder": {"-1": token("y")}},
    {"added_tokens_decoder": {"40000": token("y"), "40001": token("y")}},
    {"added_tokens_decoder": {"4000": token("")}},
    {"added_tokens_decoder": {"4000": {"special": True}}},
]


def damage(rng: random.Random, content: bytes) -> bytes:
    """Cut a file, or change some of its bytes, one half of them in its beginning."""
    if rng.random() < 0.2:
        return content[: rng.randrange(len(content))]
    changed = bytearray(content)
    ends = (len(changed), 2000)
    for _ in range(rng.choice((1, 3, 30))):
        at = rng.randrange(min(rng.choice(ends), len(changed)))
        flipped = changed[at] ^ 1 << rng.randrange(8)
        changed[at] = rng.choice((0, 255, 127, rng.randrange(256), flipped))
    return bytes(changed)
