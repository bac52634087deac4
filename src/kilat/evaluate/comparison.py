"""Whether one classifier is better than another on the same validation pictures by more than noise."""

import math
from dataclasses import dataclass

import numpy as np

from kilat.evaluate.calibration import apply_temperature, fit_temperature
from kilat.runtime.array_types import Doubles, Floats, Ints

NOISE = 1.645
"""How many standard errors a gain must exceed: one in twenty gains that are none passes (the normal's 95% quantile). In
doubt the frozen result stays, whose head is fitted on the validation pictures as well."""

_ROUNDING = 1e-6


@dataclass(frozen=True)
class Comparison:
    """What a challenger gains over the classifier before it, on the same pictures.

    Args:
        n: number of pictures.
        log_loss_gain: mean over pictures of how much less log loss the challenger has, each calibrated on them.
        standard_error: of that mean, from the pictures' own differences.
        accuracy_before: of the classifier before.
        accuracy_after: of the challenger.
    """

    n: int
    log_loss_gain: float
    standard_error: float
    accuracy_before: float
    accuracy_after: float

    @property
    def needed(self) -> float:
        """The gain that counts as more than noise."""
        return NOISE * self.standard_error + _ROUNDING

    @property
    def is_better(self) -> bool:
        """Whether the challenger is better by more than noise."""
        return self.log_loss_gain > self.needed


def compare(truth: Ints, before: Floats, challenger: Floats) -> Comparison:
    """Compare two classifiers on the same pictures, picture by picture.

    The log loss is compared, not the accuracy, because it says something about every picture instead of about the few
    on which the two disagree; both are calibrated by a temperature first, so that over-confidence decides nothing.

    Args:
        truth: class of each picture, ``[n]``.
        before: logits ``[n, classes]``.
        challenger: logits ``[n, classes]``.
    """
    gains = _log_losses(truth, before) - _log_losses(truth, challenger)
    accuracies = [float((logits.argmax(1) == truth).mean()) for logits in (before, challenger)]
    error = float(gains.std(ddof=1) / math.sqrt(len(gains))) if len(gains) > 1 else math.inf
    return Comparison(len(gains), float(gains.mean()), error, *accuracies)


def _log_losses(truth: Ints, logits: Floats) -> Doubles:
    """Return the log loss of every picture, ``[n]``, after calibration on these pictures."""
    probabilities = apply_temperature(logits, fit_temperature(logits, truth)).astype(np.float64)
    losses: Doubles = -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], 1e-12))
    return losses
