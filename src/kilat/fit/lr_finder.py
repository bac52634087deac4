"""The learning-rate range test (Smith, arXiv 1506.01186): the loss while the rate rises from step to step.

Every loss is of another batch, so a single fall means nothing. The curve is smoothed by local regression, whose
standard errors say which falls are more than noise; where none is, nothing is suggested.
"""

import contextlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kilat.fit.loop import Trainer
from kilat.runtime.progress import Advance

STEPS = 100
Reason = Literal["", "no_fall", "still_falling"]
"""Why no rate is suggested: the loss falls by no more than its noise, or falls up to the highest rate."""

Floats = NDArray[np.float64]

_LOWEST, _HIGHEST = 1e-6, 10.0
_RECENT = 5
_DIVERGED = 4.0

_HALF_WIDTHS = 0.7, 1.0, 1.4
"""Of the window of local regression, in powers of ten: the first in which a fall is certain."""
_LEAST_STEPS = 5
"""To either side in the window, where steps are few."""
_STANDARD_ERRORS = 4.0
_LEAST_FALL = 0.02
"""Of the loss at the beginning: falls by less are of no use, however certain they are."""
_EDGE = 0.1
"""Share of the fall at either end in which the curve is not yet, or no longer, falling."""
_TINY = 1e-300
_NORMAL_MEDIAN = 0.6745
"""The median of absolute values of the standard normal distribution."""


@dataclass(frozen=True)
class RangeTest:
    """The result of a range test.

    Args:
        rates: that were tried, rising.
        losses: at each, of one batch.
        smoothed: the losses without their noise.
        suggestion: the rate at which the loss falls fastest; None where that is unclear.
        reason: why it is unclear; empty where it is not.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float | None
    reason: Reason


def find_learning_rate(trainer: Trainer, steps: int, advance: Advance) -> RangeTest:
    """Try rates from 1e-6 to 10, each for one step, until the loss has risen to four times its lowest.

    Args:
        trainer: a fresh one; its network is changed.
        steps: how many rates.
        advance: called with how many are done.
    """
    rates = np.geomspace(_LOWEST, _HIGHEST, steps).tolist()
    found: list[float] = []
    recent: list[float] = []  # medians, which no single batch moves
    with contextlib.closing(trainer.losses_at(rates)) as losses:
        for number, loss in enumerate(losses, 1):
            found.append(loss)
            recent.append(float(np.median(found[-_RECENT:])))
            advance(number, steps)
            if number >= _RECENT and recent[-1] > _DIVERGED * min(recent):
                break
    return analyse(rates[: len(found)], found, diverged=len(found) < steps)


def analyse(rates: list[float], losses: list[float], *, diverged: bool) -> RangeTest:
    """Find the rate at which the loss falls fastest over the logarithm of the rate, before it is lowest.

    Args:
        rates: rising.
        losses: at each.
        diverged: whether the loss rose, or was no longer finite, before the highest rate.
    """
    x, y = np.log10(rates), np.asarray(losses, np.float64)
    if len(x) <= 2 * _LEAST_STEPS:
        return RangeTest(rates, losses, losses, None, "no_fall")
    curves = [_local_regression(x, _without_explosion(y), half_width, _noise(y)) for half_width in _HALF_WIDTHS]
    judged = [(curve, *_judge(curve, diverged=diverged)) for curve in curves]
    curve, steepest, reason = next((each for each in judged if each[2] != "no_fall"), judged[-1])
    return RangeTest(rates, losses, curve.values.tolist(), None if reason else rates[steepest], reason)


@dataclass(frozen=True)
class _Curve:
    """A smooth curve: at each rate its value and its slope, and the standard errors of both."""

    values: Floats
    slopes: Floats
    value_errors: Floats
    slope_errors: Floats

    @property
    def certain_slopes(self) -> Floats:
        """Slopes as far down as they certainly are; towards the ends, where lines have fewer points, less is."""
        return self.slopes + _STANDARD_ERRORS * self.slope_errors


def _judge(curve: _Curve, *, diverged: bool) -> tuple[int, Reason]:
    """Return where the curve falls fastest, and why that is unclear; nothing if it is not."""
    values, errors = curve.values, _STANDARD_ERRORS * curve.value_errors
    begin = len(values) // 10  # before, rates are too low for a fall, and the line is of few batches
    lowest = begin + int(np.argmin((values + errors)[begin:]))
    highest = begin + int(np.argmax((values - errors)[begin : lowest + 1]))
    steepest = _steepest(curve, highest, lowest)
    least = max(np.hypot(errors[highest], errors[lowest]), _LEAST_FALL * abs(values[highest]))
    if values[highest] - values[lowest] <= least or curve.certain_slopes[steepest] >= 0:
        return steepest, "no_fall"
    if not diverged and curve.certain_slopes[-1] < 0:
        return steepest, "still_falling"
    return steepest, ""


def _steepest(curve: _Curve, highest: int, lowest: int) -> int:
    """Return where the curve certainly falls fastest, but for the first and the last tenth of its fall.

    A dip that it recovers from is none of that fall.
    """
    fall = max(curve.values[highest] - curve.values[lowest], _TINY)
    fallen = (curve.values[highest] - curve.values[highest : lowest + 1]) / fall
    begun = 1 + int(np.flatnonzero(fallen < _EDGE)[-1])
    inside = np.flatnonzero(fallen <= 1 - _EDGE)
    candidates = inside[inside >= begun] if (inside >= begun).any() else np.array([begun - 1])
    return highest + int(candidates[np.argmin(curve.certain_slopes[highest + candidates])])


def _noise(y: Floats) -> float:
    """Return the standard deviation of losses around their curve, from how neighbours differ; robust against jumps.

    High losses differ more than low ones, so it is that of the first half where it is larger there.
    """
    differences = np.abs(np.diff(y))
    larger = max(np.median(differences), np.median(differences[: len(differences) // 2]))
    return float(larger) / (_NORMAL_MEDIAN * 2**0.5)


def _without_explosion(y: Floats) -> Floats:
    """Return losses that rise no higher above their beginning than they fall below it, or else by noise."""
    beginning = float(np.median(y[: len(y) // 4 + 1]))
    lowest = min(float(np.median(y[start : start + _RECENT])) for start in range(len(y) - _RECENT + 1))
    return np.minimum(y, beginning + max(beginning - lowest, _STANDARD_ERRORS * _noise(y)))


def _local_regression(x: Floats, y: Floats, half_width: float, noise: float) -> _Curve:
    """Return what straight lines through the neighbours of each point say of it (Cleveland, 1979; tricube weights)."""
    half_width = max(half_width, _LEAST_STEPS * (x[-1] - x[0]) / (len(x) - 1))
    rows = []
    for centre in x:
        distance = x - centre
        weights = np.clip(1 - np.abs(distance / half_width) ** 3, 0, None) ** 3
        design = np.stack([np.ones_like(distance), distance])
        # Value and slope are linear in the losses, so that the lengths of these rows give their standard errors.
        value, slope = np.linalg.solve((design * weights) @ design.T, design * weights)
        rows.append((value @ y, slope @ y, np.linalg.norm(value), np.linalg.norm(slope)))
    values, slopes, value_errors, slope_errors = np.array(rows).T
    return _Curve(values, slopes, noise * value_errors, noise * slope_errors)
