"""Weight clustering that survives int8, with tensorflow-model-optimization.

Han et al. 2016, arXiv:1510.00149, let weights share few values, so that a file of them zips well.
The converter divides every output channel by a scale of its own, which would make other codes of
the same values in every channel.  So here the numbers are clustered after that division: all
channels of a matrix share one codebook of int8 codes, and the converter finds exactly these.  The
outermost codes are -127 and 127, where it puts the largest number of every channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from albert_edge.compression.matrices import LARGEST_CODE, channel_axis, is_compressible
from albert_edge.compression.methods import Cluster
from albert_edge.compression.tfmot import (
    cluster_config,
    clustering_algorithm,
    clustering_centroids,
)
from albert_edge.modeling import Albert
from albert_edge.modeling.variables import canonical_name
from albert_edge.training.constraint import Constraint, name_weights

__all__ = ["Clustered"]

_Start = cluster_config.CentroidInitialization
_STARTS = {
    "linear": _Start.LINEAR,
    "density": _Start.DENSITY_BASED,
    "kmeans++": _Start.KMEANS_PLUS_PLUS,
}


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
        self._weights = model.trainable_variables
        self._books = {
            at: _Codebook(weight, method)
            for at, weight in enumerate(self._weights)
            if is_compressible(canonical_name(weight))
        }
        self._free = [
            self._books[at].free if at in self._books else weight
            for at, weight in enumerate(self._weights)
        ]
        self.trained = [*self._free, *(book.centroids for book in self._books.values())]
        self.enforce()

    def pull_back(self, gradients: Sequence[Any]) -> Sequence[Any]:
        books = list(self._books.values())
        with tf.GradientTape() as tape:
            used = [book.clustered() for book in books]
        pulled = tape.gradient(
            used,
            [*(book.free for book in books), *(book.centroids for book in books)],
            output_gradients=[gradients[at] for at in self._books],
        )
        by_place = dict(zip(self._books, pulled, strict=False))
        free = [by_place.get(at, gradient) for at, gradient in enumerate(gradients)]
        return [*free, *pulled[len(books) :]]

    def enforce(self) -> None:
        for at, book in self._books.items():
            book.settle()
            self._weights[at].assign(book.clustered())

    def weights(self, averages: Sequence[Any]) -> Mapping[str, np.ndarray]:
        count = len(self._weights)
        values = name_weights(self._weights, averages[:count])
        for (at, book), centroids in zip(self._books.items(), averages[count:], strict=True):
            name = canonical_name(self._weights[at])
            values[name] = book.stored(averages[at], centroids)
        return values


class _Codebook:
    """The centroids of one matrix, float32 [clusters], rising from -1 to 1."""

    def __init__(self, weight: Any, method: Cluster) -> None:
        name = canonical_name(weight)
        self._axis = channel_axis(name)
        self.free = tf.Variable(weight, name=name)
        factory = clustering_centroids.CentroidsInitializerFactory
        start = factory.get_centroid_initializer(_STARTS[method.centroids])
        units, _ = self._divide(self.free)
        centroids = start(units, method.clusters).get_cluster_centroids()
        self.centroids = tf.Variable(centroids, name=f"{name}/centroids")
        self._algorithm = clustering_algorithm.ClusteringAlgorithm(
            self.centroids, cluster_config.GradientAggregation.AVG
        )
        self.settle()

    def settle(self) -> None:
        """Put the centroids in order after an update, and the outermost where they belong."""
        inner = tf.sort(tf.clip_by_value(self.centroids, -1.0, 1.0))[1:-1]
        self.centroids.assign(tf.concat([[-1.0], inner, [1.0]], axis=0))

    def clustered(self) -> Any:
        """Return the matrix as the model uses it; tfmot's gradients lead to both variables."""
        units, largest = self._divide(self.free)
        chosen = _nearest(units, self.centroids)
        return self._algorithm.get_clustered_weight(chosen, units) * largest

    def stored(self, free: Any, centroids: Any) -> np.ndarray:
        """Return the matrix of other values of the variables, on the grid of int8 codes."""
        codes = tf.round(tf.sort(centroids) * LARGEST_CODE)
        units, largest = self._divide(free)
        chosen = tf.gather(codes, _nearest(units, codes / LARGEST_CODE))
        matrix: np.ndarray = (chosen * (largest / LARGEST_CODE)).numpy()
        return matrix

    def _divide(self, values: Any) -> tuple[Any, Any]:
        """Return the values by the largest of their channel, in [-1, 1], and the largest."""
        largest = tf.reduce_max(tf.abs(values), self._axis, keepdims=True)
        largest = tf.stop_gradient(largest)  # it follows the values; it does not teach them
        return tf.math.divide_no_nan(values, largest), largest


def _nearest(values: Any, centroids: Any) -> Any:
    """Return the places of the nearest of rising centroids, int32, of the shape of `values`.

    tfmot compares every number with every centroid: 500 MB for ALBERT-base's embedding.
    """
    borders = (centroids[1:] + centroids[:-1]) / 2
    places = tf.searchsorted(borders, tf.reshape(values, [-1]))
    return tf.reshape(places, tf.shape(values))
