"""`split_sentences` finds the first and the last character of every sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albert_edge.pipelines.sentence_windows import split_sentences

# Texts full of the characters that the rules depend on.
_PARTS = st.sampled_from(
    [*'.!?…"”’)。！ \n\t\u00a0\x1c', "...", "  ", "a", "I", "Dr", "e.g", "word", "Word", "3", "語"]
)
_TEXT = st.lists(_PARTS, max_size=40).map("".join) | st.text(max_size=60)


@given(_TEXT)
def test_every_word_is_in_one_sentence_and_no_space_is_around_it(text: str) -> None:
    spans = split_sentences(text)
    inside = [False] * len(text)
    last = 0
    for start, end in spans:
        assert last <= start < end  # ordered and disjoint
        assert text[start:end] == text[start:end].strip()
        inside[start:end] = [True] * (end - start)
        last = end
    assert all(inside[at] or text[at].isspace() for at in range(len(text)))


@given(_TEXT)
def test_a_line_ends_a_sentence(text: str) -> None:
    # Unless only marks follow, which belong to the sentence that they close.
    for start, end in split_sentences(text):
        _, *rest = text[start:end].split("\n")
        assert not any(character.isalnum() for line in rest for character in line)


@pytest.mark.parametrize(
    "sentences",
    [
        ["It rained.", "We stayed in!", "Why?", "Nobody knew."],
        ["J. R. R. Tolkien wrote it.", "It sold."],
        ["Am I?", "So am I.", "He left."],  # I is a word more often than an initial
        ["Dr. Smith, Mr. Jones et al. came.", "They sat down."],
        ["See Fig. 3, e.g. the left part.", "It shows pp. 4 and 5."],
        ["It cost 3.50 in all.", "Version 2.0.1 did not."],
        ['"Come in."', '"No!"', "He went."],
        ["“Come in.”", "‘No!’", "He went."],
        ["(He came.)", "[She left.]", "They met."],
        ['"Stop!" he said.', "She did."],  # only the text behind them separates the two
        ["He waited...", "Nobody came."],
        ["He waited . . .", "Nobody came."],
        ["He waited…", "Nobody came."],
        ["What?!", "Really!!!", "Yes."],
        ["no end"],
        ["あれは何ですか。", "本です！", "はい。"],
        ["他说：「走吧。」", "她走了。"],
        ["the film is fine .", "the cast is not !", "why ?"],
        ['he said , " no . "', "she left ."],
    ],
)
def test_sentences_of_a_text(sentences: list[str]) -> None:
    text = " ".join(sentences)
    if sentences[0].startswith('"Stop!"'):
        sentences = ['"Stop!"', "he said.", "She did."]  # a mark but a full stop always ends one
    assert [text[start:end] for start, end in split_sentences(text)] == sentences


def test_a_full_stop_before_a_lower_case_letter_ends_no_sentence() -> None:
    assert len(split_sentences("The approx. value of the est. mass is small. It fell.")) == 2
    # In a text without capitals, it does.
    assert len(split_sentences("the mass is small. it fell.")) == 2


def test_lines_and_space_between_them() -> None:
    text = "\n\n  A title\n\tone. Two  \n\n"
    assert [text[a:b] for a, b in split_sentences(text)] == ["A title", "one.", "Two"]
    assert split_sentences(" \n\t ") == split_sentences("") == []


def test_marks_alone_belong_to_the_sentence_before() -> None:
    text = 'He said: "Well . . ." . . . "'
    assert split_sentences(text) == [(0, len(text))]
    assert split_sentences("...") == [(0, 3)]


def test_a_long_run_of_marks_takes_linear_time() -> None:
    # Tried at each of its marks, this would take hours.
    text = "." * 1_000_000 + "x"
    assert split_sentences(text) == [(0, len(text))]
