"""Fitting heads again, each without one fold of the pictures, and without those whose labels are doubtful."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kilat.probe import FittedHead
from kilat.probe.regression import Problem, Towards
from kilat.runtime.array_types import Flags, Floats, Ints
from kilat.runtime.cores import single_threaded_blas


@dataclass(frozen=True)
class HeadRefit:
    """Fits heads in the components of another one, with its L2 penalty, to all pictures but some.

    It is data: it pickles, and shares its arrays with the head that it was made from.

    Args:
        scores: of all pictures on the principal components of the head, ``[any number, components + 1]``.
        rows: where the pictures stand in ``scores``, ``[m]``.
        labels: their classes, ``[m]``.
        fold: in which fold each is held out, -1 for never, ``[m]``.
        classes: how many there are.
        l2_penalty: of every head.
        towards: what it draws the heads to.
        starts: coefficients that the head without each fold begins with, as ``fit`` returns them: fewer steps are left,
            where most of the pictures are the same. By default each begins with what it is drawn to.
    """

    scores: Floats
    rows: Ints
    labels: Ints
    fold: Ints
    classes: int
    l2_penalty: float
    towards: Towards
    starts: tuple[Floats, ...] = ()

    @classmethod
    def of(cls, fitted: FittedHead, rows: Ints, labels: Ints, fold: Ints, classes: int) -> "HeadRefit":
        """Return the refit of a head that ``kilat.probe.fit`` gave, to any pictures whose features it was given."""
        return cls(fitted.scores, rows, labels, fold, classes, fitted.l2_penalty, fitted.towards)

    @property
    def held_out(self) -> Ints:
        """Positions of the pictures that are held out once, in the order of the logits, ``[n]``."""
        return np.flatnonzero(self.fold >= 0)

    def __call__(self, kept: Flags) -> Floats:
        """Return held-out logits ``[n, classes]`` of heads fitted to the pictures of a mask ``[n]`` over them."""
        return self.logits(self.fit(kept))

    def fit(self, kept: Flags | None = None) -> list[Floats]:
        """Fit a head without each fold, to all other pictures or those of a mask ``[n]`` over ``held_out``.

        A picture that is never held out is always trained on.
        """
        weights = np.ones(len(self.rows), np.float32)
        if kept is not None:
            weights[self.held_out] = kept
        problem = Problem(self.scores[self.rows], self.labels, weights, self.classes, self.towards)
        masks = (self.fold[None] != self._numbers[:, None]).astype(np.float32)
        with single_threaded_blas():
            heads = problem.solve(masks, self.l2_penalty, self.starts)
        return [head for head in heads if head is not None]

    def logits(self, heads: Sequence[Floats]) -> Floats:
        """Return what each of these heads answers to the pictures of its fold, ``[n, classes]``."""
        logits = np.zeros((len(self.rows), self.classes), np.float32)
        with single_threaded_blas():
            for number, coefficients in zip(self._numbers, heads, strict=True):
                logits[self.fold == number] = self.scores[self.rows[self.fold == number]] @ coefficients
        return logits[self.held_out]

    @property
    def _numbers(self) -> Ints:
        return np.unique(self.fold[self.fold >= 0])
