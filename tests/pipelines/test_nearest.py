"""The lines of a file that are nearest in meaning, and their vectors, which are kept."""

from __future__ import annotations

import numpy as np
import pytest

import albert_edge
from albert_edge.errors import InputError
from albert_edge.pipelines.nearest import index_lines

LINES = """I lost my card.
How do I top up?

My transfer has not arrived.
The exchange rate looks wrong.
"""


@pytest.fixture(scope="module")
def pipe():
    return albert_edge.load("embeddings")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text(LINES)
    return path


def count(pipe, path, **options):
    """Return the index, and how many lines were encoded."""
    encoded: list[str] = []

    def progress(lines):
        encoded.extend(lines)
        return lines

    return index_lines(pipe, path, progress=progress, **options), len(encoded)


def test_the_nearest_line_means_the_same(pipe, path):
    index, _ = count(pipe, path)
    (vector,) = pipe.embed(["Where is the money that I sent?"])
    best, second = index.nearest(vector, 2)
    assert (best["line"], best["text"]) == (4, "My transfer has not arrived.")
    assert best["score"] > second["score"]
    np.testing.assert_allclose(best["score"], index.vectors[2] @ vector, rtol=1e-6)
    assert len(index.nearest(vector, 99)) == 4


def test_vectors_are_those_of_the_pipeline(pipe):
    texts = ["a quiet film", "no"]
    vectors = pipe.embed(texts)
    assert vectors.shape == (2, 256)
    for text, vector in zip(texts, vectors, strict=True):
        expected = pipe(text, pooling="mean", normalize=True)["embedding"]
        np.testing.assert_array_equal(vector, expected)


def test_vectors_are_kept_for_the_same_lines_model_and_pooling(pipe, path, tmp_path):
    first, encoded = count(pipe, path)
    assert (encoded, first.problem) == (4, "")
    again, encoded = count(pipe, path)
    assert encoded == 0
    np.testing.assert_array_equal(again.vectors, first.vectors)
    assert count(pipe, path, pooling="cls")[1] == 4
    path.write_text(LINES + "Hello\n")
    assert count(pipe, path)[1] == 5


@pytest.mark.parametrize("damage", [b"", b"albert_edge vectors", b"\0" * 5000])
def test_damaged_vectors_are_computed_anew(pipe, path, damage):
    kept = path.with_name("lines.txt.vectors")
    expected = count(pipe, path)[0].vectors
    for content in (damage, kept.read_bytes()[:-4], kept.read_bytes()[:-4] + b"\xff\xff\xff\xff"):
        kept.write_bytes(content)
        index, encoded = count(pipe, path)
        assert encoded == 4
        np.testing.assert_array_equal(index.vectors, expected)


def test_vectors_that_cannot_be_kept_are_used(pipe, path):
    path.with_name("lines.txt.vectors").mkdir()
    index, encoded = count(pipe, path)
    assert encoded == 4
    assert "lines.txt.vectors" in index.problem


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\n \n", "has no lines of text"), (b"\xff\n", "is not UTF-8"), (None, "cannot read")],
)
def test_files_without_lines(pipe, tmp_path, content, message):
    path = tmp_path / "x.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        index_lines(pipe, path)


def test_nothing_to_encode(pipe):
    with pytest.raises(InputError, match="no text"):
        pipe.embed([])
