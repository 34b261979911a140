"""How many parameters an ALBERT has, and how many it would have without sharing."""

from __future__ import annotations

import dataclasses
import math

from albert_edge.checkpoints.names import tensor_names
from albert_edge.config import AlbertConfig

__all__ = ["count_parameters", "count_unshared"]


def count_parameters(config: AlbertConfig, task: str = "feature-extraction") -> int:
    """Count the weights of an ALBERT of this shape with the head of `task`, each once.

    Example:
        >>> count_parameters(AlbertConfig())
        11683584
    """
    return sum(math.prod(tensor.shape) for tensor in tensor_names(config, task))


def count_unshared(config: AlbertConfig, task: str = "feature-extraction") -> int:
    """Count the weights of the same encoder without ALBERT's two savings, which is a BERT.

    Every pass has layers of its own, and the embeddings are as wide as the encoder, which then
    needs no projection.

    Example:
        >>> count_unshared(AlbertConfig())
        109081344
    """
    bert = dataclasses.replace(
        config, num_hidden_groups=config.num_hidden_layers, embedding_size=config.hidden_size
    )
    return sum(
        math.prod(tensor.shape)
        for tensor in tensor_names(bert, task)
        if not tensor.name.startswith("embeddings/projection/")
    )
