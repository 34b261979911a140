"""Text files become documents of sentences of ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from albert_edge.errors import TrainingError
from albert_edge.training.pretraining.corpus import encode_documents, read_documents
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
