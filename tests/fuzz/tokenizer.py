"""Damage the files of tokenizers: their vocabularies, and the JSON files beside them."""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

KINDS = ("bits", "words", "bytes", "cut", "swap", "values", "keys", "added")
MEMORY_BYTES = 2 << 30
_DATA = Path(__file__).parents[1] / "data"
_MODELS = Path(__file__).parents[2] / "albert_edge" / "models" / "sentiment"
_TEXT = "The [E1] cast, in 1999, of the film café\u0301 漢字 <mask> \u0130 is 9,9 lovely"
_CONFIG = {
    "do_lower_case": True,
    "truncation_side": "right",
    "mask_token": {"content": "[MASK]", "lstrip": True},
    "additional_special_tokens": ["[E1]"],
    "added_tokens_decoder": {"7": {"content": "[E1]", "special": True, "single_word": False}},
}
_FAST = {
    "added_tokens": [{"id": 3, "content": "[CLS]", "special": True}],
    "normalizer": {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": True,
    },
    "pre_tokenizer": {"type": "BertPreTokenizer"},
}
_MODEL = {
    "type": "WordPiece",
    "unk_token": "[UNK]",
    "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 100,
}
_SPECIAL = {"cls_token": "[CLS]", "additional_special_tokens": [{"content": "[E1]"}]}
_ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 3, 2**31, 1e308, "", "x", "\ud800", "\n", "[E1]", "▁", "##a", " "),
    *([], {}, [[]], [None], {"content": ""}, {"content": None}, {"7": 3}, ["a", "a"]),
)


class Case(NamedTuple):
    """The files of a damaged tokenizer."""

    seed: int
    files: dict[str, bytes]


def prepare(folder: Path) -> None:
    shutil.copy(_MODELS / "spiece.model", folder)
    shutil.copy(_DATA / "wordpiece_vocab.txt", folder / "vocab.txt")
    pieces = (folder / "vocab.txt").read_text("utf-8").splitlines()
    vocab = {piece: n for n, piece in enumerate(pieces)}
    (folder / "tokenizer.json").write_text(
        json.dumps({**_FAST, "model": {**_MODEL, "vocab": vocab}})
    )


def load(folder: Path) -> list[tuple[dict[str, bytes], Any]]:
    beside = {
        "tokenizer_config.json": json.dumps(_CONFIG).encode(),
        "added_tokens.json": b'{"[E2]": 9, "film": 12}',
        "special_tokens_map.json": json.dumps(_SPECIAL).encode(),
    }
    plain = {**beside, "tokenizer_config.json": b'{"do_lower_case": true}'}
    found = []
    for name in ("spiece.model", "vocab.txt", "tokenizer.json"):
        for files in (beside, plain):
            every = {name: (folder / name).read_bytes(), **files}
            found.append((every, _answer(every)))
    return found


def mutate(kind: str, rng: random.Random, seeds: list[tuple[dict[str, bytes], Any]]) -> Case:
    from . import tflite

    index = rng.randrange(len(seeds))
    files = dict(seeds[index][0])
    vocabulary = next(iter(files))
    if kind in ("values", "keys", "added"):
        name = rng.choice([name for name in files if name.endswith(".json")])
        if kind == "added":
            name = "added_tokens.json"
        values = json.loads(files[name])
        _JSON[kind](values, rng)
        files[name] = json.dumps(values).encode()
    else:
        name = vocabulary if rng.random() < 0.7 else rng.choice(list(files))
        files[name] = tflite.BYTES[kind](files[name] + bytes(1024 * (len(files[name]) < 1024)), rng)
    return Case(index, files)


def run(case: Case, seeds: list[tuple[dict[str, bytes], Any]]) -> bool:
    return bool(_answer(case.files) == seeds[case.seed][1])


def _answer(files: dict[str, bytes]) -> Any:
    from albert_edge.tokenizer import tokenizer_from_files

    tokenizer = tokenizer_from_files(files)
    again = tokenizer_from_files(tokenizer.files())
    encoding = tokenizer.encode(_TEXT, _TEXT[:20], max_length=40, allow_special=True)
    assert again.encode(_TEXT).input_ids == tokenizer.encode(_TEXT).input_ids
    some = [n for n in encoding.input_ids if n < tokenizer.vocab_size]
    pieces = [tokenizer.id_to_piece(n) for n in range(0, tokenizer.vocab_size, 997)]
    return encoding, tokenizer.decode(some), pieces


def _places(values: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    items = values.items() if isinstance(values, dict) else enumerate(values)
    for key, value in items:
        found.append((values, key))
        if isinstance(value, dict | list) and len(value) < 20:
            found += _places(value)
    return found


def _values(values: Any, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 4))):
        if places := _places(values):
            holder, key = rng.choice(places)
            holder[key] = copy.deepcopy(rng.choice(_ODD))


def _keys(values: Any, rng: random.Random) -> None:
    holders = [holder for holder, _ in _places(values) if isinstance(holder, dict) and holder]
    if not holders:
        return
    holder = rng.choice(holders)
    key = rng.choice(list(holder))
    holder[rng.choice(("x", key + "s", "content", "id", "\ud800", ""))] = holder.pop(key)


def _added(values: Any, rng: random.Random) -> None:
    for _ in range(rng.randrange(1, 9)):
        name = rng.choice(
            ("[E1]", "film", "9,", "the", "▁", "<", "[CLS]", "[MASK]", "é", "漢", "f")
        )
        values[name] = rng.choice((0, 1, 2, 3, 5, rng.randrange(40_000), 2**31 - 1, -3, "8", None))


_JSON: dict[str, Callable[[Any, random.Random], None]] = {
    "values": _values,
    "keys": _keys,
    "added": _added,
}
