"""Classifiers compared on the same pictures: differences with their intervals, and whether chance explains them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kilat.evaluate.metrics import SMALLEST_PROBABILITY, Z95
from kilat.runtime.array_types import Doubles, Flags

RESAMPLES = 2_000
"""Of the pictures, for an interval by bootstrap."""


class Difference(NamedTuple):
    """How much more one classifier has than another, with its 95% interval."""

    value: float
    interval: tuple[float, float]


class PairedTest(NamedTuple):
    """Two classifiers on the same pictures; differences are the second one's value minus the first one's.

    Args:
        n: how many pictures.
        only_first: pictures that only the first answers correctly.
        only_second: pictures that only the second does.
        accuracy: difference of the shares that are answered correctly.
        log_loss: difference of the mean log losses.
        p_value: of McNemar's exact test: how often chance alone gives so uneven numbers, or more uneven ones.
    """

    n: int
    only_first: int
    only_second: int
    accuracy: Difference
    log_loss: Difference
    p_value: float


def compare_answers(correct: tuple[Flags, Flags], probabilities: tuple[Doubles, Doubles]) -> PairedTest:
    """Compare two classifiers picture by picture.

    Args:
        correct: which pictures each answers correctly, ``[n]``.
        probabilities: what each gives the true class, ``[n]``.
    """
    first, second = correct
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    losses = [-np.log(np.maximum(one, SMALLEST_PROBABILITY)) for one in probabilities]
    return PairedTest(
        len(first),
        only_first,
        only_second,
        accuracy_difference(only_first, only_second, len(first)),
        mean_difference(losses[1] - losses[0]),
        mcnemar(only_first, only_second),
    )


def accuracy_difference(only_first: int, only_second: int, n: int) -> Difference:
    """Return the difference of two accuracies on the same ``n`` pictures.

    The interval is Wald's with one more picture of either kind (Bonett and Price 2012): a bootstrap of pictures on
    which both always agree would say that no difference is possible.

    Args:
        only_first: pictures that only the first answers correctly.
        only_second: pictures that only the second does.
        n: all pictures.
    """
    first, second = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    middle, error = second - first, Z95 * math.sqrt((first + second - (second - first) ** 2) / (n + 2))
    return Difference((only_second - only_first) / max(n, 1), (max(-1.0, middle - error), min(1.0, middle + error)))


def mean_difference(differences: Doubles) -> Difference:
    """Return the mean of the pictures' own differences ``[n]``, its interval by bootstrap (percentiles, Efron 1979)."""
    n, generator = len(differences), np.random.default_rng(0)
    means = [differences[generator.integers(0, n, n)].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return Difference(float(differences.mean()), (float(low), float(high)))


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the p-value of McNemar's exact test, two-sided: a fair coin for every picture on which the two differ."""
    from scipy.stats import binomtest

    differing = only_first + only_second
    return float(binomtest(only_first, differing).pvalue) if differing else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values of several tests, adjusted so that one in twenty families of them has a false one (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    raised = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(raised), 1)
    return [float(value) for value in adjusted]
