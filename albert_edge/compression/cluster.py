"""Weight clustering that survives int8, with tensorflow-model-optimization.

Han et al. 2016, arXiv:1510.00149, let weights share few values, so that a file of them zips well.
The converter divides every output channel by a scale of its own, which would make other codes of
the same values in every channel.  So here the numbers are clustered after that division: all
channels of a matrix share one codebook of int8 codes, and the converter finds exactly these.  The
outermost codes are -127 and 127, where it puts the largest number of every channel.

Into some kernels the converter multiplies the `gamma` of the normalization before them.  These are
clustered as it multiplies them, and their `gamma` stays what it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from albert_edge.compression.codebook import Codebook
from albert_edge.compression.matrices import folded_scale, is_compressible
from albert_edge.compression.methods import Cluster
from albert_edge.modeling import Albert
from albert_edge.modeling.variables import canonical_name
from albert_edge.training.constraint import Constraint, name_weights

__all__ = ["Clustered"]


class Clustered(Constraint):
    """Matrices whose numbers, each divided by its channel's largest, are among few centroids.

    Trained are the numbers as they would be without the centroids, which choose their centroid and
    get its gradient, and the centroids.

    Args:
        model: What is trained.
        steps: How long; it makes no difference here.
        step: The variable that counts the steps; nor does that.
        method: How many centroids, and where they begin.
    """

    def __init__(self, model: Albert, steps: int, step: Any, *, method: Cluster) -> None:
        self._weights = {canonical_name(weight): weight for weight in model.trainable_variables}
        scales = {name: folded_scale(name) for name in self._weights if is_compressible(name)}
        self._fixed = {scale for scale in scales.values() if scale is not None}
        self._books = {
            name: Codebook(
                self._weights[name], method, scale=None if scale is None else self._weights[scale]
            )
            for name, scale in scales.items()
        }
        free = {name: book.free for name, book in self._books.items()}
        centroids = [book.centroids for book in self._books.values()]
        self.trained = [*{**self._weights, **free}.values(), *centroids]
        self.enforce()

    def pull_back(self, gradients: Sequence[Any]) -> Sequence[Any]:
        by_name = dict(zip(self._weights, gradients, strict=True))
        for name in self._fixed & by_name.keys():
            by_name[name] = tf.zeros_like(by_name[name])
        books = self._books.values()
        with tf.GradientTape() as tape:
            clustered = [book.clustered() for book in books]
        free, centroids = tape.gradient(
            clustered,
            [[book.free for book in books], [book.centroids for book in books]],
            output_gradients=[by_name[name] for name in self._books],
        )
        by_name.update(zip(self._books, free, strict=True))
        return [*by_name.values(), *centroids]

    def enforce(self) -> None:
        for name, book in self._books.items():
            book.settle()
            self._weights[name].assign(book.clustered())

    def weights(self, averages: Sequence[Any]) -> Mapping[str, np.ndarray]:
        by_name = dict(zip(self._weights, averages, strict=False))  # the centroids' come after
        values = name_weights(list(self._weights.values()), list(by_name.values()))
        centroids = averages[len(by_name) :]
        for (name, book), average in zip(self._books.items(), centroids, strict=True):
            values[name] = book.stored(by_name[name], average)
        return values
