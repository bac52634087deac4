"""Heads that are judged by cross-validation alone: what each picture is answered by a head that was fitted without it.

``head.fit`` chooses the penalty on the very pictures that were held out, which is well enough to fit one head. Where
heads are compared, penalty and temperature of the answers to a fold follow from the answers to the other folds, so that
a setting gains nothing by having more penalties to choose from. One path of penalties in each fold serves both; heads
of the other folds have seen the fold's labels, which nested cross-validation would avoid for five times the work.
"""

from typing import NamedTuple

import numpy as np

from kilat.evaluate.calibration import apply_temperature
from kilat.probe.discriminant import calibrated_log_loss
from kilat.probe.head import class_weights
from kilat.probe.regression import MANY_CLASSES, Problem, Towards
from kilat.recipe import Head as Settings
from kilat.runtime.array_types import Floats, Ints


class HeldOutAnswers(NamedTuple):
    """The answers of every fold to the pictures that it left out.

    Args:
        probabilities: calibrated, ``[n, classes]``; zeros for pictures that are never held out.
        l2_penalties: that was chosen for the answers of each fold, ``[folds]``.
    """

    probabilities: Floats
    l2_penalties: tuple[float, ...]


def cross_validate(scores: Floats, labels: Ints, fold: Ints, classes: int, settings: Settings) -> HeldOutAnswers:
    """Fit a head without each fold, and answer that fold; penalty and temperature are chosen on the other folds.

    Args:
        scores: of the pictures on the principal components, ``[n, components + 1]``, the last column a constant one.
        labels: class of each, ``[n]``.
        fold: in which fold each is held out, -1 for never, ``[n]``.
        classes: number of classes.
        settings: the recipe's section.
    """
    problem = Problem(scores, labels, class_weights(labels, classes, settings.class_weight), classes)
    penalties = sorted(settings.l2, reverse=True)
    directions: tuple[Towards, ...] = ("zero",) if classes < MANY_CLASSES else ("discriminant", "zero")
    numbers = [int(number) for number in np.unique(fold[fold >= 0])]
    logits = np.zeros((len(directions), len(penalties), len(labels), classes), np.float32)
    for towards, of_direction in zip(directions, logits, strict=True):
        drawn = problem.drawn_to(towards)
        for number in numbers:
            mask, head = (fold != number).astype(np.float32), None
            for l2_penalty, answers in zip(penalties, of_direction, strict=True):
                head = drawn.solve_one(mask, l2_penalty, head)
                answers[fold == number] = scores[fold == number] @ head
    candidates = logits.reshape(-1, len(labels), classes)
    probabilities, chosen = np.zeros((len(labels), classes), np.float32), []
    for number in numbers:
        others = (fold >= 0) & (fold != number)
        judged = [calibrated_log_loss(one[others], labels[others]) for one in candidates]
        best = min(range(len(judged)), key=lambda at: judged[at][0])
        probabilities[fold == number] = apply_temperature(candidates[best][fold == number], judged[best][1])
        chosen.append(penalties[best % len(penalties)])
    return HeldOutAnswers(probabilities, tuple(chosen))
