"""Draws from a generator on the CPU, so that they are the same on every device.

Where the bounds leave nothing to draw, nothing is drawn: what a recipe does not choose costs nothing.

Whoever repeats the same work on a GPU, as one recorded graph, draws beforehand: ``RecordedDraws`` finds out what is
drawn, and with ``GivenDraws`` in its place the same work takes numbers that are on the GPU already.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

Draw = Callable[[Generator], Tensor]


class RecordedDraws:
    """Draws from a generator; ``made`` are the draws in their order, which can be made again from another one.

    Args:
        generator: on the CPU.
        device: where what is drawn goes.
    """

    def __init__(self, generator: Generator, device: torch.device) -> None:
        self.generator, self.device = generator, device
        self.made: list[Draw] = []

    def take(self, draw: Draw) -> Tensor:
        """Make a draw."""
        self.made.append(draw)
        return draw(self.generator).to(self.device)


class GivenDraws:
    """Draws that were made before.

    Args:
        drawn: what they gave, in their order.
        device: where that is now.
    """

    def __init__(self, drawn: Iterable[Tensor], device: torch.device) -> None:
        self.drawn, self.device = iter(drawn), device

    def take(self, _draw: Draw) -> Tensor:
        """Return what the next draw gave."""
        return next(self.drawn)


Draws = Generator | RecordedDraws | GivenDraws


def uniform(n: int, low: float, high: float, draws: Draws) -> Tensor:
    """Return float32 ``[n]``, uniform from ``low`` to ``high``."""
    if low == high:
        return torch.full((n,), low, device=draws.device)
    return _take(draws, lambda generator: torch.rand(n, generator=generator)) * (high - low) + low


def symmetric(n: int, most: float, draws: Draws) -> Tensor:
    """Return float32 ``[n]``, uniform from ``-most`` to ``most``."""
    return uniform(n, -most, most, draws)


def integers(n: int, low: int, high: int, draws: Draws) -> Tensor:
    """Return int64 ``[n]``, each integer from ``low`` to ``high``, both included, equally likely."""
    if low == high:
        return torch.full((n,), low, device=draws.device)
    return _take(draws, lambda generator: torch.randint(low, high + 1, (n,), generator=generator))


def signs(n: int, draws: Draws) -> Tensor:
    """Return float32 ``[n]``, -1 or 1, equally likely."""
    return (2 * integers(n, 0, 1, draws) - 1).float()


def permutation(n: int, draws: Draws) -> Tensor:
    """Return the numbers below ``n`` in any order, int64 ``[n]``."""
    return _take(draws, lambda generator: torch.randperm(n, generator=generator))


def beta(n: int, alpha: float, draws: Draws) -> Tensor:
    """Return float32 ``[n]`` from Beta(alpha, alpha)."""

    def draw(generator: Generator) -> Tensor:
        # torch draws it from its global generator only, so NumPy does, seeded from this generator.
        seed = int(integers(1, 0, 2**62, generator))
        return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, n).astype(np.float32))

    return _take(draws, draw)


def alternating(rows: NDArray[np.int64], *, seed: int, epoch: int) -> Tensor:
    """Return which pictures are mirrored in an epoch, bool ``[n]``: about half of them, and in the next the others.

    Which half a picture belongs to follows from its row and the seed alone, wherever it is in a batch.
    """
    key = np.uint64(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])
    # SplitMix64 (Steele et al., OOPSLA 2014): its outputs for successive states are independent bits.
    mixed = key + (rows.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    half = (mixed ^ (mixed >> np.uint64(31))) & np.uint64(1)
    return torch.from_numpy(half == np.uint64(epoch % 2))


def _take(draws: Draws, draw: Draw) -> Tensor:
    return draw(draws) if isinstance(draws, Generator) else draws.take(draw)
