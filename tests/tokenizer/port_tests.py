"""The tests of a library of tokenizers in another language: the ids of Python's, and its offsets as
UTF-16 indices.

A test file takes them all by `from tokenizer.port_tests import *`, and has a fixture `library`.
"""

from __future__ import annotations

import base64
import io
import random
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_edge.errors import AlbertEdgeError, TokenizerError
from albert_edge.tokenizer import Tokenizer, tokenizer_from_files
from albert_edge.tokenizer.protobuf import encode_bytes, encode_varint, parse_fields
from bench_process import BenchError, BenchProcess
from tokenizer.conftest import SENTENCES
from tokenizer.ports import (
    ADDED_TOKENS,
    CONFIGS,
    LANGUAGES,
    SENTENCE_PIECE_OPTIONS,
    SPIECES,
    VOCABS,
    WORD_PIECE_OPTIONS,
    Files,
    character_files,
    chinese_files,
    config,
    damage,
    embedded_files,
    encode,
    every_character,
    mixed_characters,
    moved,
    spiece_files,
    texts,
    token,
    tokens_of,
    unigram_files,
    vocab_files,
    windows,
)
from tokenizer.reference import TEXT as ANY_TEXT

BOTH = pytest.mark.parametrize("files", [embedded_files, chinese_files])


def in_base64(files: Files) -> dict[str, str]:
    return {name: base64.b64encode(content).decode() for name, content in files.items()}


@dataclass(frozen=True, kw_only=True)
class Library:
    """A library of tokenizers, in a process.

    Attributes:
        process: The process.
        prefix: What the names of its functions begin with.
        load: The name of the one that loads a tokenizer.
        kinds: What it calls errors of the input and of the files.
        names: Python's names in messages, and those of the library.
        truncations: Which parts of a pair it may be asked to truncate.
    """

    process: BenchProcess
    prefix: str
    load: str
    kinds: tuple[str, str]
    names: Mapping[str, str]
    truncations: tuple[str, ...]

    def call(self, function: str, **arguments: Any) -> Any:
        return self.process.call(self.prefix + function, **arguments)

    def input_error(self, message: str) -> dict[str, str]:
        """Return an error with a message of Python's."""
        for python, own in self.names.items():
            message = message.replace(python, own)
        return {"kind": self.kinds[0], "message": message}

    def answer(self, ask: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a function of Python returns, or its error."""
        try:
            return ask(*arguments)
        except AlbertEdgeError as error:
            return self.input_error(str(error))

    def try_all(self, candidates: Sequence[Files]) -> list[Any]:
        """Return for each tokenizer's files the ids of a text, or the message of an error."""
        encoded = [in_base64(files) for files in candidates]
        found: list[Any] = self.call("tryAll", candidates=encoded, text=LANGUAGES[0])
        return found


class Ported:
    """A tokenizer of a library."""

    def __init__(self, library: Library, files: Files) -> None:
        loaded = library.call(library.load, files=in_base64(files))
        self.properties = loaded["properties"]
        self._library, self._handle = library, loaded["handle"]

    def call(self, function: str, **arguments: Any) -> Any:
        return self._library.call(function, handle=self._handle, **arguments)


Pair = tuple[Tokenizer, Ported]
PairOf = Callable[[Files], Pair]


@pytest.fixture(scope="module")
def pair_of(library: Library) -> PairOf:
    """Returns the tokenizers of some files in both languages."""
    made: dict[tuple[bytes, ...], Pair] = {}

    def make(files: Files) -> Pair:
        key = tuple(files.values())
        if key not in made:
            made[key] = tokenizer_from_files(files), Ported(library, files)
        return made[key]

    return make


@pytest.fixture(scope="module", params=SPIECES)
def spiece(request: pytest.FixtureRequest) -> dict[str, bytes]:
    return spiece_files(request)


@pytest.fixture(scope="module", params=VOCABS)
def vocab(request: pytest.FixtureRequest) -> dict[str, bytes]:
    return vocab_files(request)


def assert_same_tokens(pair: Pair, all_texts: Sequence[str]) -> None:
    python, ported = pair
    for text, found in zip(all_texts, ported.call("tokenize", texts=all_texts), strict=True):
        assert found == tokens_of(python, text), ascii(text)


@pytest.mark.parametrize("options", SENTENCE_PIECE_OPTIONS)
def test_two_thousand_texts_in_sentencepiece(
    pair_of: PairOf, spiece: dict[str, bytes], options: str
) -> None:
    pair = pair_of({**spiece, **config(**SENTENCE_PIECE_OPTIONS[options])})
    assert_same_tokens(pair, texts(2000, seed=1))


@pytest.mark.parametrize("options", WORD_PIECE_OPTIONS)
def test_two_thousand_texts_in_wordpiece(
    pair_of: PairOf, vocab: dict[str, bytes], options: str
) -> None:
    pair = pair_of({**vocab, **config(**WORD_PIECE_OPTIONS[options])})
    assert_same_tokens(pair, texts(2000, seed=2))


@BOTH
@pytest.mark.parametrize("options", [{}, {"added_tokens_decoder": ADDED_TOKENS}])
def test_anything_that_hypothesis_finds(
    pair_of: PairOf, files: Callable[[], Files], options: dict[str, Any]
) -> None:
    pair = pair_of({**files(), **config(**options)})

    @settings(max_examples=100)
    @given(st.lists(ANY_TEXT, min_size=1, max_size=10))
    def holds(examples: list[str]) -> None:
        assert_same_tokens(pair, examples)

    holds()


@pytest.mark.parametrize(
    "options", [{}, {"strip_accents": False}, {"do_lower_case": False, "strip_accents": False}]
)
def test_every_character_and_what_it_composes_to(pair_of: PairOf, options: dict[str, Any]) -> None:
    pair = pair_of({**character_files(), **config(**options)})
    if not options:
        assert_same_tokens(pair, every_character())
    assert_same_tokens(pair, mixed_characters())


@pytest.mark.parametrize(
    "options", [{}, {"keep_accents": True}, {"do_lower_case": False}, {"remove_space": False}]
)
def test_every_character_through_nfkd_and_lower_case(
    pair_of: PairOf, options: dict[str, Any]
) -> None:
    pair = pair_of({**unigram_files(), **config(**options)})
    if not options:
        assert_same_tokens(pair, every_character())
    assert_same_tokens(pair, mixed_characters())


@pytest.mark.parametrize("rules", ["nmt_nfkc_cf", "identity"])
@pytest.mark.parametrize("folds", [True, False])
@pytest.mark.parametrize("suffix", [True, False])
def test_other_normalizers(pair_of: PairOf, rules: str, folds: bool, suffix: bool) -> None:
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*SENTENCES, *LANGUAGES]),
        model_writer=out,
        vocab_size=500,
        hard_vocab_limit=False,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=["[CLS]", "[SEP]", "[MASK]"],
        user_defined_symbols=["(", "<sep>", "ab", "foo bar", "▁x"],
        normalization_rule_name=rules,
        remove_extra_whitespaces=folds,
        add_dummy_prefix=folds,
        treat_whitespace_as_suffix=suffix,
        minloglevel=2,
    )
    for options in ({}, SENTENCE_PIECE_OPTIONS["keeps all"]):
        pair = pair_of({"spiece.model": out.getvalue(), **config(**options)})
        assert_same_tokens(pair, texts(300, seed=12))


@pytest.mark.parametrize("scores", [(-1.0, -2.0, 0.5), (-1e4, -3e4, 2e4)])
def test_equal_and_extreme_scores(pair_of: PairOf, scores: Sequence[float]) -> None:
    """Of equal sums the first one stays; those of long texts are in single precision."""
    rng = random.Random(13)
    parts = []
    for field in parse_fields(embedded_files()["spiece.model"]):
        if field.number == 1 and isinstance(field.value, bytes):
            values = {part.number: part for part in parse_fields(field.value)}
            kind = values[3].value if 3 in values else rng.choice((*[1] * 40, 4, 5, 5))
            assert isinstance(kind, int)
            score = b"\x15" + struct.pack("<f", rng.choice(scores))  # field 2, 32 bits
            parts.append(encode_bytes(1, values[1].raw + score + encode_varint(3, kind)))
        else:
            parts.append(field.raw)
        if field.number == 3 and isinstance(field.value, bytes):
            parts.append(encode_bytes(5, field.value))  # normalizes what `decode` returns
    python, ported = pair_of({"spiece.model": b"".join(parts)})
    some = [*texts(500, seed=13), " ".join(LANGUAGES) * 50]
    assert_same_tokens((python, ported), some)
    lists = [python.tokenize(text).ids for text in some]
    assert ported.call("decode", lists=lists) == [python.decode(ids) for ids in lists]


@pytest.mark.parametrize("side", ["left", "right"])
@BOTH
def test_pairs_truncation_and_special_tokens(
    library: Library, pair_of: PairOf, files: Callable[[], Files], side: str
) -> None:
    python, ported = pair_of({**files(), **config(truncation_side=side)})
    rng = random.Random(4)
    some = [*texts(300, seed=4), *(line * 40 for line in LANGUAGES)]
    calls = [
        {
            "text": rng.choice(some),
            "pair": rng.choice((None, rng.choice(some))),
            "max_length": rng.choice((None, 1, 2, 3, 5, rng.randint(4, 300))),
            "allow_special": rng.random() < 0.5,
            "truncate": rng.choice(library.truncations),
        }
        for _ in range(1000)
    ]
    for call, found in zip(calls, ported.call("encode", calls=calls), strict=True):
        assert found == library.answer(encode, python, call), call


@BOTH
def test_windows(library: Library, pair_of: PairOf, files: Callable[[], Files]) -> None:
    python, ported = pair_of(files())
    rng = random.Random(5)
    some = texts(200, seed=5)
    calls = [
        {
            "question": rng.choice(some),
            "context": " ".join(rng.choices(some, k=rng.randint(0, 8))),
            "max_length": rng.randint(5, 100),
            "stride": rng.randint(0, 40),
            "max_question": rng.choice((None, 5, 20)),
        }
        for _ in range(300)
    ]
    for call, found in zip(calls, ported.call("windows", calls=calls), strict=True):
        assert found == library.answer(windows, python, call), call


@pytest.mark.parametrize("side", ["left", "right"])
@BOTH
def test_a_hundred_kilobytes_at_once(
    pair_of: PairOf, files: Callable[[], Files], side: str
) -> None:
    rng = random.Random(6)
    words = " ".join(LANGUAGES).split()
    some = [
        " ".join(rng.choices(words, k=15_000)),
        "".join(rng.choices(words, k=15_000)),
        "x" * 100_000,
        "漢" * 50_000,
        "😀" * 25_000,
        "a" + "\u0301\u0323" * 5_000 + " b\u0323\u0301" * 20_000,
        "[MASK] foo " * 9_000,
        " " * 100_000 + "end",
        "9," * 50_000,
        "Σ'" * 50_000,
    ]
    python, ported = pair_of({**files(), **config(truncation_side=side)})
    assert_same_tokens((python, ported), some)
    for most in (1, 30, 510):
        parts = ported.call("tokenizePart", texts=some, most=most)
        for text, found in zip(some, parts, strict=True):
            ids, offsets = python.tokenize_part(text, most)
            assert found == [ids, *moved(text, offsets)]


@pytest.mark.parametrize("options", [{}, {"added_tokens_decoder": ADDED_TOKENS}])
@BOTH
def test_ids_become_pieces_and_text(
    library: Library, pair_of: PairOf, files: Callable[[], Files], options: dict[str, Any]
) -> None:
    python, ported = pair_of({**files(), **config(**options)})
    assert ported.call("pieces") == [python.id_to_piece(n) for n in range(python.vocab_size)]
    rng = random.Random(7)
    lists = [rng.choices(range(python.vocab_size), k=rng.randint(0, 20)) for _ in range(200)]
    lists += [python.tokenize(text).ids for text in texts(200, seed=7)]
    lists += [[python.vocab_size - 1, n] for n in range(min(python.vocab_size, 500))]
    assert ported.call("decode", lists=lists) == [python.decode(ids) for ids in lists]
    for wrong in (-1, python.vocab_size):
        message = f"token id {wrong} is not in [0, {python.vocab_size})."
        assert ported.call("decode", lists=[[3, wrong]]) == [library.input_error(message)]


@BOTH
def test_half_of_a_surrogate_pair(
    library: Library, pair_of: PairOf, files: Callable[[], Files]
) -> None:
    _, ported = pair_of(files())
    halves = {"a\ud800": 1, "\udc00": 0, "😀\ud83d b": 2, "\udc00\ud800": 0, "x\ud83d\ud83d": 1}
    for (text, at), found in zip(
        halves.items(), ported.call("tokenize", texts=list(halves)), strict=True
    ):
        assert found["kind"] == library.kinds[0], ascii(text)
        assert found["message"].startswith(
            f"the text is not Unicode: character {at} is half of a surrogate pair. "
        )
    for call in ({"text": "a", "pair": "\ud800"}, {"text": "\ud800", "max_length": 3}):
        assert ported.call("encode", calls=[call])[0]["kind"] == library.kinds[0]


def test_properties_are_those_of_python(
    pair_of: PairOf, spiece: dict[str, bytes], vocab: dict[str, bytes]
) -> None:
    for files, all_options in ((spiece, SENTENCE_PIECE_OPTIONS), (vocab, WORD_PIECE_OPTIONS)):
        for options in all_options.values():
            python, ported = pair_of({**files, **config(**options)})
            assert ported.properties == {name: getattr(python, name) for name in ported.properties}


@BOTH
@pytest.mark.parametrize("options", CONFIGS)
def test_options_that_python_refuses(
    library: Library, files: Callable[[], Files], options: dict[str, Any]
) -> None:
    whole = {**files(), **config(**options)}
    if "remove_spaces" in options and "vocab.txt" in whole:
        Ported(library, whole)  # is no misspelling there
        return
    with pytest.raises(TokenizerError) as expected:
        tokenizer_from_files(whole)
    with pytest.raises(BenchError) as found:
        Ported(library, whole)
    assert found.value.kind == library.kinds[1]
    # Python's values, and types, have other names there.
    assert str(found.value).lower()[:60] == str(expected.value).lower()[:60]


@pytest.mark.parametrize(
    "files",
    [
        {"added_tokens.json": b'{"<ent>": 40000, "foo": 40001}'},
        {
            "added_tokens.json": b'{"<ent>": 40000}',
            "special_tokens_map.json": b'{"additional_special_tokens": ["<ent>", "New York"]}',
            **config(additional_special_tokens=["[E1]"]),
        },
        {"special_tokens_map.json": b'{"mask_token": {"content": "[CLS]"}}'},
        config(added_tokens_decoder={"7": token("foo"), "2": token("[CLS]", special=True)}),
        config(extra_special_tokens={"a": "foo", "b": "▁the"}, bos_token="foo"),  # noqa: S106 - not a password
        config(model_max_length=1000000000000000019884624838656, bos_token=None),
        config(do_lower_case=None, cls_token={"content": "[CLS]"}, tokenizer_class=None),
    ],
)
def test_files_beside_the_vocabulary(pair_of: PairOf, files: dict[str, bytes]) -> None:
    for vocabulary in (embedded_files(), chinese_files()):
        python, ported = pair_of({**vocabulary, **files})
        assert ported.properties == {name: getattr(python, name) for name in ported.properties}
        assert_same_tokens((python, ported), texts(300, seed=9))


def test_no_vocabulary(library: Library) -> None:
    with pytest.raises(BenchError, match=r"^no tokenizer in these files: expected one of spiece"):
        Ported(library, config())


def test_damaged_vocabularies_give_one_error(library: Library) -> None:
    rng = random.Random(10)
    kept = [field.raw for field in parse_fields(embedded_files()["spiece.model"])]
    small = b"".join(kept[:120] + kept[-2:])
    for name, content in (("spiece.model", small), ("vocab.txt", chinese_files()["vocab.txt"])):
        damaged = [{name: damage(rng, content)} for _ in range(300)]
        found = library.try_all(damaged)
        assert len([one for one in found if isinstance(one, str)]) > 20
        for files, ids in zip(damaged, found, strict=True):
            if not isinstance(ids, str):
                assert_python_gives(files, ids)


def assert_python_gives(files: Files, ids: list[int]) -> None:
    """What the library reads has the same ids in Python, which is stricter here and there."""
    try:
        expected = tokenizer_from_files(files).tokenize(LANGUAGES[0]).ids
    except TokenizerError:
        return
    assert ids == expected


def test_damaged_options_give_one_error(library: Library) -> None:
    rng = random.Random(11)
    whole = config(do_lower_case=True, added_tokens_decoder=ADDED_TOKENS, cls_token="[CLS]")  # noqa: S106
    content = whole["tokenizer_config.json"]
    candidates = [damage(rng, content) for _ in range(200)]
    invalid = (
        b"",
        b"[]",
        b"{",
        b'{"a": 1, "a": 2}',
        b"[" * 9999,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b"{'a': 1}",
        b'{"a": "\\ud800"}',
        b'{"a": 01}',
        b'{"a": NaN}',
        b'{"a": 1,}',
        b'{"a": "\xff"}',
    )
    files = [{**chinese_files(), "tokenizer_config.json": one} for one in (*candidates, *invalid)]
    found = library.try_all(files)
    for error in found[200:]:
        assert re.match("tokenizer_config.json in these files(: expected| is not JSON)", error)
