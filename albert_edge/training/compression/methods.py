"""How a model can be compressed while it trains: the choices, and what each of them needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from albert_edge.errors import TrainingError

__all__ = [
    "CENTROIDS",
    "METHODS",
    "PATTERNS",
    "TRAINABLE",
    "Cluster",
    "Method",
    "Prune",
    "Qat",
]

PATTERNS: dict[str, str] = {
    "unstructured": "the smallest numbers of each matrix",
    "2:4": "the two smaller of every four inputs of an output",
    "block": "runs of four inputs of an output, by their mean",
}
CENTROIDS: dict[str, str] = {
    "linear": "evenly spaced; zips best",
    "density": "evenly many numbers to each",
    "kmeans++": "drawn far from each other",
}
TRAINABLE: dict[str, str] = {
    "int8-full": "8-bit weights, and 8-bit values into and out of every product",
    "int4": "4-bit weights",
}
_MOST_CLUSTERS = 255  # int8 as the converter uses it: -127 to 127


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """Make a share of the numbers in every shared matrix zero.

    Attributes:
        sparsity: The share.
        pattern: Which of them; one of `PATTERNS`.
    """

    name: ClassVar[str] = "prune"
    quantize: ClassVar[str] = "int8"  # the recipe whose file becomes better
    sparsity: float = 0.5
    pattern: str = "unstructured"

    def __post_init__(self) -> None:
        if not 0 < self.sparsity < 1:
            raise TrainingError(f"sparsity must be in (0, 1), not {self.sparsity}.")
        if self.pattern not in PATTERNS:
            raise TrainingError(
                f"unknown pattern {self.pattern!r}; choose from {', '.join(PATTERNS)}."
            )
        if self.pattern == "2:4" and self.sparsity != 0.5:
            raise TrainingError(f"the pattern 2:4 is a sparsity of 0.5, not {self.sparsity}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Let every shared matrix hold few distinct int8 codes.

    Attributes:
        clusters: How many at most.
        centroids: Where they begin; one of `CENTROIDS`.
    """

    name: ClassVar[str] = "cluster"
    quantize: ClassVar[str] = "int8"
    clusters: int = 32
    centroids: str = "linear"

    def __post_init__(self) -> None:
        if not 2 <= self.clusters <= _MOST_CLUSTERS:
            raise TrainingError(f"clusters must be in [2, {_MOST_CLUSTERS}], not {self.clusters}.")
        if self.centroids not in CENTROIDS:
            raise TrainingError(
                f"unknown centroids {self.centroids!r}; choose from {', '.join(CENTROIDS)}."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Qat:
    """Let a model learn with the rounding that a recipe will do to it.

    Attributes:
        quantize: The recipe; one of `TRAINABLE`.
    """

    name: ClassVar[str] = "qat"
    quantize: str = "int8-full"

    def __post_init__(self) -> None:
        if self.quantize not in TRAINABLE:
            raise TrainingError(
                f"there is nothing to train for {self.quantize!r}; choose from "
                f"{', '.join(TRAINABLE)}."
            )


Method: TypeAlias = Prune | Cluster | Qat
METHODS: dict[str, type[Prune] | type[Cluster] | type[Qat]] = {
    kind.name: kind for kind in (Prune, Cluster, Qat)
}
