"""Many penalised multinomial logistic regressions fitted side by side, as columns of the same matrix products.

Nesterov's accelerated gradient, started anew where it would go uphill (O'Donoghue & Candès, arXiv 1204.3982). The
step of each coordinate comes from Böhning's bound on the curvature of the multinomial log-likelihood (Böhning 1992),
which is nearly diagonal in principal components; a few power iterations measure how much it is not, so no line search
is needed.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kilat.probe.components import slices
from kilat.runtime.cores import parallel_map, threads

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_TOLERANCE = 3e-3
_MOST_STEPS = 300
_POWER_ITERATIONS = 8
_MARGIN = 1.1
_CELLS_AT_ONCE = 1 << 23


class Problem:
    """Pictures to fit regressions to.

    Args:
        points: their coordinates, ``[n, components + 1]``, the last one a constant.
        labels: class of each, ``[n]``.
        weights: how much each counts, ``[n]``.
        classes: how many there are.
    """

    def __init__(self, points: Floats, labels: Ints, weights: Floats, classes: int) -> None:
        self.points, self.labels, self.weights, self.classes = points, labels, weights, classes

    def part(self, rows: Ints) -> "Problem":
        """The same with some of the pictures."""
        return Problem(self.points[rows], self.labels[rows], self.weights[rows], self.classes)

    def solve(self, masks: Floats, l2_penalties: Sequence[float], start: Floats | None = None) -> list[Floats]:
        """Fits one regression for every row of ``masks`` (``[problems, n]``, 0 or 1) with its l2_penalty.

        Returns:
            For each, weights ``[components + 1, classes]``, the bias last.
        """
        cells = len(self.labels) * self.classes
        at_once = max(1, min(math.ceil(len(masks) / threads()), _CELLS_AT_ONCE // cells))

        def some(begin: int) -> list[Floats]:
            part = slice(begin, begin + at_once)
            return self._solve_together(masks[part], np.asarray(l2_penalties[part], np.float32), start)

        return [one for group in parallel_map(some, range(0, len(masks), at_once)) for one in group]

    def _solve_together(self, masks: Floats, l2_penalties: Floats, start: Floats | None) -> list[Floats]:
        count, width = len(masks), self.points.shape[1]
        share = masks * self.weights
        share /= np.maximum(share.sum(1, keepdims=True), 1e-12)
        penalty = np.outer(np.append(np.ones(width - 1, np.float32), 0), l2_penalties)
        step = self._steps(share, penalty.astype(np.float32))[:, None]
        penalty = penalty.astype(np.float32)[:, None]
        here = np.zeros((width, self.classes, count), np.float32)
        if start is not None:
            here += start[:, :, None]
        ahead, pace = here, np.ones(count)
        for _ in range(_MOST_STEPS):
            slope = self._gradient(ahead, share) + penalty * ahead
            change = step * slope
            there = ahead - change
            if np.sqrt((change * slope).sum((0, 1)).max()) < _TOLERANCE:
                here = there
                break
            moved = there - here
            uphill = (slope * moved).sum((0, 1)) > 0
            faster = (1 + np.sqrt(1 + 4 * pace**2)) / 2
            momentum = np.where(uphill, 0, (pace - 1) / faster).astype(np.float32)
            pace = np.where(uphill, 1, faster)
            ahead, here = there + momentum * moved, there
        return list(here.transpose(2, 0, 1))

    def _steps(self, share: Floats, penalty: Floats) -> Floats:
        """The longest safe step of every coordinate, ``[components + 1, problems]``."""
        squares = [np.square(self.points[some]).T @ share[:, some].T for some in slices(len(self.points))]
        diagonal = np.maximum(0.5 * np.sum(squares, axis=0) + penalty, 1e-8)
        root = np.sqrt(diagonal)
        vector = root / np.linalg.norm(root, axis=0)
        excess = np.ones(share.shape[0], np.float32)
        for _ in range(_POWER_ITERATIONS):
            turned = vector / root
            turned = (0.5 * (self.points.T @ ((self.points @ turned) * share.T)) + penalty * turned) / root
            excess = np.linalg.norm(turned, axis=0)
            vector = turned / np.maximum(excess, 1e-12)
        steps: Floats = 1 / (diagonal * np.maximum(_MARGIN * excess, 1))
        return steps

    def _gradient(self, weights: Floats, share: Floats) -> Floats:
        """Slope of every problem's loss, ``[components + 1, classes, problems]``; problems lie innermost for speed."""
        excess = (self.points @ weights.reshape(len(weights), -1)).reshape(-1, *weights.shape[1:])
        excess -= excess.max(1, keepdims=True)
        np.exp(excess, out=excess)
        excess /= excess.sum(1, keepdims=True)
        excess[np.arange(len(excess)), self.labels] -= 1
        excess *= share.T[:, None]
        slope: Floats = (self.points.T @ excess.reshape(len(excess), -1)).reshape(weights.shape)
        return slope
