"""Fitting the heads of a cross-validation again without some of the pictures, such as those with doubtful labels."""

from dataclasses import dataclass

import numpy as np

from kilat.probe import FittedHead
from kilat.probe.regression import Problem, Towards
from kilat.runtime.array_types import Flags, Floats, Ints
from kilat.runtime.cores import single_threaded_blas


@dataclass(frozen=True)
class HeadRefit:
    """Fits the heads of a cross-validation again, with the same L2 penalty, without some of the pictures.

    It is data: it pickles, and shares its arrays with the head that it was made from.

    Args:
        scores: of all pictures on the principal components of the head, ``[any number, components + 1]``.
        rows: where the training pictures stand in ``scores``, ``[m]``.
        labels: their classes, ``[m]``.
        fold: in which fold each was held out, -1 for never, ``[m]``.
        held_out: positions among the ``m`` of those that were held out, in the order of the logits, ``[n]``.
        classes: how many there are.
        l2_penalty: of every head.
        towards: what it draws the heads to.
    """

    scores: Floats
    rows: Ints
    labels: Ints
    fold: Ints
    held_out: Ints
    classes: int
    l2_penalty: float
    towards: Towards

    @classmethod
    def of(cls, fitted: FittedHead, rows: Ints, labels: Ints, fold: Ints, classes: int) -> "HeadRefit":
        """Return the refit of a head that ``kilat.probe.fit`` gave for the same rows, labels and folds.

        Folds that it had no time to hold out are not held out here either.
        """
        done = np.full(len(fold), -1)
        done[fitted.held_out] = fold[fitted.held_out]
        return cls(fitted.scores, rows, labels, done, fitted.held_out, classes, fitted.l2_penalty, fitted.towards)

    def __call__(self, kept: Flags) -> Floats:
        """Return held-out logits ``[n, classes]`` of heads fitted to the pictures of a mask ``[n]`` over ``held_out``.

        A picture that was never held out is always trained on.
        """
        weights = np.ones(len(self.rows), np.float32)
        weights[self.held_out] = kept
        problem = Problem(self.scores[self.rows], self.labels, weights, self.classes, self.towards)
        numbers = np.unique(self.fold[self.fold >= 0])
        masks = (self.fold[None] != numbers[:, None]).astype(np.float32)
        logits = np.zeros((len(self.rows), self.classes), np.float32)
        with single_threaded_blas():
            solutions = problem.solve(masks, [self.l2_penalty] * len(masks))
            for number, coefficients in zip(numbers, solutions, strict=True):
                assert coefficients is not None
                logits[self.fold == number] = problem.scores[self.fold == number] @ coefficients
        return logits[self.held_out]
