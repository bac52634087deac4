"""Penalised multinomial logistic regressions in principal components, by L-BFGS that begins with a good curvature.

L-BFGS (Liu & Nocedal 1989), which here begins with the diagonal of the Hessian, as if what a class is answered did not
depend on the picture: the variance of a component times the mean ``p (1 - p)`` of a class, plus the penalty. In
principal components that is so near the truth that 5 to 25 evaluations suffice. A bound on the curvature that holds
everywhere (Böhning 1992) is 100 times too large where there are 200 classes, and needs hundreds.

Pictures are summed up in blocks of a fixed size: the result does not depend on how many cores share them, and of many
pictures and classes only some blocks of probabilities are in memory at once.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from kilat.probe.components import slices
from kilat.probe.discriminant import discriminant
from kilat.runtime.array_types import Floats, Ints
from kilat.runtime.cores import parallel_map

_TOLERANCE = 3e-6
_RELATIVE_TOLERANCE = 1e-4
"""It ends where a step could lower the loss by no more than half of this, in nats and as a share of the loss."""
_MOST_STEPS = 150
_MEMORY = 8
_FURTHEST = 10.0
"""A step changes the logits of a class by no more than this (root mean square)."""
_MOST_HALVINGS = 10
_SUFFICIENT = 1e-4
"""Share of the decrease that the gradient promises, below which a step is halved (Armijo)."""
_LEAST_CURVATURE = 0.02
"""Of a class, as a share of what it is where the shares of the classes answer: a class that a step made unlikely for
all pictures has hardly any, and the next step would go beyond all bounds."""

MANY_CLASSES = 32
"""From here on the products take so much longer than copying rows that it pays to leave out rows that do not count."""
_LARGE = 1 << 22
"""Numbers (pictures times classes) from which cores share the blocks of one regression, not the regressions."""

_LEAST_STEPS = 3
"""So many are made where time is over: they already give useful coefficients."""

Towards = Literal["zero", "discriminant"]

Stop = Callable[[], bool]
"""Whether time is over."""


def never() -> bool:
    """Return that time is not over: there is as much as it takes."""
    return False


class Evaluation(NamedTuple):
    """The penalised loss of some coefficients.

    Args:
        loss: the mean over pictures by their weight, and the penalty.
        gradient: ``[components + 1, classes]``.
        curvature: the mean ``p (1 - p)`` of every class, ``[classes]``.
    """

    loss: float
    gradient: Floats
    curvature: Floats


class Problem:
    """Pictures that regressions are fitted to.

    Args:
        scores: theirs on the principal components, ``[n, components + 1]``, the last column a constant.
        labels: class of each, ``[n]``.
        weights: how much each counts, ``[n]``.
        classes: number of classes.
        towards: what the penalty draws coefficients to: ``zero`` or, of the same pictures, the ``discriminant``.
    """

    def __init__(self, scores: Floats, labels: Ints, weights: Floats, classes: int, towards: Towards = "zero") -> None:
        self.scores, self.labels, self.weights, self.classes = scores, labels, weights, classes
        self.towards: Towards = towards

    def subset(self, rows: Ints) -> "Problem":
        """Return the same problem with a copy of some of the pictures."""
        return Problem(self.scores[rows], self.labels[rows], self.weights[rows], self.classes, self.towards)

    def drawn_to(self, towards: Towards) -> "Problem":
        """Return the same problem, the pictures not copied, with a penalty that draws elsewhere."""
        return Problem(self.scores, self.labels, self.weights, self.classes, towards)

    @property
    def is_large(self) -> bool:
        """Whether every core takes blocks of the pictures, not regressions."""
        return len(self.labels) * self.classes >= _LARGE

    def solve(
        self, masks: Floats, l2_penalty: float, starts: Sequence[Floats] = (), stop: Stop = never
    ) -> list[Floats | None]:
        """Fit one regression for every row of ``masks`` (``[problems, n]``, 0 or 1).

        Args:
            masks: which pictures each is fitted to.
            l2_penalty: of all.
            starts: coefficients that each begins with, ``[components + 1, classes]``; by default what it is drawn to.
                What they were fitted to has a part in the answers, however small: no picture that is to be held out.
            stop: asked before every regression but the first, and after every step.

        Returns:
            For each its coefficients ``[components + 1, classes]``, the bias last; None where no time was left for it.
        """

        def solve_one(number: int) -> Floats | None:
            if number and stop():
                return None
            return self.solve_one(masks[number], l2_penalty, starts[number] if starts else None, stop)

        numbers = range(len(masks))
        return [solve_one(number) for number in numbers] if self.is_large else parallel_map(solve_one, numbers)

    def solve_one(self, mask: Floats, l2_penalty: float, start: Floats | None = None, stop: Stop = never) -> Floats:
        """Fit one regression (``solve``)."""
        return _Regression(self, mask * self.weights, l2_penalty).minimise(start, stop)


class _Regression:
    """One regression.

    Args:
        problem: its pictures.
        weights: how much each counts, ``[n]``; 0 for those that it is not fitted to.
        l2_penalty: on every coefficient but the bias.
    """

    def __init__(self, problem: Problem, weights: Floats, l2_penalty: float) -> None:
        self.scores, self.labels = problem.scores, problem.labels
        self.shares = weights / np.float32(max(weights.sum(dtype=np.float64), 1e-12))
        self.penalty = np.full((problem.scores.shape[1], 1), l2_penalty, np.float32)
        self.penalty[-1] = 0
        self.is_parallel = problem.is_large
        self.blocks = list(self._blocks(problem.classes))
        variances = [np.square(scores).T @ self.shares[rows] for rows, scores in self._read(self.blocks)]
        self.variances: Floats = np.sum(variances, axis=0)[:, None]
        class_shares = np.bincount(self.labels, self.shares, minlength=problem.classes).astype(np.float32)
        self.least_curvature: Floats = _LEAST_CURVATURE * class_shares * (1 - class_shares) + np.float32(1e-9)
        self.centre = np.zeros((problem.scores.shape[1], problem.classes), np.float32)
        if problem.towards == "discriminant":
            self.centre = self._discriminant(problem.classes)

    def minimise(self, start: Floats | None, stop: Stop) -> Floats:
        """Return the coefficients of the least loss, or those that were reached when time was over."""
        coefficients = self.centre if start is None else start
        memory: deque[tuple[Floats, Floats, float]] = deque(maxlen=_MEMORY)
        now = self._evaluate(coefficients)
        for step in range(_MOST_STEPS):
            direction = self._newton_direction(now, memory)
            decrement = _dot(direction, now.gradient)
            if not decrement > max(_TOLERANCE, _RELATIVE_TOLERANCE * now.loss) or (step >= _LEAST_STEPS and stop()):
                break
            furthest = math.sqrt(float((self.variances * np.square(direction)).sum(0).max()))
            for halvings in range(_MOST_HALVINGS):
                length = min(1.0, _FURTHEST / furthest) * 0.5**halvings
                following = coefficients - np.float32(length) * direction
                then = self._evaluate(following)
                if then.loss <= now.loss - _SUFFICIENT * length * decrement:
                    break
            else:
                if not memory:
                    break  # what is left is rounding
                memory.clear()
                continue
            moved, changed = following - coefficients, then.gradient - now.gradient
            if (product := _dot(moved, changed)) > 0:
                memory.append((moved, changed, product))
            coefficients, now = following, then
        return coefficients

    def _newton_direction(self, at: Evaluation, memory: deque[tuple[Floats, Floats, float]]) -> Floats:
        """Return the inverse Hessian times the gradient, by what the last steps showed of it (two loops)."""
        diagonal = self.variances * np.maximum(at.curvature, self.least_curvature) + self.penalty
        inverse: Floats = np.reciprocal(diagonal + np.float32(1e-12))
        direction = at.gradient.copy()
        factors = []
        for moved, changed, product in reversed(memory):
            factors.append(_dot(moved, direction) / product)
            direction -= np.float32(factors[-1]) * changed
        direction *= inverse
        if memory:
            _, changed, product = memory[-1]
            direction *= np.float32(product / _dot(changed, changed * inverse))
        for (moved, changed, product), factor in zip(memory, reversed(factors), strict=True):
            direction += np.float32(factor - _dot(changed, direction) / product) * moved
        return direction

    def _evaluate(self, coefficients: Floats) -> Evaluation:
        def part(block: slice | Ints) -> tuple[float, Floats, Floats]:
            ((rows, scores),) = self._read([block])
            labels, shares = self.labels[rows], self.shares[rows]
            logits = scores @ coefficients
            logits -= logits.max(1, keepdims=True)
            own = np.arange(len(labels)), labels
            loss = -logits[own]
            np.exp(logits, out=logits)
            totals = logits.sum(1)
            logits /= totals[:, None]
            loss += np.log(totals)
            curvature = shares @ logits - shares @ np.square(logits)
            logits[own] -= 1
            logits *= shares[:, None]
            return float(np.dot(loss, shares)), scores.T @ logits, curvature

        parts = parallel_map(part, self.blocks) if self.is_parallel else map(part, self.blocks)
        away = coefficients - self.centre
        gradient, curvature = self.penalty * away, np.zeros(coefficients.shape[1], np.float32)
        loss = _dot(gradient, away) / 2
        for part_loss, part_gradient, part_curvature in parts:
            loss += part_loss
            gradient += part_gradient
            curvature += part_curvature
        return Evaluation(loss, gradient, curvature)

    def _discriminant(self, classes: int) -> Floats:
        sums = np.zeros_like(self.centre)
        for rows, scores in self._read(self.blocks):
            members = np.zeros((len(scores), classes), np.float32)
            members[np.arange(len(scores)), self.labels[rows]] = self.shares[rows]
            sums += scores.T @ members
        variances = self.variances[:-1, 0] - np.square(sums[:-1].sum(1))
        return discriminant(self.scores, self.labels, self.shares, sums, variances)

    def _blocks(self, classes: int) -> Iterator[slice | Ints]:
        """Yield the rows of every block: those that count, or where there are few classes all, which are no copy."""
        if classes < MANY_CLASSES:
            yield from (block for block in slices(len(self.labels)) if self.shares[block].any())
        else:
            rows = np.flatnonzero(self.shares)
            yield from (rows[block] for block in slices(len(rows)))

    def _read(self, blocks: Sequence[slice | Ints]) -> Iterator[tuple[slice | Ints, Floats]]:
        for block in blocks:
            yield block, self.scores[block]


def _dot(a: Floats, b: Floats) -> float:
    return float(np.vdot(a, b))
