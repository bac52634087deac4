"""A linear discriminant in principal components: what heads of many classes begin with, and are drawn towards.

Ridge regression on the classes, in components that are nearly uncorrelated: one product gives it for every strength.
What it answers to a picture without that picture's own part follows from one more number, so that strength and scale
are chosen by leaving each of some pictures out, at hardly any cost.

Where there are many classes with few pictures each, an L2 penalty that draws towards zero keeps to the leading
components, whatever tells the classes apart: of two drawn sets, of 50 classes with 60 pictures and 150 with 10, it got
97.6% and 88.4% right, this discriminant 98.8% and 92.5%. With many pictures a class zero is better (60 classes with 86
pictures: log loss 0.84 against 0.89), so cross-validation chooses.
"""

import numpy as np

from kilat.evaluate.calibration import fit_temperature
from kilat.runtime.array_types import Floats, Ints

_STRENGTHS = (3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
"""As shares of the variance of all components."""
_LEFT_OUT = 512
_PICTURES_PER_COMPONENT = 2


def discriminant(scores: Floats, labels: Ints, shares: Floats, sums: Floats, variances: Floats) -> Floats:
    """Return the coefficients ``[components + 1, classes]`` of the discriminant, scaled so that they are logits.

    They are zeros where it is no better than guessing by the shares of the classes.

    Args:
        scores: of some pictures, ``[n, components + 1]``, the last column a constant one.
        labels: class of each, ``[n]``.
        shares: how much each counts, ``[n]``, of a sum of one; those of none are not fitted to.
        sums: by component and class the sum of scores times shares, ``[components + 1, classes]``.
        variances: of the components, ``[components]``.
    """
    class_shares, mean = sums[-1], sums[:-1].sum(1)
    between = sums[:-1] - np.outer(mean, class_shares)
    fitted = np.flatnonzero(shares)
    rows = fitted[np.linspace(0, len(fitted) - 1, min(len(fitted), _LEFT_OUT)).round().astype(np.int64)]
    deviations, own = scores[rows, :-1] - mean, labels[rows]
    present = class_shares[class_shares > 0]
    # In components that were found on hardly more pictures, each lies apart from all others, and none predicts another.
    trusted = (np.arange(len(variances)) < len(fitted) // _PICTURES_PER_COMPONENT).astype(np.float32)
    best_loss, best = float(-(present * np.log(present)).sum()), np.zeros_like(between)
    for strength in _STRENGTHS:
        inverse: Floats = (
            np.reciprocal(variances + np.float32(strength * variances.sum()) + np.float32(1e-12)) * trusted
        )
        weight = inverse[:, None] * between
        answers = deviations @ weight
        part: Floats = np.einsum("nd,nd->n", deviations * inverse, deviations) * shares[rows]
        answers += np.outer(part, class_shares)
        answers[np.arange(len(rows)), own] -= part
        answers *= len(class_shares)
        loss, temperature = calibrated_log_loss(answers, own)
        if loss < best_loss:
            best_loss, best = loss, weight * np.float32(len(class_shares) / temperature)
    return np.concatenate([best, -(mean @ best)[None]])


def calibrated_log_loss(logits: Floats, labels: Ints) -> tuple[float, float]:
    """Return the log loss of logits ``[n, classes]`` at their best temperature, and that temperature."""
    temperature = fit_temperature(logits, labels)
    shifted = (logits - logits.max(1, keepdims=True)) / np.float32(temperature)
    losses = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]
    return float(losses.mean(dtype=np.float64)), temperature
