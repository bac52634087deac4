"""Many penalised multinomial logistic regressions fitted side by side, as columns of the same matrix products.

Nesterov's accelerated gradient, restarted where it would go uphill (O'Donoghue & Candès, arXiv 1204.3982). The step
of each component comes from Böhning's bound on the curvature of the multinomial log-likelihood (Böhning 1992),
which is nearly diagonal in principal components; a few power iterations measure how much it is not, so no line search
is needed.
"""

import math
from collections.abc import Sequence

import numpy as np

from kilat.probe.components import slices
from kilat.runtime.array_types import Floats, Ints
from kilat.runtime.cores import available_cores, parallel_map

_TOLERANCE = 3e-3
_MOST_STEPS = 300
_POWER_ITERATIONS = 8
_MARGIN = 1.1
_CELLS_AT_ONCE = 1 << 23


class Problem:
    """Pictures that regressions are fitted to.

    Args:
        scores: theirs on the principal components, ``[n, components + 1]``, the last column a constant.
        labels: class of each, ``[n]``.
        weights: how much each counts, ``[n]``.
        classes: number of classes.
    """

    def __init__(self, scores: Floats, labels: Ints, weights: Floats, classes: int) -> None:
        self.scores, self.labels, self.weights, self.classes = scores, labels, weights, classes

    def subset(self, rows: Ints) -> "Problem":
        """Return the same problem with a copy of some of the pictures."""
        return Problem(self.scores[rows], self.labels[rows], self.weights[rows], self.classes)

    def solve(self, masks: Floats, l2_penalties: Sequence[float], start: Floats | None = None) -> list[Floats]:
        """Fit one regression for every row of ``masks`` (``[problems, n]``, 0 or 1) with its L2 penalty.

        Args:
            masks: which pictures each is fitted to.
            l2_penalties: one for each.
            start: coefficients that all begin with, ``[components + 1, classes]``; zeros by default.

        Returns:
            For each its coefficients ``[components + 1, classes]``, the bias last.
        """
        cells = len(self.labels) * self.classes
        at_once = max(1, min(math.ceil(len(masks) / available_cores()), _CELLS_AT_ONCE // cells))

        def solve_group(first: int) -> list[Floats]:
            group = slice(first, first + at_once)
            return self._solve_together(masks[group], np.asarray(l2_penalties[group], np.float32), start)

        return [one for group in parallel_map(solve_group, range(0, len(masks), at_once)) for one in group]

    def _solve_together(self, masks: Floats, l2_penalties: Floats, start: Floats | None) -> list[Floats]:
        count, width = len(masks), self.scores.shape[1]
        shares = masks * self.weights
        shares /= np.maximum(shares.sum(1, keepdims=True), 1e-12)
        penalty = np.outer(np.append(np.ones(width - 1, np.float32), 0), l2_penalties)
        steps = self._steps(shares, penalty.astype(np.float32))[:, None]
        penalty = penalty.astype(np.float32)[:, None]
        current = np.zeros((width, self.classes, count), np.float32)
        if start is not None:
            current += start[:, :, None]
        lookahead, momentum = current, np.ones(count)
        for _ in range(_MOST_STEPS):
            gradient = self._gradient(lookahead, shares) + penalty * lookahead
            change = steps * gradient
            following = lookahead - change
            if np.sqrt((change * gradient).sum((0, 1)).max()) < _TOLERANCE:
                current = following
                break
            moved = following - current
            goes_uphill = (gradient * moved).sum((0, 1)) > 0
            grown = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            extrapolation = np.where(goes_uphill, 0, (momentum - 1) / grown).astype(np.float32)
            momentum = np.where(goes_uphill, 1, grown)
            lookahead, current = following + extrapolation * moved, following
        return list(current.transpose(2, 0, 1))

    def _steps(self, shares: Floats, penalty: Floats) -> Floats:
        """Return the longest safe step of every component, ``[components + 1, problems]``."""
        squares = [np.square(self.scores[some]).T @ shares[:, some].T for some in slices(len(self.scores))]
        diagonal = np.maximum(0.5 * np.sum(squares, axis=0) + penalty, 1e-8)
        root = np.sqrt(diagonal)
        vector = root / np.linalg.norm(root, axis=0)
        excess = np.ones(shares.shape[0], np.float32)
        for _ in range(_POWER_ITERATIONS):
            product = vector / root
            product = (0.5 * (self.scores.T @ ((self.scores @ product) * shares.T)) + penalty * product) / root
            excess = np.linalg.norm(product, axis=0)
            vector = product / np.maximum(excess, 1e-12)
        steps: Floats = 1 / (diagonal * np.maximum(_MARGIN * excess, 1))
        return steps

    def _gradient(self, coefficients: Floats, shares: Floats) -> Floats:
        """Return the gradient of every problem's loss, ``[components + 1, classes, problems]``.

        Problems lie innermost, for speed.
        """
        excess = (self.scores @ coefficients.reshape(len(coefficients), -1)).reshape(-1, *coefficients.shape[1:])
        excess -= excess.max(1, keepdims=True)
        np.exp(excess, out=excess)
        excess /= excess.sum(1, keepdims=True)
        excess[np.arange(len(excess)), self.labels] -= 1
        excess *= shares.T[:, None]
        gradient: Floats = (self.scores.T @ excess.reshape(len(excess), -1)).reshape(coefficients.shape)
        return gradient
