"""The parts of tensorflow-model-optimization that are used here, imported in one place.

Its wrappers clone models layer by layer, and support neither custom nor shared layers.  The parts
inside the wrappers work on any variable, and so are used directly.
"""

from __future__ import annotations

import warnings

from albert_edge.errors import requires_extra

__all__ = [
    "cluster_config",
    "clustering_algorithm",
    "clustering_centroids",
    "pruning_impl",
    "pruning_schedule",
    "quantizers",
]

with requires_extra(), warnings.catch_warnings():
    # The package compares TensorFlow's version by means of distutils.
    warnings.filterwarnings("ignore", message="distutils Version", category=DeprecationWarning)
    from tensorflow_model_optimization.python.core.clustering.keras import (
        cluster_config,
        clustering_algorithm,
        clustering_centroids,
    )
    from tensorflow_model_optimization.python.core.quantization.keras import quantizers
    from tensorflow_model_optimization.python.core.sparsity.keras import (
        pruning_impl,
        pruning_schedule,
    )
