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

from albert_edge.modeling import Albert
from albert_edge.modeling.layers import canonical_name
from albert_edge.training.compression.int8_weights import (
    INT8_QMAX,
    channel_axis,
    folded_scale,
    is_compressible,
)
from albert_edge.training.compression.methods import Cluster
from albert_edge.training.compression.tfmot import (
    cluster_config,
    clustering_algorithm,
    clustering_centroids,
)
from albert_edge.training.trainer import Constraint, name_weights

__all__ = ["Clustered", "Codebook", "nearest"]

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


# The few int8 codes that the numbers of one matrix share.


class Codebook:
    """A matrix in training, and the centroids that its numbers go to.

    Args:
        weight: The matrix, a model's variable.
        method: How many centroids, and where they begin.
        scale: What the converter multiplies the rows by, float32 [inputs]; None for nothing.

    Attributes:
        free: float32 variable, the matrix, times `scale`, as it would be without the centroids.
        centroids: float32 variable [clusters], rising from -1 to 1.
    """

    def __init__(self, weight: Any, method: Cluster, *, scale: Any = None) -> None:
        name = canonical_name(weight)
        self._axis = channel_axis(name)
        self._scale = tf.ones([1, 1]) if scale is None else tf.constant(scale.numpy()[:, None])
        self.free = tf.Variable(weight * self._scale, name=name)
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
        chosen = nearest(units, self.centroids)
        numbers = self._algorithm.get_clustered_weight(chosen, units) * largest
        return tf.math.divide_no_nan(numbers, self._scale)

    def stored(self, free: Any, centroids: Any) -> np.ndarray:
        """Return the matrix of other values of the variables, on the grid of int8 codes."""
        codes = tf.round(tf.sort(centroids) * INT8_QMAX)
        units, largest = self._divide(free)
        chosen = tf.gather(codes, nearest(units, codes / INT8_QMAX))
        numbers = chosen * (largest / INT8_QMAX)
        matrix: np.ndarray = tf.math.divide_no_nan(numbers, self._scale).numpy()
        return matrix

    def _divide(self, values: Any) -> tuple[Any, Any]:
        """Return the values by the largest of their channel, in [-1, 1], and the largest."""
        largest = tf.reduce_max(tf.abs(values), self._axis, keepdims=True)
        largest = tf.stop_gradient(largest)  # it follows the values; it does not teach them
        return tf.math.divide_no_nan(values, largest), largest


def nearest(values: Any, centroids: Any) -> Any:
    """Return the places of the nearest of rising centroids, int32, of the shape of `values`.

    tfmot compares every number with every centroid: 500 MB for ALBERT-base's embedding.
    """
    borders = (centroids[1:] + centroids[:-1]) / 2
    places = tf.searchsorted(borders, tf.reshape(values, [-1]))
    return tf.reshape(places, tf.shape(values))
