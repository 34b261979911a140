"""The tokenizers of the Kotlin library: the ids of Python's, and its offsets as UTF-16 indices."""

from __future__ import annotations

import base64
import io
import random
import runpy
import struct
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_edge.errors import AlbertEdgeError, TokenizerError
from albert_edge.tokenizer import Tokenizer, tokenizer_from_files
from albert_edge.tokenizer.protobuf import encode_bytes, encode_varint, parse_fields
from android.jvm import open_jvm
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

LIBRARY = Path(__file__).parents[2] / "android_demo/library"
TABLE = LIBRARY / "src/main/resources/org/albertedge/unicode.bin"


class Kotlin:
    """A tokenizer of the Kotlin library, called like Python's."""

    def __init__(self, jvm: BenchProcess, files: Files) -> None:
        encoded = {name: base64.b64encode(content).decode() for name, content in files.items()}
        loaded = jvm.call("Tokenizers.load", files=encoded)
        self.properties = loaded["properties"]
        self._jvm, self._handle = jvm, loaded["handle"]

    def call(self, function: str, **arguments: Any) -> Any:
        return self._jvm.call(f"Tokenizers.{function}", handle=self._handle, **arguments)


@pytest.fixture(scope="module")
def jvm() -> Iterator[BenchProcess]:
    with open_jvm("none") as found:
        yield found


Pair = tuple[Tokenizer, Kotlin]


@pytest.fixture(scope="module")
def pair_of(jvm: BenchProcess) -> Callable[[Files], Pair]:
    """Returns the tokenizers of some files in both languages."""
    made: dict[tuple[bytes, ...], Pair] = {}

    def make(files: Files) -> Pair:
        key = tuple(files.values())
        if key not in made:
            made[key] = tokenizer_from_files(files), Kotlin(jvm, files)
        return made[key]

    return make


@pytest.fixture(scope="module", params=SPIECES)
def spiece(request: pytest.FixtureRequest) -> dict[str, bytes]:
    return spiece_files(request)


@pytest.fixture(scope="module", params=VOCABS)
def vocab(request: pytest.FixtureRequest) -> dict[str, bytes]:
    return vocab_files(request)


def assert_same_tokens(pair: Pair, all_texts: Sequence[str]) -> None:
    python, kotlin = pair
    for text, found in zip(all_texts, kotlin.call("tokenize", texts=all_texts), strict=True):
        assert found == tokens_of(python, text), ascii(text)


@pytest.mark.parametrize("options", SENTENCE_PIECE_OPTIONS)
def test_two_thousand_texts_in_sentencepiece(
    pair_of: Callable[[Files], Pair], spiece: dict[str, bytes], options: str
) -> None:
    pair = pair_of({**spiece, **config(**SENTENCE_PIECE_OPTIONS[options])})
    assert_same_tokens(pair, texts(2000, seed=1))


@pytest.mark.parametrize("options", WORD_PIECE_OPTIONS)
def test_two_thousand_texts_in_wordpiece(
    pair_of: Callable[[Files], Pair], vocab: dict[str, bytes], options: str
) -> None:
    pair = pair_of({**vocab, **config(**WORD_PIECE_OPTIONS[options])})
    assert_same_tokens(pair, texts(2000, seed=2))


@pytest.mark.parametrize("files", [embedded_files, chinese_files])
@pytest.mark.parametrize("options", [{}, {"added_tokens_decoder": ADDED_TOKENS}])
def test_anything_that_hypothesis_finds(
    pair_of: Callable[[Files], Pair], files: Callable[[], Files], options: dict[str, Any]
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
def test_every_character_and_what_it_composes_to(
    pair_of: Callable[[Files], Pair], options: dict[str, Any]
) -> None:
    pair = pair_of({**character_files(), **config(**options)})
    if not options:
        assert_same_tokens(pair, every_character())
    assert_same_tokens(pair, mixed_characters())


@pytest.mark.parametrize(
    "options", [{}, {"keep_accents": True}, {"do_lower_case": False}, {"remove_space": False}]
)
def test_every_character_through_nfkd_and_lower_case(
    pair_of: Callable[[Files], Pair], options: dict[str, Any]
) -> None:
    pair = pair_of({**unigram_files(), **config(**options)})
    if not options:
        assert_same_tokens(pair, every_character())
    assert_same_tokens(pair, mixed_characters())


@pytest.mark.parametrize("rules", ["nmt_nfkc_cf", "identity"])
@pytest.mark.parametrize("folds", [True, False])
@pytest.mark.parametrize("suffix", [True, False])
def test_other_normalizers(
    pair_of: Callable[[Files], Pair], rules: str, folds: bool, suffix: bool
) -> None:
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
def test_equal_and_extreme_scores(
    pair_of: Callable[[Files], Pair], scores: Sequence[float]
) -> None:
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
    python, kotlin = pair_of({"spiece.model": b"".join(parts)})
    some = [*texts(500, seed=13), " ".join(LANGUAGES) * 50]
    assert_same_tokens((python, kotlin), some)
    lists = [python.tokenize(text).ids for text in some]
    assert kotlin.call("decode", lists=lists) == [python.decode(ids) for ids in lists]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("files", [embedded_files, chinese_files])
def test_pairs_truncation_and_special_tokens(
    pair_of: Callable[[Files], Pair], files: Callable[[], Files], side: str
) -> None:
    python, kotlin = pair_of({**files(), **config(truncation_side=side)})
    rng = random.Random(4)
    some = [*texts(300, seed=4), *(line * 40 for line in LANGUAGES)]
    calls = [
        {
            "text": rng.choice(some),
            "pair": rng.choice((None, rng.choice(some))),
            "max_length": rng.choice((None, 1, 2, 3, 5, rng.randint(4, 300))),
            "allow_special": rng.random() < 0.5,
            "truncate": rng.choice(("longest_first", "longest_first", "only_second")),
        }
        for _ in range(1000)
    ]
    for call, found in zip(calls, kotlin.call("encode", calls=calls), strict=True):
        assert found == answer(encode, python, call), call


def answer(ask: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns, or its error with the names of parameters in Kotlin."""
    try:
        return ask(*arguments)
    except AlbertEdgeError as error:
        message = str(error).replace("max_length", "maxLength")
        message = message.replace("truncate='only_second'", "truncate=ONLY_SECOND")
        return {"kind": "INPUT", "message": message}


@pytest.mark.parametrize("files", [embedded_files, chinese_files])
def test_windows(pair_of: Callable[[Files], Pair], files: Callable[[], Files]) -> None:
    python, kotlin = pair_of(files())
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
    for call, found in zip(calls, kotlin.call("windows", calls=calls), strict=True):
        assert found == answer(windows, python, call), call


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("files", [embedded_files, chinese_files])
def test_a_hundred_kilobytes_at_once(
    pair_of: Callable[[Files], Pair], files: Callable[[], Files], side: str
) -> None:
    rng = random.Random(6)
    words = " ".join(LANGUAGES).split()
    long = " ".join(rng.choices(words, k=15_000))
    some = [
        long,
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
    python, kotlin = pair_of({**files(), **config(truncation_side=side)})
    assert_same_tokens((python, kotlin), some)
    for most in (1, 30, 510):
        parts = kotlin.call("tokenizePart", texts=some, most=most)
        for text, found in zip(some, parts, strict=True):
            ids, offsets = python.tokenize_part(text, most)
            assert found == [ids, *moved(text, offsets)]


@pytest.mark.parametrize("options", [{}, {"added_tokens_decoder": ADDED_TOKENS}])
@pytest.mark.parametrize("files", [embedded_files, chinese_files])
def test_ids_become_pieces_and_text(
    pair_of: Callable[[Files], Pair], files: Callable[[], Files], options: dict[str, Any]
) -> None:
    python, kotlin = pair_of({**files(), **config(**options)})
    assert kotlin.call("pieces") == [python.id_to_piece(n) for n in range(python.vocab_size)]
    rng = random.Random(7)
    lists = [rng.choices(range(python.vocab_size), k=rng.randint(0, 20)) for _ in range(200)]
    lists += [python.tokenize(text).ids for text in texts(200, seed=7)]
    lists += [[python.vocab_size - 1, n] for n in range(min(python.vocab_size, 500))]
    assert kotlin.call("decode", lists=lists) == [python.decode(ids) for ids in lists]
    for wrong in (-1, python.vocab_size):
        message = f"token id {wrong} is not in [0, {python.vocab_size})."
        answers = kotlin.call("decode", lists=[[3, wrong]])
        assert answers == [{"kind": "INPUT", "message": message}]


@pytest.mark.parametrize("files", [embedded_files, chinese_files])
def test_half_of_a_surrogate_pair(
    pair_of: Callable[[Files], Pair], files: Callable[[], Files]
) -> None:
    _, kotlin = pair_of(files())
    halves = {"a\ud800": 1, "\udc00": 0, "😀\ud83d b": 2, "\udc00\ud800": 0, "x\ud83d\ud83d": 1}
    for (text, at), found in zip(
        halves.items(), kotlin.call("tokenize", texts=list(halves)), strict=True
    ):
        assert found["kind"] == "INPUT", ascii(text)
        assert found["message"].startswith(
            f"the text is not Unicode: character {at} is half of a surrogate pair. "
        )
    for call in ({"text": "a", "pair": "\ud800"}, {"text": "\ud800", "max_length": 3}):
        assert kotlin.call("encode", calls=[call])[0]["kind"] == "INPUT"


def test_properties_are_those_of_python(
    pair_of: Callable[[Files], Pair], spiece: dict[str, bytes], vocab: dict[str, bytes]
) -> None:
    for files, all_options in ((spiece, SENTENCE_PIECE_OPTIONS), (vocab, WORD_PIECE_OPTIONS)):
        for options in all_options.values():
            python, kotlin = pair_of({**files, **config(**options)})
            assert kotlin.properties == {name: getattr(python, name) for name in kotlin.properties}


def test_several_threads_at_once(jvm: BenchProcess) -> None:
    for files in (embedded_files(), chinese_files()):
        encoded_files = {n: base64.b64encode(content).decode() for n, content in files.items()}
        arguments = {"files": encoded_files, "texts": texts(300, seed=8), "threads": 4}
        assert jvm.call("Tokenizers.tokenizeAtOnce", **arguments) == 0


@pytest.mark.parametrize("files", [embedded_files, chinese_files])
@pytest.mark.parametrize("options", CONFIGS)
def test_options_that_python_refuses(
    jvm: BenchProcess, files: Callable[[], Files], options: dict[str, Any]
) -> None:
    whole = {**files(), **config(**options)}
    if "remove_spaces" in options and "vocab.txt" in whole:
        Kotlin(jvm, whole)  # is no misspelling there
        return
    with pytest.raises(TokenizerError) as expected:
        tokenizer_from_files(whole)
    with pytest.raises(BenchError) as found:
        Kotlin(jvm, whole)
    assert found.value.kind == "FILE"
    # Python's values, and types, have other names in Kotlin.
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
def test_files_beside_the_vocabulary(
    pair_of: Callable[[Files], Pair], files: dict[str, bytes]
) -> None:
    for vocabulary in (embedded_files(), chinese_files()):
        python, kotlin = pair_of({**vocabulary, **files})
        assert kotlin.properties == {name: getattr(python, name) for name in kotlin.properties}
        assert_same_tokens((python, kotlin), texts(300, seed=9))


def test_unicode_table_is_that_of_its_version() -> None:
    content = TABLE.read_bytes()
    version = content[1 : 1 + content[0]].decode()
    if version != unicodedata.unidata_version:
        pytest.skip(f"this Python has Unicode {unicodedata.unidata_version}, not {version}")
    assert content == runpy.run_path(str(LIBRARY / "unicode_table.py"))["table"]()


def test_no_vocabulary(jvm: BenchProcess) -> None:
    with pytest.raises(BenchError, match=r"^no tokenizer in these files: expected one of spiece"):
        Kotlin(jvm, config())


def test_damaged_vocabularies_give_one_error(jvm: BenchProcess) -> None:
    rng = random.Random(10)
    kept = [field.raw for field in parse_fields(embedded_files()["spiece.model"])]
    small = b"".join(kept[:120] + kept[-2:])
    for name, content in (("spiece.model", small), ("vocab.txt", chinese_files()["vocab.txt"])):
        damaged = [{name: damage(rng, content)} for _ in range(300)]
        found = try_all(jvm, damaged)
        refused = [one for one in found if isinstance(one, str)]
        assert len(refused) > 20
        for files, ids in zip(damaged, found, strict=True):
            if not isinstance(ids, str):
                assert_python_gives(files, ids)


def assert_python_gives(files: Files, ids: list[int]) -> None:
    """What Kotlin reads has the same ids in Python, which is stricter here and there."""
    try:
        expected = tokenizer_from_files(files).tokenize(LANGUAGES[0]).ids
    except TokenizerError:
        return
    assert ids == expected


def try_all(jvm: BenchProcess, candidates: Sequence[Files]) -> list[Any]:
    encoded_all = [
        {name: base64.b64encode(content).decode() for name, content in files.items()}
        for files in candidates
    ]
    found: list[Any] = jvm.call("Tokenizers.tryAll", candidates=encoded_all, text=LANGUAGES[0])
    return found


def test_damaged_options_give_one_error(jvm: BenchProcess) -> None:
    rng = random.Random(11)
    whole = config(do_lower_case=True, added_tokens_decoder=ADDED_TOKENS, cls_token="[CLS]")  # noqa: S106
    content = whole["tokenizer_config.json"]
    candidates = [
        {**chinese_files(), "tokenizer_config.json": damage(rng, content)} for _ in range(200)
    ]
    candidates += [
        {**chinese_files(), "tokenizer_config.json": text}
        for text in (
            b"",
            b"[]",
            b"{",
            b'{"a": 1, "a": 2}',
            b"[" * 9999,
            b"{'a': 1}",
            b'{"a": "\\ud800"}',
        )
    ]
    found = try_all(jvm, candidates)
    assert all(isinstance(one, str) for one in found[200:])
