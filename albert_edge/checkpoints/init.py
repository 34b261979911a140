"""Initialize the weights of an ALBERT at random, and count its parameters."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import numpy as np

from albert_edge.checkpoints.tensor_names import TensorName, tensor_names
from albert_edge.config import AlbertConfig

__all__ = ["count_parameters", "count_unshared"]


def init_model(config: AlbertConfig, task: str, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Initialize all weights at random; see `init_tensors`.

    Args:
        config: The configuration.
        task: One of `tasks.TASKS`.
        seed: The seed of the random generator.

    Returns:
        float32 arrays by canonical name.
    """
    return init_tensors(tensor_names(config, task), config, seed=seed)


def init_tensors(
    names: Iterable[TensorName], config: AlbertConfig, *, seed: int = 0
) -> dict[str, np.ndarray]:
    """Initialize tensors as Google's ALBERT does.

    Kernels and tables are drawn from a normal distribution with standard deviation
    `initializer_range`, truncated at two deviations.  Biases are 0, and layer norms the identity.

    Args:
        names: The tensors, in the order in which they are drawn.
        config: The configuration.
        seed: The seed of the random generator.

    Returns:
        float32 arrays by canonical name.
    """
    random = np.random.default_rng(seed)
    tensors = {}
    for tensor in names:
        kind = tensor.name.rsplit("/", 1)[-1]
        if kind in ("bias", "beta", "gamma"):
            tensors[tensor.name] = np.full(tensor.shape, kind == "gamma", np.float32)
        else:
            tensors[tensor.name] = _truncated_normal(random, tensor.shape, config.initializer_range)
    return tensors


def count_parameters(config: AlbertConfig, task: str = "feature-extraction") -> int:
    """Count the parameters of an ALBERT with the head of `task`, shared ones once.

    Example:
        >>> count_parameters(AlbertConfig())
        11683584
    """
    return sum(math.prod(tensor.shape) for tensor in tensor_names(config, task))


def count_unshared(config: AlbertConfig, task: str = "feature-extraction") -> int:
    """Count the parameters of the BERT with the same dimensions.

    It shares no layers between passes, and its embeddings are as wide as the encoder, so that they
    need no projection.

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


def _truncated_normal(
    random: np.random.Generator, shape: tuple[int, ...], deviation: float
) -> np.ndarray:
    values = random.standard_normal(shape, dtype=np.float32)
    while (outside := np.abs(values) > 2).any():
        values[outside] = random.standard_normal(int(outside.sum()), dtype=np.float32)
    values *= np.float32(deviation)
    return values
