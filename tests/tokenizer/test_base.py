"""One text and two are laid out, cut and windowed as the models expect."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.errors import InputError
from albert_edge.tokenizer import Tokenizer, load_tokenizer, tokenizer_from_files
from albert_edge.tokenizer.base import find_special_tokens
from albert_edge.tokenizer.config import SentencePieceConfig, WordPieceConfig
from albert_edge.tokenizer.sentencepiece import SentencePieceTokenizer
from albert_edge.tokenizer.wordpiece import WordPieceTokenizer
from tokenizer.conftest import SENTENCES
from tokenizer.reference import ALBERT_GOLDEN, BERT_GOLDEN, IN_SESSION, assert_sound


def test_encode_lays_out_one_text_and_two(tokenizer: Tokenizer) -> None:
    who, ada = tokenizer.tokenize("Who wrote it?"), tokenizer.tokenize("The gardener.")
    one = tokenizer.encode("Who wrote it?")
    assert one.input_ids == [tokenizer.cls_id, *who.ids, tokenizer.sep_id]
    assert one.token_type_ids == [0] * len(one.input_ids)
    assert one.offsets == [None, *who.offsets, None]
    two = tokenizer.encode("Who wrote it?", "The gardener.")
    assert two.input_ids == [*one.input_ids, *ada.ids, tokenizer.sep_id]
    assert two.token_type_ids == [*one.token_type_ids, *[1] * (len(ada.ids) + 1)]
    assert two.offsets == [*one.offsets, *ada.offsets, None]
    assert tokenizer.encode("").input_ids == [tokenizer.cls_id, tokenizer.sep_id]


@IN_SESSION
@given(first=st.integers(0, 12), second=st.none() | st.integers(0, 12), room=st.integers(0, 26))
def test_longest_first_is_hugging_face_s(
    tokenizer: Tokenizer, first: int, second: int | None, room: int
) -> None:
    text, pair = "(" * first, None if second is None else ")" * second
    ids, pair_ids = tokenizer.tokenize(text).ids, tokenizer.tokenize(pair or "").ids
    while len(ids) + len(pair_ids) > room:  # as transformers' truncate_sequences
        if pair is None or len(ids) > len(pair_ids):
            ids = ids[:-1]
        else:
            pair_ids = pair_ids[:-1]
    expected = [tokenizer.cls_id, *ids, tokenizer.sep_id]
    if pair is not None:
        expected += [*pair_ids, tokenizer.sep_id]
    special = 2 if pair is None else 3
    assert tokenizer.encode(text, pair, max_length=room + special).input_ids == expected


def test_only_second_keeps_the_first_whole(tokenizer: Tokenizer) -> None:
    question, context = "Who wrote the letter?", " ".join(SENTENCES)
    asked = tokenizer.encode(question)
    for length in (len(asked.input_ids) + 2, 60):
        cut = tokenizer.encode(question, context, max_length=length, truncate="only_second")
        assert len(cut.input_ids) == length
        assert cut.input_ids[: len(asked.input_ids)] == asked.input_ids
        assert cut.input_ids[-1] == tokenizer.sep_id
    with pytest.raises(InputError, match="leaves no room for the second in 9"):
        tokenizer.encode(question, context, max_length=9, truncate="only_second")
    with pytest.raises(InputError, match="needs a second text"):
        tokenizer.encode(question, max_length=9, truncate="only_second")
    with pytest.raises(InputError, match="choose longest_first or only_second"):
        tokenizer.encode(question, max_length=9, truncate="only_first")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="max_length must be at least 3, not 2"):
        tokenizer.encode(question, context, max_length=2)


@IN_SESSION
@given(words=st.integers(0, 40), room=st.integers(1, 25), stride=st.integers(0, 24))
def test_windows_cover_the_context(
    tokenizer: Tokenizer, words: int, room: int, stride: int
) -> None:
    question, context = "Who wrote it?", "kettle " * words
    whole = tokenizer.tokenize(context)
    asked = len(tokenizer.tokenize(question).ids)
    length = asked + 3 + room
    if stride >= room:
        with pytest.raises(InputError, match=rf"stride must be in \[0, {room}\)"):
            tokenizer.windows(question, context, max_length=length, stride=stride)
        return
    windows = tokenizer.windows(question, context, max_length=length, stride=stride)
    parts = [window.offsets[asked + 2 : -1] for window in windows]
    assert [len(part) for part in parts[:-1]] == [room] * (len(parts) - 1)
    covered = parts[0]
    for part in parts[1:]:
        assert covered[len(covered) - stride :] == part[:stride]
        assert len(part) > stride  # each window brings something new
        covered = covered + part[stride:]
    assert covered == whole.offsets


def test_a_question_that_leaves_no_room(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match="leaves no room for the second in 8"):
        tokenizer.windows("Who wrote the letter?", "Ada.", max_length=8, stride=0)


@pytest.mark.parametrize("kind", BERT_GOLDEN["settings"])
def test_golden_ids_of_wordpiece(vocab: bytes, kind: str) -> None:
    tokenizer = WordPieceTokenizer(vocab, WordPieceConfig(**BERT_GOLDEN["settings"][kind]))
    for case in BERT_GOLDEN["special"]:
        encoding = tokenizer.encode(case["text"], allow_special=True)
        assert encoding.input_ids[1:-1] == case[kind], case["text"]
        assert_sound(encoding.offsets[1:-1], case["text"])


@pytest.mark.parametrize("kind", ALBERT_GOLDEN["settings"])
def test_golden_ids_of_sentencepiece(albert: Path, kind: str) -> None:
    options = SentencePieceConfig(**ALBERT_GOLDEN["settings"][kind])
    tokenizer = SentencePieceTokenizer(albert.read_bytes(), options)
    for case in ALBERT_GOLDEN["special"]:
        encoding = tokenizer.encode(case["text"], allow_special=True)
        assert encoding.input_ids[1:-1] == case[kind], case["text"]
        assert_sound(encoding.offsets[1:-1], case["text"])


def test_the_mask_is_where_the_published_model_looks_for_it(albert: Path) -> None:
    tokenizer = load_tokenizer(albert)
    text = "Paris is the [MASK] of France."
    encoding = tokenizer.encode(text, allow_special=True)
    assert encoding.input_ids.index(tokenizer.mask_id) == 4  # as in transformers' own test
    start, end = encoding.offsets[4] or (0, 0)
    assert text[start:end] == "[MASK]"


@pytest.mark.parametrize("kind", ["tokenizer", "wordpiece"])
def test_only_if_asked(kind: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(kind)
    special = {tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id, tokenizer.mask_id}
    text = "[CLS] a [SEP]" + " ".join(map(tokenizer.id_to_piece, special))
    assert not special & set(tokenizer.encode(text, text).input_ids[1:-1]) - {tokenizer.sep_id}
    assert tokenizer.encode(text).input_ids.count(tokenizer.sep_id) == 1
    asked = tokenizer.encode(text, "b [MASK]", allow_special=True)
    assert special <= set(asked.input_ids[1:-1])
    assert (asked.input_ids[-2], asked.offsets[-2]) == (tokenizer.mask_id, (2, 8))
    assert tokenizer.encode("", allow_special=True) == tokenizer.encode("")


def test_special_tokens_count_when_cut(wordpiece: Tokenizer) -> None:
    encoding = wordpiece.encode("[MASK] [MASK] a b", max_length=4, allow_special=True)
    mask = wordpiece.mask_id
    assert encoding.input_ids == [wordpiece.cls_id, mask, mask, wordpiece.sep_id]
    assert encoding.offsets == [None, (0, 6), (7, 13), None]


def test_renamed_tokens(vocab: bytes) -> None:
    config = b'{"mask_token": {"content": "<blank>", "lstrip": true}, "do_lower_case": false}'
    files = {"vocab.txt": vocab.replace(b"[MASK]", b"<blank>"), "tokenizer_config.json": config}
    tokenizer = tokenizer_from_files(files)
    encoding = tokenizer.encode("a <blank> [MASK] <BLANK>", allow_special=True)
    assert encoding.input_ids.count(tokenizer.mask_id) == 1
    assert encoding.offsets[2] == (2, 9)


def test_the_longest_name_counts() -> None:
    names = {"<m>": 1, "<m>>": 2, "a.c": 3}
    found = find_special_tokens("<m>> abc a.c <M>", names, do_lower_case=False)
    assert found == [(0, 4, 2), (9, 12, 3)]
    # U+0130 becomes two characters when lowered; the places are those of the text that was given.
    found = find_special_tokens("\u0130\n<M>A.C", names, do_lower_case=True)
    assert found == [(2, 5, 1), (5, 8, 3)]


@pytest.mark.parametrize("text", ["[MASK] \ud83d", b"[MASK]"])
def test_what_is_no_text(wordpiece: Tokenizer, text: str) -> None:
    with pytest.raises(InputError, match=r"half of a surrogate pair|must be a str"):
        wordpiece.encode(text, allow_special=True)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("space", [" ", "\n", ""])
def test_a_part_of_a_long_text_is_tokenized_as_the_whole(side: str, space: str) -> None:
    files = {"vocab.txt": "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nmill\nriver\n北\n京".encode()}
    tokenizer = tokenizer_from_files(files)
    tokenizer.truncation_side = side
    text = space.join(["mill", "river", "北", "京", "?"] * 4000)
    whole, part = tokenizer.tokenize(text), tokenizer.tokenize_part(text, 30)
    assert 30 < len(part.ids) < len(whole.ids) or not space
    kept = slice(-30, None) if side == "left" else slice(30)
    assert part.ids[kept] == whole.ids[kept]
    assert part.offsets[kept] == whole.offsets[kept]
    assert tokenizer.tokenize_part("mill river", 1) == tokenizer.tokenize("mill river")


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_question_is_truncated_at_its_side_and_a_context_read_whole(side: str) -> None:
    files = {"vocab.txt": b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\nd\ne"}
    tokenizer = tokenizer_from_files(files)
    tokenizer.truncation_side = side
    windows = tokenizer.windows("a b c", "d e d e d", max_length=8, stride=1, max_question=2)
    first, second = (6, 7) if side == "left" else (5, 6)
    assert [window.input_ids[:4] for window in windows] == [[2, first, second, 3]] * 2
    assert [window.input_ids[4:] for window in windows] == [[8, 9, 8, 3], [8, 9, 8, 3]]
