"""The gate before a model is called finished: the file's answers on real pictures against the fitted model's."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kilat.bundle.predictor import Answer, Classifier
from kilat.data.catalog import Source
from kilat.errors import PictureError, RunError
from kilat.locale import _

PICTURES = 64
TOLERANCE = 1e-3
"""How far a probability of the file may lie from the fitted model's. Both see the same pixels and the same network, so
only the order of float sums may differ."""

_UNKNOWN = 50

HALF_PRECISION_TOLERANCE = 0.05
"""The same where a GPU looked at the pictures in half precision; the file computes in float32."""


@dataclass(frozen=True)
class Parity:
    """How the file compared with the fitted model.

    Args:
        pictures: on how many real pictures.
        max_difference: the largest difference of a probability.
        tolerance: the largest that is let through.
        labels_agree: the share of pictures with the same likeliest class.
        max_ood_difference: the largest difference of how unknown a picture is, in spreads among known ones;
            fifty times the tolerance is let through.
    """

    pictures: int
    max_difference: float
    tolerance: float
    labels_agree: float
    max_ood_difference: float


def sample(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The pictures to ask about: up to 64 of them, evenly spaced."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, PICTURES).round().astype(np.int64))]


def check(
    classifier: Classifier,
    source: Source,
    rows: NDArray[np.int64],
    expected: NDArray[np.float32],
    unknown: NDArray[np.float32] | None,
    tolerance: float = TOLERANCE,
) -> Parity:
    """Asks the file about real pictures.

    Args:
        classifier: the file.
        source: where the pictures are.
        rows: which of its entries are asked, ``[n]``.
        expected: the fitted model's probabilities for them, ``[n, classes]``.
        unknown: how unknown they are, ``[n]``; None for a file that is to notice nothing of that.
        tolerance: how far a probability may lie from that.

    Raises:
        RunError: an answer lies outside the tolerance, or a picture changed since it was looked at.
    """
    try:
        answers = [_sound(one) for one in classifier.outcomes([source.read(int(row)) for row in rows])]
    except PictureError as error:
        raise RunError(
            _("A picture can no longer be read, though it could be a moment ago: {message}.").format(
                message=error.message
            )
        ) from None
    got = np.stack([one.probabilities for one in answers])
    strangeness = np.array([one.unknown for one in answers])
    # Without a detector every picture is as little unknown as can be, and infinities have no difference.
    astray = np.zeros(len(rows)) if unknown is None else np.abs(strangeness - unknown)
    parity = Parity(
        pictures=len(rows),
        max_difference=float(np.abs(got - expected).max()),
        tolerance=tolerance,
        labels_agree=float((got.argmax(1) == expected.argmax(1)).mean()),
        max_ood_difference=float(astray.max()),
    )
    if not parity.max_ood_difference <= _UNKNOWN * tolerance:
        worst = int(rows[astray.argmax()])
        raise RunError(
            _(
                "The model file does not notice unknown pictures as the fitted model does: its score differs by "
                "{max_ood_difference:.3f} (allowed: {tolerance}) on {path}."
            ).format(
                max_ood_difference=parity.max_ood_difference,
                tolerance=_UNKNOWN * tolerance,
                path=source.entries[worst].path,
            ),
            hint=_("Please report this."),
        )
    if not parity.max_difference <= tolerance:
        worst = int(rows[np.abs(got - expected).max(1).argmax()])
        raise RunError(
            _(
                "The model file does not answer as the fitted model does: a probability differs by "
                "{difference:.3f} (allowed: {tolerance}) on {path}."
            ).format(difference=parity.max_difference, tolerance=tolerance, path=source.entries[worst].path),
            hint=_("Please report this; where a frozen backbone looks, --set features.precision=fp32 may avoid it."),
        )
    return parity


def _sound(outcome: Answer | PictureError) -> Answer:
    if isinstance(outcome, PictureError):
        raise outcome
    return outcome
