"""Whether one classifier is better than another on the same held-out pictures by more than noise."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kilat.evaluate.calibration import apply_temperature, fit_temperature

Floats = NDArray[np.float32]

NOISE = 1.645
"""How many standard errors a gain must exceed: one in twenty gains that are none passes (the normal's 95% quantile). In
doubt the frozen result stays, which in the end learns from the validation pictures as well."""

_ROUNDING = 1e-6


@dataclass(frozen=True)
class Comparison:
    """What a challenger gains over what there was, on the same pictures.

    Args:
        n: how many pictures.
        log_loss_gain: mean over pictures of how much less log loss the challenger has, each calibrated on them.
        standard_error: of that mean, from the pictures' own differences.
        accuracy_before: the share that was answered rightly.
        accuracy_after: the share that the challenger answers rightly.
    """

    n: int
    log_loss_gain: float
    standard_error: float
    accuracy_before: float
    accuracy_after: float

    @property
    def needed(self) -> float:
        """How large a gain must be to count as more than noise."""
        return NOISE * self.standard_error + _ROUNDING

    @property
    def is_better(self) -> bool:
        """Whether the challenger is better by more than noise."""
        return self.log_loss_gain > self.needed


def compare(truth: NDArray[np.int64], before: Floats, challenger: Floats) -> Comparison:
    """Compares the answers of two classifiers to the same held-out pictures, picture by picture.

    The log loss is compared, not the accuracy, because it says something about every picture instead of about the few
    on which the two disagree; both are calibrated by a temperature first, so that over-confidence decides nothing.

    Args:
        truth: class of each picture, ``[n]``.
        before: logits ``[n, classes]``.
        challenger: logits ``[n, classes]``.
    """
    losses = [_losses(truth, logits) for logits in (before, challenger)]
    gains = losses[0] - losses[1]
    right = [float((logits.argmax(1) == truth).mean()) for logits in (before, challenger)]
    error = float(gains.std(ddof=1) / math.sqrt(len(gains))) if len(gains) > 1 else math.inf
    return Comparison(len(gains), float(gains.mean()), error, *right)


def _losses(truth: NDArray[np.int64], logits: Floats) -> NDArray[np.float64]:
    probabilities = apply_temperature(logits, fit_temperature(logits, truth)).astype(np.float64)
    losses: NDArray[np.float64] = -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], 1e-12))
    return losses
