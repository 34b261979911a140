"""Methods of compression during training, with their options and how each is trained.

The command line reads help and choices from here (`cli.options.options_from`): the first sentence
about an attribute is the help of its option.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, TypeAlias

from albert_edge.errors import TrainingError
from albert_edge.training.options import FinetuneOptions, check_fields

__all__ = ["METHODS", "OPTIONS", "TRAINABLE", "Cluster", "Prune", "Qat", "default_options"]

PATTERNS: dict[str, str] = {
    "unstructured": "the smallest weights of each matrix",
    "2:4": "the two smaller of every four inputs of an output",
    "block": "runs of four inputs of an output, by their mean",
}

CENTROIDS: dict[str, str] = {
    "linear": "evenly spaced; zips best",
    "density": "the same number of weights in each cluster",
    "kmeans++": "drawn far from each other",
}

TRAINABLE: dict[str, str] = {
    "int8-full": "8-bit weights, and 8-bit inputs and outputs of every matrix product",
    "int4": "4-bit weights",
}

# The model is trained already: regularization, which makes the task harder, is left out.
OPTIONS = FinetuneOptions(
    epochs=2,
    learning_rate=3e-4,
    label_smoothing=0.0,
    word_dropout=0.0,
    sampling=1.0,
    averaging=0.998,
)
# Rounding to 8 bits moves a model little; a higher learning rate would move it further away.
_QAT_OPTIONS = replace(OPTIONS, learning_rate=3e-5, weight_decay=0.0)
_MOST_CLUSTERS = 255  # int8 as the converter uses it: -127 to 127


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """Set a fraction of the weights in every shared matrix to zero.

    Attributes:
        sparsity: Fraction of the weights that are pruned.
        pattern: Pattern of the pruned weights: anywhere, two of every four (zips worse), or four
            in a row (zips better).
    """

    name: ClassVar[str] = "prune"
    quantize: ClassVar[str] = "int8"  # the recipe whose file becomes smaller
    sparsity: float = 0.5
    pattern: str = field(default="unstructured", metadata={"choices": tuple(PATTERNS)})

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 < self.sparsity < 1:
            raise TrainingError(f"sparsity must be in (0, 1), not {self.sparsity}.")
        if self.pattern == "2:4" and self.sparsity != 0.5:
            raise TrainingError(f"the pattern 2:4 is a sparsity of 0.5, not {self.sparsity}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Let the weights of every shared matrix share few distinct int8 codes.

    Attributes:
        clusters: Distinct values per clustered matrix, at most.
        centroids: Initial centroids of the clusters; linear ones zip best.
    """

    name: ClassVar[str] = "cluster"
    quantize: ClassVar[str] = "int8"
    clusters: int = 32
    centroids: str = field(default="linear", metadata={"choices": tuple(CENTROIDS)})

    def __post_init__(self) -> None:
        check_fields(self)
        if not 2 <= self.clusters <= _MOST_CLUSTERS:
            raise TrainingError(f"clusters must be in [2, {_MOST_CLUSTERS}], not {self.clusters}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Qat:
    """Train a model with the rounding that a recipe will apply to it.

    Attributes:
        quantize: Recipe to train for.
    """

    name: ClassVar[str] = "qat"
    quantize: str = field(default="int8-full", metadata={"choices": tuple(TRAINABLE)})

    def __post_init__(self) -> None:
        check_fields(self)


Method: TypeAlias = Prune | Cluster | Qat
METHODS: dict[str, type[Prune] | type[Cluster] | type[Qat]] = {
    kind.name: kind for kind in (Prune, Cluster, Qat)
}


def default_options(method: Method | type[Method]) -> FinetuneOptions:
    """Return the training options of a method, before any are overridden."""
    return _QAT_OPTIONS if method.name == Qat.name else OPTIONS
