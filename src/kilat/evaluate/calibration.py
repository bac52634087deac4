"""Temperature scaling: one number that makes a classifier's probabilities mean what they say.

After Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks" (2017, arXiv 1706.04599).
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0
ROWS_PER_BLOCK = 2048
TOLERANCE = 1e-10  # of the temperature's logarithm


def fit_temperature(logits: NDArray[np.floating[Any]], truth: NDArray[np.integer[Any]]) -> float:
    """Fit the temperature under which logits have the lowest log loss.

    The log loss is convex in 1 / temperature, so its slope has one root, which Newton's method finds inside a
    shrinking bracket; the loss on these pictures is therefore never above that of temperature 1.

    Args:
        logits: of pictures that the head was not fitted on, finite, [n, k].
        truth: the true classes as column indices, [n].

    Returns:
        A temperature in 0.05..20: 20 when the logits are worse than guessing, and 1 when the loss does not depend on
        it, as with n = 0. When every prediction is right no temperature is too low for the loss, though n right ones
        prove no certainty: then their mean probability becomes (n + 1) / (n + 2), which is Laplace's rule of
        succession, but the temperature is 1 at most.
    """
    low, high = -math.log(HIGHEST_TEMPERATURE), -math.log(LOWEST_TEMPERATURE)
    rises_at_low = _slope_and_curvature(logits, truth, math.exp(low))[0] >= 0
    falls_at_high = _slope_and_curvature(logits, truth, math.exp(high))[0] <= 0
    if rises_at_low and falls_at_high:
        return 1.0
    if rises_at_low:
        return HIGHEST_TEMPERATURE
    if not falls_at_high:
        return math.exp(-_root(logits, truth, low, high))
    # Every prediction is correct: take the temperature, at most 1, that gives the confidence that n of them can show.
    target = (len(logits) + 1) / (len(logits) + 2)
    low, high = LOWEST_TEMPERATURE, 1.0
    for _ in range(40):
        middle = math.sqrt(low * high)
        confidence = float(apply_temperature(logits, middle).max(axis=1).mean(dtype=np.float64))
        low, high = (middle, high) if confidence > target else (low, middle)
    return high


def apply_temperature(logits: NDArray[np.floating[Any]], temperature: float) -> NDArray[np.float32]:
    """Return the softmax of ``logits / temperature``, [n, k], computed in double precision, rounded to float32.

    The order of the classes stays, except that probabilities closer than float32 can tell apart become equal.
    """
    probabilities = np.empty(logits.shape, np.float32)
    for block in _blocks(len(logits)):
        probabilities[block] = _softmax(_centred(logits[block]) / temperature)
    return probabilities


def _root(logits: NDArray[np.floating[Any]], truth: NDArray[np.integer[Any]], low: float, high: float) -> float:
    """Return the logarithm of 1 / temperature at which the slope is zero; negative at ``low``, positive at ``high``.

    A Newton step is taken where it stays in the bracket and is at most half the last step; the bracket is halved
    otherwise, so the search cannot crawl.
    """
    point, last_step = 0.0, high - low
    while True:
        slope, curvature = _slope_and_curvature(logits, truth, math.exp(point))
        low, high = (point, high) if slope < 0 else (low, point)
        step = -slope / (curvature * math.exp(point)) if curvature > 0 else math.inf
        if not (low <= point + step <= high and abs(step) <= abs(last_step) / 2):
            step = (low + high) / 2 - point
        point, last_step = point + step, step
        if abs(step) <= TOLERANCE:
            return point


def _slope_and_curvature(
    logits: NDArray[np.floating[Any]], truth: NDArray[np.integer[Any]], inverse: float
) -> tuple[float, float]:
    """Return first and second derivative of the summed log loss by 1 / temperature.

    They are the sums over the pictures of the mean logit less the true one, and of the logits' variance, both under
    the probabilities at that temperature.
    """
    slope = curvature = 0.0
    for block in _blocks(len(logits)):
        centred = _centred(logits[block])
        probabilities = _softmax(centred * inverse)
        centred -= np.einsum("nk,nk->n", probabilities, centred)[:, None]
        slope -= float(centred[np.arange(len(centred)), truth[block]].sum())
        curvature += float(np.einsum("nk,nk,nk->", probabilities, centred, centred))
    return slope, curvature


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, start + ROWS_PER_BLOCK) for start in range(0, n, ROWS_PER_BLOCK))


def _centred(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the logits less the largest of each row, so that no exponential overflows."""
    exact = logits.astype(np.float64)
    exact -= exact.max(axis=1, keepdims=True)
    return exact


def _softmax(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp(centred)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights
