from __future__ import annotations

import numpy as np

from albert_edge.training.init import cooccurrence_embeddings


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
