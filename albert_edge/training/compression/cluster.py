"""Weight clustering that is exact in int8, with tensorflow-model-optimization.

In Han et al. 2016, arXiv:1510.00149, weights share few values, so that a file of them compresses
well.  The converter divides every output channel by a scale of its own, which would turn the same
values into different codes in every channel.  So here the weights are clustered after that
division: all channels of a matrix share one codebook of int8 codes, and the converter produces
exactly these.  The outermost codes are -127 and 127, to which it maps the largest weight of every
channel.

The converter multiplies the `gamma` of the normalization before them into some kernels.  These are
clustered after the multiplication, and their `gamma` is not trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from albert_edge.modeling import Albert, canonical_name
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

_INITIALIZATIONS = {
    "linear": cluster_config.CentroidInitialization.LINEAR,
    "density": cluster_config.CentroidInitialization.DENSITY_BASED,
    "kmeans++": cluster_config.CentroidInitialization.KMEANS_PLUS_PLUS,
}


class Clustered(Constraint):
    """Matrices whose weights, divided by the largest of their channel, are among few centroids.

    The optimizer updates the centroids, and the unclustered weights: each of them is mapped to its
    nearest centroid, and gets the gradient of the mapped value.

    Args:
        model: The model in training.
        steps: The number of steps of the training; not used.
        step: The variable that counts the steps; not used.
        method: The number of centroids and their initialization.
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
        latent = {name: book.latent for name, book in self._books.items()}
        centroids = [book.centroids for book in self._books.values()]
        self.trained = [*{**self._weights, **latent}.values(), *centroids]
        self.project()

    def map_gradients(self, gradients: Sequence[Any]) -> Sequence[Any]:
        by_name = dict(zip(self._weights, gradients, strict=True))
        for name in self._fixed & by_name.keys():
            by_name[name] = tf.zeros_like(by_name[name])
        books = self._books.values()
        with tf.GradientTape() as tape:
            clustered = [book.clustered() for book in books]
        latent, centroids = tape.gradient(
            clustered,
            [[book.latent for book in books], [book.centroids for book in books]],
            output_gradients=[by_name[name] for name in self._books],
        )
        by_name.update(zip(self._books, latent, strict=True))
        return [*by_name.values(), *centroids]

    def project(self) -> None:
        for name, book in self._books.items():
            book.sort_centroids()
            self._weights[name].assign(book.clustered())

    def tensors(self, averages: Sequence[Any]) -> Mapping[str, np.ndarray]:
        by_name = dict(zip(self._weights, averages, strict=False))  # the centroids follow
        values = name_weights(list(self._weights.values()), list(by_name.values()))
        centroids = averages[len(by_name) :]
        for (name, book), average in zip(self._books.items(), centroids, strict=True):
            values[name] = book.to_int8_grid(by_name[name], average)
        return values


class Codebook:
    """A matrix in training, and the centroids of its weights: the int8 codes that they share.

    Args:
        weight: The matrix, a variable of the model.
        method: The number of centroids and their initialization.
        scale: The factors by which the converter multiplies the rows, float32 [inputs]; None for
            none.

    Attributes:
        latent: float32 variable, the unclustered matrix times `scale`.
        centroids: float32 variable [clusters], ascending from -1 to 1.
    """

    def __init__(self, weight: Any, method: Cluster, *, scale: Any = None) -> None:
        name = canonical_name(weight)
        self._axis = channel_axis(name)
        self._scale = tf.ones([1, 1]) if scale is None else tf.constant(scale.numpy()[:, None])
        self.latent = tf.Variable(weight * self._scale, name=name)
        factory = clustering_centroids.CentroidsInitializerFactory
        initializer = factory.get_centroid_initializer(_INITIALIZATIONS[method.centroids])
        units, _ = self._normalize(self.latent)
        centroids = initializer(units, method.clusters).get_cluster_centroids()
        self.centroids = tf.Variable(centroids, name=f"{name}/centroids")
        self._algorithm = clustering_algorithm.ClusteringAlgorithm(
            self.centroids, cluster_config.GradientAggregation.AVG
        )
        self.sort_centroids()

    def sort_centroids(self) -> None:
        """Sort the centroids after an update, and set the outermost to -1 and 1."""
        inner = tf.sort(tf.clip_by_value(self.centroids, -1.0, 1.0))[1:-1]
        self.centroids.assign(tf.concat([[-1.0], inner, [1.0]], axis=0))

    def clustered(self) -> Any:
        """Return the clustered matrix for the model; both variables get gradients, by tfmot."""
        units, largest = self._normalize(self.latent)
        indices = nearest(units, self.centroids)
        values = self._algorithm.get_clustered_weight(indices, units) * largest
        return tf.math.divide_no_nan(values, self._scale)

    def to_int8_grid(self, latent: Any, centroids: Any) -> np.ndarray:
        """Return the matrix of other values of the variables, rounded to int8 codes."""
        codes = tf.round(tf.sort(centroids) * INT8_QMAX)
        units, largest = self._normalize(latent)
        values = tf.gather(codes, nearest(units, codes / INT8_QMAX)) * (largest / INT8_QMAX)
        matrix: np.ndarray = tf.math.divide_no_nan(values, self._scale).numpy()
        return matrix

    def _normalize(self, values: Any) -> tuple[Any, Any]:
        """Return the values over the largest of their channel, in [-1, 1], and the largest."""
        largest = tf.reduce_max(tf.abs(values), self._axis, keepdims=True)
        largest = tf.stop_gradient(largest)  # no gradient by way of the scale
        return tf.math.divide_no_nan(values, largest), largest


def nearest(values: Any, centroids: Any) -> Any:
    """Return the index of the nearest of ascending centroids, int32, of the shape of `values`.

    tfmot compares every value with every centroid, which takes 500 MB for ALBERT-base's embedding.
    """
    borders = (centroids[1:] + centroids[:-1]) / 2
    indices = tf.searchsorted(borders, tf.reshape(values, [-1]))
    return tf.reshape(indices, tf.shape(values))
