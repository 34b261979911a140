"""The weights of an ALBERT that has learned nothing yet."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from albert_edge.checkpoints.names import TensorName, tensor_names
from albert_edge.config import AlbertConfig

__all__ = ["draw_tensors", "initial_tensors"]


def initial_tensors(config: AlbertConfig, task: str, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw the weights that training starts from; see `draw_tensors`.

    Args:
        config: The shape.
        task: One of `config.TASKS`.
        seed: The same seed gives the same weights.

    Returns:
        float32 arrays by canonical name.
    """
    return draw_tensors(tensor_names(config, task), config, seed=seed)


def draw_tensors(
    names: Iterable[TensorName], config: AlbertConfig, *, seed: int = 0
) -> dict[str, np.ndarray]:
    """Draw the first values of some tensors.

    Kernels and tables come from a normal distribution of standard deviation `initializer_range`,
    cut at two deviations, as Google's ALBERT draws them; normalizations are the identity.

    Args:
        names: The tensors.
        config: The shape.
        seed: The same seed gives the same weights for the same tensors.

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


def _truncated_normal(
    random: np.random.Generator, shape: tuple[int, ...], deviation: float
) -> np.ndarray:
    values = random.standard_normal(shape, dtype=np.float32)
    while (outside := np.abs(values) > 2).any():
        values[outside] = random.standard_normal(int(outside.sum()), dtype=np.float32)
    values *= np.float32(deviation)
    return values
