"""One text and two are laid out, cut and windowed as the models expect."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.errors import InputError
from albert_edge.tokenizer import Tokenizer
from tokenizer.conftest import SENTENCES
from tokenizer.reference import IN_SESSION


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
