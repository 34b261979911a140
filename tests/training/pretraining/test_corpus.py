"""Text files become documents of sentences of ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from albert_edge.errors import TrainingError
from albert_edge.training.pretraining.corpus import (
    SPECIAL,
    Document,
    SegmentPair,
    encode_documents,
    make_pairs,
    read_documents,
)
from language import words


def test_documents_are_apart_by_blank_lines(tmp_path: Path) -> None:
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_bytes("\ufeffA. B.\r\nC\r\n \t\r\n\r\nAlone.\r\n\r\nD\nE!".encode())
    second.write_text("F.\nG.\n")
    assert read_documents([first, second]) == [["A. B.", "C"], ["D", "E!"], ["F.", "G."]]
    assert read_documents([]) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"",
            "bad.txt holds no document of two sentences or more; a blank line parts",
        ),
        (b"One.\n\nTwo.\n\n\nThree.", "bad.txt holds no document of two sentences"),
        (b"One.\nTwo \xff.", "bad.txt, line 2: not UTF-8"),
        (None, "cannot read .*bad.txt: No such file"),
    ],
)
def test_a_file_without_documents_is_named(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.txt", tmp_path / "bad.txt"
    good.write_text("One.\nTwo.")
    if content is not None:
        bad.write_bytes(content)
    with pytest.raises(TrainingError, match=message):
        read_documents([good, bad])


def test_a_folder_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"cannot read .*directory"):
        read_documents([tmp_path])


def test_ids_of_sentences_have_no_special_tokens() -> None:
    tokenizer = words()
    found = encode_documents([["one lake lake", " ", "two"], ["six", "\u200b"]], tokenizer)
    assert len(found) == 1  # the second has one sentence that holds a token
    assert [sentence.dtype for sentence in found[0]] == [np.int32, np.int32]
    pieces = [[tokenizer.id_to_piece(one) for one in sentence] for sentence in found[0]]
    assert pieces == [["one", "lake", "lake"], ["two"]]


def _documents(count: int, *, sentences: int, longest: int, seed: int = 0) -> list[Document]:
    """Make documents of which every token is another: 10 000 * document + place."""
    random = np.random.default_rng(seed)
    made = []
    for document in range(count):
        ends = np.cumsum(random.integers(1, longest + 1, random.integers(2, sentences + 1)))
        tokens = np.arange(ends[-1], dtype=np.int32) + 10_000 * document
        made.append(np.split(tokens, ends[:-1]))
    return made


def _in_order(pair: SegmentPair) -> tuple[np.ndarray, np.ndarray]:
    return (pair.second, pair.first) if pair.swapped else (pair.first, pair.second)


@pytest.mark.parametrize(("max_length", "longest"), [(8, 20), (32, 6), (128, 30)])
def test_pairs_are_whole_sentences_of_one_document_in_order(max_length: int, longest: int) -> None:
    documents = _documents(100, sentences=30, longest=longest)
    starts = {int(sentence[0]) for document in documents for sentence in document}
    pairs = make_pairs(documents, max_length=max_length, random=np.random.default_rng(1))
    assert len(pairs) > 100
    for pair in pairs:
        earlier, later = _in_order(pair)
        assert len(earlier) > 0 < len(later)
        assert len(earlier) + len(later) + SPECIAL <= max_length
        tokens = np.concatenate([earlier, later])
        assert (np.diff(tokens) > 0).all()
        assert tokens[0] // 10_000 == tokens[-1] // 10_000
        assert {int(earlier[0]), int(later[0])} <= starts
    seen = np.concatenate([np.concatenate(_in_order(pair)) for pair in pairs])
    assert len(np.unique(seen)) == len(seen)  # nothing is seen twice in a pass


def test_half_of_the_pairs_are_swapped() -> None:
    documents = _documents(300, sentences=40, longest=20)
    pairs = make_pairs(documents, max_length=64, random=np.random.default_rng(2))
    swapped = np.array([pair.swapped for pair in pairs])
    # Four standard deviations of a fair coin: wrong once in 16 000 seeds, and the seed is fixed.
    assert abs(swapped.mean() - 0.5) < 4 * 0.5 / len(swapped) ** 0.5


@pytest.mark.parametrize("max_length", [32, 64, 128])
def test_lengths_do_not_tell_the_order(max_length: int) -> None:
    documents = _documents(600, sentences=60, longest=40)
    pairs = make_pairs(documents, max_length=max_length, random=np.random.default_rng(3))
    lengths = np.array([list(map(len, _in_order(pair))) for pair in pairs])
    more = lengths[:, 1] - lengths[:, 0]
    assert len(more) > 2500
    # Five standard errors.  Where the sentence that crosses the limit always stands last, the later
    # segment is longer on average by three times as much at least.
    assert abs(more.mean()) < 5 * more.std() / len(more) ** 0.5
    longer, shorter = (more > 0).sum(), (more < 0).sum()
    assert abs(longer - shorter) < 5 * (longer + shorter) ** 0.5


def test_most_pairs_are_about_full() -> None:
    documents = _documents(200, sentences=60, longest=20)
    pairs = make_pairs(documents, max_length=128, random=np.random.default_rng(4))
    sizes = np.array([len(pair.first) + len(pair.second) + SPECIAL for pair in pairs])
    assert np.mean(sizes > 64) > 0.7  # a tenth are short, and so is each document's last
    assert 0.05 < np.mean(sizes < 32) < 0.35


def test_the_same_generator_gives_the_same_pairs_and_another_others() -> None:
    documents = _documents(20, sentences=20, longest=10)

    def made(seed: int) -> list[tuple[list[int], list[int], int]]:
        pairs = make_pairs(documents, max_length=32, random=np.random.default_rng(seed))
        return [(pair.first.tolist(), pair.second.tolist(), pair.swapped) for pair in pairs]

    assert made(5) == made(5) != made(6)


def test_nothing_gives_nothing() -> None:
    assert make_pairs([], max_length=32, random=np.random.default_rng(0)) == []
