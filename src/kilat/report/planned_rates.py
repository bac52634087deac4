"""The learning rates that a schedule plans for a training, from its recipe and from what was done."""

import math

import numpy as np

from kilat.learn.metrics import FitSection
from kilat.recipe import Fit
from kilat.report.curves import Rates


def planned_rates(fit: Fit, pictures: int, done: FitSection) -> Rates | None:
    """Return the epochs, in parts of them, after which updates were made with which rate; None where that is unknown.

    Args:
        fit: the recipe's section.
        pictures: how many were trained on.
        done: the training.
    """
    from kilat.fit.schedules import planned_curve  # without torch

    per_epoch = math.ceil(pictures / done.batch)
    if not per_epoch:
        return None
    epochs, rates = planned_curve(fit, per_epoch)
    return np.asarray(epochs) + 1 / per_epoch, np.asarray(rates)
