"""Prediction sets: every class that is likely enough for the set to hold the right one as often as was asked."""

import math

import numpy as np
from numpy.typing import NDArray

COVERAGE = 0.9


def lac_set(
    probabilities: NDArray[np.float32], truth: NDArray[np.int64], coverage: float = COVERAGE
) -> dict[str, float]:
    """The probability from which on a class belongs into the set (LAC; Sadinle et al. 2019).

    Args:
        probabilities: of pictures that the head did not learn from, ``[n, classes]``.
        truth: their classes, ``[n]``.
        coverage: the share of sets that shall hold the right class.

    Returns:
        ``coverage`` and the ``probability`` that a class needs: 0, so all classes, where there are too few pictures to
        promise anything.
    """
    count = len(truth)
    rank = math.ceil((count + 1) * coverage)
    right = np.sort(probabilities[np.arange(count), truth])[::-1]
    return {"coverage": coverage, "probability": float(right[rank - 1]) if rank <= count else 0.0}
