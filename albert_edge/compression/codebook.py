"""The few int8 codes that the numbers of one matrix share."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from albert_edge.compression.matrices import LARGEST_CODE, channel_axis
from albert_edge.compression.methods import Cluster
from albert_edge.compression.tfmot import (
    cluster_config,
    clustering_algorithm,
    clustering_centroids,
)
from albert_edge.modeling.variables import canonical_name

__all__ = ["Codebook", "nearest"]

_Start = cluster_config.CentroidInitialization
_STARTS = {
    "linear": _Start.LINEAR,
    "density": _Start.DENSITY_BASED,
    "kmeans++": _Start.KMEANS_PLUS_PLUS,
}


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
        codes = tf.round(tf.sort(centroids) * LARGEST_CODE)
        units, largest = self._divide(free)
        chosen = tf.gather(codes, nearest(units, codes / LARGEST_CODE))
        numbers = chosen * (largest / LARGEST_CODE)
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
