"""The results of updates, read some time after they were made: reading them means to wait for a GPU."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

_INTERVAL = 0.1
"""Seconds between two readings while a GPU computes: it stands still meanwhile."""


class NotFiniteError(Exception):
    """A loss is infinite or not a number."""


class Result(NamedTuple):
    """What an update gave.

    Args:
        loss: the mean before it, with the penalty.
        correct: how many pictures were classified correctly.
        pictures: how many there were.
    """

    loss: float
    correct: int
    pictures: int

    @property
    def is_finite(self) -> bool:
        """Whether the loss is a number that training can go on with."""
        return math.isfinite(self.loss)


class PendingResults:
    """Results that were not read yet.

    Args:
        device: of the network; only a GPU of NVIDIA's gains by waiting seldom.
        now: the clock.
        is_alone: whether no other process trains with this one; otherwise they exchange every result.
    """

    def __init__(self, device: str, now: Callable[[], float], *, is_alone: bool = True) -> None:
        self.interval = _INTERVAL if device == "cuda" and is_alone else 0.0
        self._now, self._began = now, 0.0
        self._waiting: list[tuple[Tensor, int]] = []

    def begin(self) -> None:
        """Begin to count time, unless results are waiting: then it is counted already."""
        if not self._waiting:
            self._began = self._now()

    def add(self, values: Tensor, pictures: int) -> None:
        """Add what an update gave: loss, penalty and the number of correct pictures, float ``[3]``."""
        self._waiting.append((values, pictures))

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def are_due(self) -> bool:
        """Whether it is time to read them."""
        return not self.interval or self._now() - self._began >= self.interval

    def read(self) -> tuple[list[Result], float]:
        """Wait for all results; return them in their order, and the seconds since time was counted."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return [], 0.0
        rows = torch.stack([values for values, _pictures in waiting]).tolist()
        seconds = self._now() - self._began
        return [
            Result(loss + penalty, int(correct), pictures)
            for (loss, penalty, correct), (_values, pictures) in zip(rows, waiting, strict=True)
        ], seconds
