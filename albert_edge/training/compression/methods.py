"""Methods of compression during training, with their options and how each is trained.

The command line reads help and choices from here (`cli.options.options_from`): the first sentence
about an attribute is the help of its option.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import ClassVar, TypeAlias

from albert_edge.config import AlbertConfig
from albert_edge.errors import TrainingError
from albert_edge.training.options import FinetuneOptions, check_fields

__all__ = [
    "METHODS",
    "OPTIONS",
    "TRAINABLE",
    "Cluster",
    "Narrow",
    "Prune",
    "Qat",
    "default_options",
]

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
# What was removed takes longer to learn back, though most of it is replaced.  The embeddings lost
# nothing.
_NARROW_OPTIONS = replace(OPTIONS, epochs=4, learning_rate=2e-4, embeddings_rate=0.0)
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
    share: ClassVar[float] = 1.0  # of the source's predictions in the targets, by default
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
    share: ClassVar[float] = 1.0
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
    share: ClassVar[float] = 1.0
    quantize: str = field(default="int8-full", metadata={"choices": tuple(TRAINABLE)})

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrow:
    """Remove attention heads and FFN channels of the shared layers, and learn back.

    Attributes:
        heads: Attention heads to keep: a number, or a percentage such as 50%.
        ffn_channels: FFN channels to keep: a number, or a percentage such as 50%.
        outputs_weight: Weight of the predictions and labels in the loss; the hidden states have 1.
            Few examples a step, of long texts, need a small one.
    """

    name: ClassVar[str] = "narrow"
    share: ClassVar[float] = 0.5
    quantize: ClassVar[str] = "int8"
    heads: str | None = field(default=None, metadata={"metavar": "N", "unset": "all"})
    ffn_channels: str | None = field(default=None, metadata={"metavar": "M", "unset": "all"})
    outputs_weight: float = field(default=0.0, metadata={"min": 0.0, "below": 100.0})

    def __post_init__(self) -> None:
        check_fields(self)
        for name, text in (("heads", self.heads), ("ffn_channels", self.ffn_channels)):
            if text is not None and _SIZE.fullmatch(text) is None:
                raise TrainingError(
                    f"{name} must be a number such as 6, or a percentage such as 50%, not {text!r}."
                )

    def sizes(self, config: AlbertConfig) -> tuple[int, int]:
        """Return the numbers of heads and of FFN channels that a model keeps.

        Raises:
            TrainingError: They are none, more than it has, or all.
        """
        had = config.num_attention_heads, config.intermediate_size
        kept = (
            _count(self.heads, had[0], "heads"),
            _count(self.ffn_channels, had[1], "ffn_channels"),
        )
        if kept == had:
            raise TrainingError(
                f"the model has {had[0]} heads and {had[1]} FFN channels, and all of them are "
                "kept; give heads (--heads) or ffn_channels (--ffn-channels) fewer."
            )
        return kept


_SIZE = re.compile(r"\d{1,9}|\d{1,3}(?:\.\d{1,9})?%", re.ASCII)


def _count(text: str | None, most: int, name: str) -> int:
    """Return a number that is given as itself or as a percentage of `most`."""
    if text is None:
        return most
    share = float(text[:-1]) / 100 if text.endswith("%") else None
    count = int(text) if share is None else math.floor(share * most + 0.5)
    if not 1 <= count <= most:
        given = "" if share is None else f" of {text}"
        raise TrainingError(
            f"{name}{given} must be from 1 to the {most} that the model has, not {count}."
        )
    return count


Method: TypeAlias = Prune | Cluster | Qat | Narrow
METHODS: dict[str, type[Prune] | type[Cluster] | type[Qat] | type[Narrow]] = {
    kind.name: kind for kind in (Prune, Cluster, Qat, Narrow)
}


def default_options(method: Method | type[Method]) -> FinetuneOptions:
    """Return the training options of a method, before any are overridden."""
    return {Qat.name: _QAT_OPTIONS, Narrow.name: _NARROW_OPTIONS}.get(method.name, OPTIONS)
