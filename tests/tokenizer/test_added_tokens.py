"""Tokens beside the vocabulary: the ids of transformers' slow tokenizers, or a refusal."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.errors import TokenizerError
from albert_edge.tokenizer import Tokenizer, load_tokenizer, tokenizer_from_files
from albert_edge.tokenizer.config import TOKENIZER_FILES
from tokenizer.files import fast_file, fast_wordpiece_file
from tokenizer.reference import DATA, IN_SESSION, TEXT, assert_sound

GOLDEN = json.loads((DATA / "added_tokens_golden.json").read_text("utf-8"))
CASES = {f"{case['vocabulary']}-{case['case']}": case for case in GOLDEN["cases"]}
MARKS = {
    "added_tokens_decoder": {
        "{first}": {"content": "[E1]", "special": True},
        "{second}": {"content": "<no sound>", "special": False},
    },
    "additional_special_tokens": ["[E1]"],
}


def json_files(files: dict[str, Any]) -> dict[str, bytes]:
    return {name: json.dumps(values).encode() for name, values in files.items()}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, vocab: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    found = CASES[request.param]
    if found["vocabulary"] == "vocab.txt":
        return found, {"vocab.txt": vocab, **json_files(found["files"])}
    model = request.getfixturevalue("albert").read_bytes()
    return found, {"spiece.model": model, **json_files(found["files"])}


def test_ids_as_transformers_gives_them(case: tuple[dict[str, Any], dict[str, bytes]]) -> None:
    golden, files = case
    first = tokenizer_from_files(files)
    for tokenizer in (first, tokenizer_from_files(first.files())):
        for text, ids, cut in zip(GOLDEN["texts"], golden["ids"], golden["cut"], strict=True):
            encoding = tokenizer.encode(text)
            assert encoding.input_ids == ids, text
            assert tokenizer.encode(text, max_length=5).input_ids == cut, text
            assert_sound([span for span in encoding.offsets if span], text)
        pairs = [(*pair, length) for pair in GOLDEN["pairs"] for length in (7, 8, 20)]
        for (text, pair, length), ids in zip(pairs, golden["pairs"], strict=True):
            assert tokenizer.encode(text, pair, max_length=length).input_ids == ids


def test_a_folder_with_every_file(vocab: bytes, tmp_path: Path) -> None:
    golden = CASES["vocab.txt-renamed"]
    files = {"vocab.txt": vocab, **json_files(golden["files"])}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert set(files) <= set(TOKENIZER_FILES)
    for source in (tmp_path, tmp_path / "vocab.txt"):
        tokenizer = load_tokenizer(source)
        assert tokenizer.encode(GOLDEN["texts"][0]).input_ids == golden["ids"][0]
        assert tokenizer.cls_id == golden["ids"][0][0]
        assert tokenizer.id_to_piece(tokenizer.cls_id) == "<cls>"


@pytest.fixture(params=["model", "vocab"])
def marked(request: pytest.FixtureRequest) -> Tokenizer:
    """A tokenizer with two tokens behind its pieces."""
    name = {"model": "spiece.model", "vocab": "vocab.txt"}[request.param]
    files = {name: request.getfixturevalue(request.param)}
    count = tokenizer_from_files(files).vocab_size
    config = json.dumps(MARKS).replace("{first}", str(count)).replace("{second}", str(count + 1))
    return tokenizer_from_files({**files, "tokenizer_config.json": config.encode()})


def test_places_pieces_and_text(marked: Tokenizer) -> None:
    text = "the [E1] Rain <no sound>, and"
    ids, spans = marked.tokenize(text)
    first = marked.vocab_size - 2
    assert [text[slice(*spans[ids.index(n)])] for n in (first, first + 1)] == ["[E1]", "<no sound>"]
    assert [marked.id_to_piece(n) for n in (first, first + 1)] == ["[E1]", "<no sound>"]
    decoded = marked.decode(ids)
    assert "<no sound>" in decoded
    assert "[E1]" not in decoded
    assert list(marked.plain_parts(text)) == ["the ", " Rain ", ", and"]


@IN_SESSION
@given(text=TEXT)
def test_a_text_without_them_is_tokenized_as_before(
    tokenizer: Tokenizer, model: bytes, text: str
) -> None:
    config = json.dumps(MARKS).replace("{first}", str(tokenizer.vocab_size))
    config = config.replace("{second}", str(tokenizer.vocab_size + 1))
    files = {"spiece.model": model, "tokenizer_config.json": config.encode()}
    marked = tokenizer_from_files(files)
    if "[E1]" not in text and "<no sound>" not in text:
        assert marked.tokenize(text) == tokenizer.tokenize(text)
    around = marked.tokenize(f"{text}[E1]{text}")
    assert around.ids == [
        *tokenizer.tokenize(text).ids,
        tokenizer.vocab_size,
        *tokenizer.tokenize(text).ids,
    ]
    assert_sound(around.offsets, f"{text}[E1]{text}")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("added_tokens.json", {"[E1]": 2**31}, "2147483648 is not the id of an added token"),
        ("added_tokens.json", {"[E1]": -1}, "-1 is not the id of an added token"),
        ("added_tokens.json", {"[E1]": "x"}, "'x' is not the id of an added token"),
        ("added_tokens.json", {"[E1]": 20, "[E2]": 20}, "two tokens have the id 20"),
        ("added_tokens.json", {"": 20}, "an added token has an empty name"),
        ("added_tokens.json", {"\ud800": 20}, "a lone surrogate, which is not a character"),
        (
            "added_tokens.json",
            ["[E1]"],
            "added_tokens.json in .*: expected a JSON object, got list",
        ),
        (
            "special_tokens_map.json",
            {"cls_token": "\ud800"},
            "a lone surrogate, which is not a character",
        ),
        ("special_tokens_map.json", {"cls_token": "<c>"}, "the vocabulary has no piece '<c>'"),
        ("special_tokens_map.json", {"cls_token": 3}, "cls_token must be a str: 3"),
        ("special_tokens_map.json", {"additional_special_tokens": "x"}, "must be a list: 'x'"),
        (
            "tokenizer_config.json",
            {"mask_token": "\udfff"},
            "a lone surrogate, which is not a character",
        ),
        ("tokenizer_config.json", {"added_tokens_decoder": [3]}, "must be an object"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"20": {}}}, "must be a str: None"),
        (
            "tokenizer_config.json",
            {"split_special_tokens": True},
            "split_special_tokens True is not",
        ),
        ("tokenizer_config.json", {"truncation_side": "top"}, "truncation_side 'top' is not supp"),
        ("tokenizer_config.json", {"padding_side": "left"}, "padding_side 'left' is not supported"),
        ("tokenizer_config.json", {"model_max_length": 4}, "model_max_length must be a number of"),
        ("tokenizer_config.json", {"max_len": "128"}, "model_max_length must be a number of"),
        ("tokenizer_config.json", {"model_max_length": float("nan")}, "model_max_length must be a"),
        ("tokenizer_config.json", {"model_input_names": ["input_ids"]}, "without token_type_ids"),
        (
            "tokenizer_config.json",
            {"added_tokens_decoder": {"20": {"content": "a b"}, "21": {"content": "a b"}}},
            "two added tokens have the same name",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["model", "vocab"])
def test_files_that_cannot_be_followed(
    kind: str, name: str, values: Any, message: str, request: pytest.FixtureRequest
) -> None:
    vocabulary = {"model": "spiece.model", "vocab": "vocab.txt"}[kind]
    files = {vocabulary: request.getfixturevalue(kind), **json_files({name: values})}
    with pytest.raises(TokenizerError, match=message):
        tokenizer_from_files(files)


@pytest.mark.parametrize("make", [fast_file, fast_wordpiece_file])
def test_the_direction_in_tokenizer_json(
    make: Callable[..., bytes], model: bytes, vocab: bytes
) -> None:
    blob = json.loads(make(model if make is fast_file else vocab))
    blob["truncation"] = {"direction": "Left", "max_length": 8}
    tokenizer = tokenizer_from_files({"tokenizer.json": json.dumps(blob).encode()})
    assert tokenizer.truncation_side == "left"
    whole = tokenizer.encode("rain walked over the roof").input_ids
    assert tokenizer.encode("rain walked over the roof", max_length=4).input_ids == [
        whole[0],
        *whole[-3:],
    ]


@given(data=st.data())
def test_the_left_side_is_the_mirror_of_the_right(data: st.DataObject, vocab: bytes) -> None:
    sides = [
        tokenizer_from_files(
            {"vocab.txt": vocab, **json_files({"tokenizer_config.json": {"truncation_side": side}})}
        )
        for side in ("left", "right")
    ]
    letters = st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=12)
    first, second = data.draw(letters), data.draw(letters)
    length = data.draw(st.integers(3, 20))
    left = sides[0].encode(" ".join(first), " ".join(second), max_length=length).input_ids
    right = (
        sides[1]
        .encode(" ".join(reversed(first)), " ".join(reversed(second)), max_length=length)
        .input_ids
    )
    middle = right.index(sides[1].sep_id)
    assert left == [
        right[0],
        *reversed(right[1:middle]),
        right[middle],
        *reversed(right[middle + 1 : -1]),
        right[-1],
    ]


@pytest.mark.parametrize("kind", ["model", "vocab"])
def test_a_tokenizer_is_freed_at_once(kind: str, request: pytest.FixtureRequest) -> None:
    name = {"model": "spiece.model", "vocab": "vocab.txt"}[kind]
    tokenizer = tokenizer_from_files({name: request.getfixturevalue(kind)})
    tokenizer.tokenize("the rain")
    watched = weakref.ref(tokenizer)
    gc.disable()
    try:
        del tokenizer
        assert watched() is None
    finally:
        gc.enable()


def test_pieces_that_are_not_utf8(model: bytes) -> None:
    at = model.index("▁1998,".encode())
    tokenizer = tokenizer_from_files({"spiece.model": model[:at] + b"\xff" + model[at + 1 :]})
    with pytest.raises(
        TokenizerError, match=r"spiece.model .*is damaged: a piece or a rule is not"
    ):
        [tokenizer.id_to_piece(n) for n in range(tokenizer.vocab_size)]
    with pytest.raises(TokenizerError, match="not UTF-8"):
        tokenizer.decode(range(tokenizer.vocab_size))
