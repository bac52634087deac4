"""The learning-rate range test (Smith, arXiv 1506.01186): the loss while the rate rises from step to step."""

import contextlib
from dataclasses import dataclass

import numpy as np

from kilat.fit.loop import Trainer
from kilat.runtime.progress import Advance

STEPS = 100
_LOWEST, _HIGHEST = 1e-6, 10.0
_SMOOTHING = 0.9
_DIVERGED = 4.0
_FEW = 3


@dataclass(frozen=True)
class RangeTest:
    """The result of a range test.

    Args:
        rates: that were tried, rising.
        losses: at each, smoothed.
        suggestion: the rate at which the loss falls fastest.
    """

    rates: list[float]
    losses: list[float]
    suggestion: float


def find_learning_rate(trainer: Trainer, steps: int, advance: Advance) -> RangeTest:
    """Try rates from 1e-6 to 10, each for one step, until the loss is four times its lowest.

    Args:
        trainer: a fresh one; its network is changed.
        steps: how many rates.
        advance: called with how many are done.
    """
    rates = np.geomspace(_LOWEST, _HIGHEST, steps).tolist()
    smooth: list[float] = []
    mean = 0.0
    with contextlib.closing(trainer.losses_at(rates)) as losses:
        for number, loss in enumerate(losses, 1):
            mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
            smooth.append(mean / (1 - _SMOOTHING**number))
            advance(number, steps)
            if smooth[-1] > _DIVERGED * min(smooth) and number > _FEW:
                break
    return RangeTest(rates[: len(smooth)], smooth, suggest(rates[: len(smooth)], smooth))


def suggest(rates: list[float], losses: list[float]) -> float:
    """Return the rate at which the loss falls fastest over the logarithm of the rate, before it is lowest.

    The first tenth does not count, as in fastai: there the mean is of a few batches, and shows how they differ.
    """
    lowest = int(np.argmin(losses))
    if lowest < _FEW:
        return rates[0]
    begin = min(len(rates) // 10, lowest)
    slope = np.gradient(np.asarray(losses), np.log(rates))
    return rates[begin + int(np.argmin(slope[begin : lowest + 1]))]
