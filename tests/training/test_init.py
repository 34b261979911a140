from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from albert_edge.training.init import cooccurrence_embeddings, make_student
from training.distillation.samples import SHAPE, bert


def _sequences() -> list[list[int]]:
    """Tokens 0 and 1 keep one company (4 to 7), 2 and 3 another (8 to 11); 12 never occurs."""
    random = np.random.default_rng(0)
    made = []
    for _ in range(400):
        side = int(random.integers(2))
        word = 2 * side + int(random.integers(2))
        company = random.integers(4 + 4 * side, 8 + 4 * side, size=3).tolist()
        made.append([*company[:2], word, company[2]])
    return made


def test_words_of_the_same_company_are_close() -> None:
    vectors = cooccurrence_embeddings(_sequences(), rows=13, size=4)
    assert vectors.shape == (13, 4)
    assert vectors.dtype == np.float32
    likeness = vectors @ vectors.T
    assert min(likeness[0, 1], likeness[2, 3]) > 0.9
    assert max(likeness[0, 2], likeness[0, 3], likeness[1, 2], likeness[1, 3]) < 0.5


def test_rows_have_length_one_or_none() -> None:
    lengths = np.linalg.norm(cooccurrence_embeddings(_sequences(), rows=13, size=4), axis=1)
    np.testing.assert_allclose(lengths[:12], 1.0, rtol=1e-5)
    assert lengths[12] == 0


def test_texts_do_not_touch() -> None:
    together = cooccurrence_embeddings([[0, 1]], rows=2, size=2)
    apart = cooccurrence_embeddings([[0], [1]], rows=2, size=2)
    assert together.any()
    assert not apart.any()


def test_same_seed_same_vectors() -> None:
    one, two = (cooccurrence_embeddings(_sequences(), rows=13, size=4, seed=5) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_a_student_starts_from_the_truncated_decomposition_of_its_teacher() -> None:
    teacher = bert()
    start = make_student(teacher, SHAPE.of(teacher.config), seed=0)
    words = teacher.tensors["embeddings/word_embeddings"].astype(np.float64)
    left, values, right = np.linalg.svd(words, full_matrices=False)
    expected = left[:, :8] * values[:8]
    found = start.tensors["embeddings/word_embeddings"]
    scale = 0.04 / np.sqrt(np.mean(expected**2))
    # The sign of a singular vector is free.
    np.testing.assert_allclose(np.abs(found), np.abs(scale * expected), atol=1e-6)
    np.testing.assert_allclose(found @ found.T, scale**2 * expected @ expected.T, atol=1e-6)
    places = teacher.tensors["embeddings/position_embeddings"] @ right[:8].T
    made = start.tensors["embeddings/position_embeddings"]
    np.testing.assert_allclose(np.abs(made), np.abs(scale * places), atol=1e-6)
    kept = np.sum(values[:8] ** 2) / np.sum(values**2)
    assert start.changes["distill"]["embeddings_kept"] == pytest.approx(kept, abs=1e-4)
    assert "pooler/kernel" not in start.tensors


def test_a_student_with_wider_embeddings_than_its_teacher_has_random_ones_too() -> None:
    shape = dataclasses.replace(SHAPE, embedding_size=32)
    start = make_student(bert(), shape.of(bert().config), seed=0)
    words = start.tensors["embeddings/word_embeddings"]
    assert words.shape[1] == 32
    assert np.linalg.matrix_rank(words.astype(np.float64)) > 24
