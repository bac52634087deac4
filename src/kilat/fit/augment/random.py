"""Draws on a generator that is handed in: always on the CPU, so that every device gets the same ones.

Where the bounds leave nothing to draw, nothing is drawn: what a recipe does not choose costs nothing.
"""

import numpy as np
import torch
from torch import Generator, Tensor


def uniform(count: int, low: float, high: float, generator: Generator) -> Tensor:
    """Float32 ``[count]``, uniform from ``low`` to ``high``."""
    if low == high:
        return torch.full((count,), low)
    return torch.rand(count, generator=generator) * (high - low) + low


def either_way(count: int, most: float, generator: Generator) -> Tensor:
    """Float32 ``[count]``, uniform from ``-most`` to ``most``."""
    return uniform(count, -most, most, generator)


def whole(count: int, low: int, high: int, generator: Generator) -> Tensor:
    """Int64 ``[count]``, each whole number from ``low`` to ``high``, both included, equally likely."""
    if low == high:
        return torch.full((count,), low)
    return torch.randint(low, high + 1, (count,), generator=generator)


def signs(count: int, generator: Generator) -> Tensor:
    """Float32 ``[count]``, -1 or 1, equally likely."""
    return (2 * whole(count, 0, 1, generator) - 1).float()


def beta(count: int, alpha: float, generator: Generator) -> Tensor:
    """Float32 ``[count]`` from Beta(alpha, alpha)."""
    # torch samples it from its global generator only, so NumPy does, seeded by the one that was handed in.
    seed = int(whole(1, 0, 2**62, generator))
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, count).astype(np.float32))
