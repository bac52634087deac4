"""Draws from a generator on the CPU, so that they are the same on every device.

Where the bounds leave nothing to draw, nothing is drawn: what a recipe does not choose costs nothing.
"""

import numpy as np
import torch
from torch import Generator, Tensor


def uniform(n: int, low: float, high: float, generator: Generator) -> Tensor:
    """Return float32 ``[n]``, uniform from ``low`` to ``high``."""
    if low == high:
        return torch.full((n,), low)
    return torch.rand(n, generator=generator) * (high - low) + low


def symmetric(n: int, most: float, generator: Generator) -> Tensor:
    """Return float32 ``[n]``, uniform from ``-most`` to ``most``."""
    return uniform(n, -most, most, generator)


def integers(n: int, low: int, high: int, generator: Generator) -> Tensor:
    """Return int64 ``[n]``, each integer from ``low`` to ``high``, both included, equally likely."""
    if low == high:
        return torch.full((n,), low)
    return torch.randint(low, high + 1, (n,), generator=generator)


def signs(n: int, generator: Generator) -> Tensor:
    """Return float32 ``[n]``, -1 or 1, equally likely."""
    return (2 * integers(n, 0, 1, generator) - 1).float()


def beta(n: int, alpha: float, generator: Generator) -> Tensor:
    """Return float32 ``[n]`` from Beta(alpha, alpha)."""
    # torch draws it from its global generator only, so NumPy does, seeded from this generator.
    seed = int(integers(1, 0, 2**62, generator))
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, n).astype(np.float32))
