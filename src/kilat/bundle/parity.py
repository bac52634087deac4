"""The gate before a model is called finished: the file's outputs on real pictures against the fitted classifier's."""

from dataclasses import dataclass

import numpy as np

from kilat.bundle.predictor import Classifier, ModelOutput
from kilat.data.catalog import Source
from kilat.errors import PictureError, RunError
from kilat.locale import _
from kilat.runtime.array_types import Floats, Ints

MAX_PICTURES = 64
TOLERANCE = 1e-3
"""How far a probability of the file may be from the fitted classifier's. Both have the same pixels and the same
network, so only the order of float sums may differ."""

_OOD_FACTOR = 50
"""How many times more a score of unknown pictures may differ."""

HALF_PRECISION_TOLERANCE = 0.05
"""The same where a GPU extracted the features in half precision; the file computes in float32."""


@dataclass(frozen=True)
class Parity:
    """How the file compares with the fitted classifier.

    Args:
        pictures: on how many real pictures.
        max_difference: the largest difference of a probability.
        tolerance: the largest that is allowed.
        labels_agree: the share of pictures with the same likeliest class.
        max_ood_difference: the largest difference of a score of unknown pictures; fifty times the tolerance is allowed.
    """

    pictures: int
    max_difference: float
    tolerance: float
    labels_agree: float
    max_ood_difference: float


def sample_rows(rows: Ints) -> Ints:
    """Return the rows of pictures to compare: up to 64 of them, evenly spaced."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, MAX_PICTURES).round().astype(np.int64))]


def check_parity(
    classifier: Classifier,
    source: Source,
    rows: Ints,
    probabilities: Floats,
    ood_scores: Floats | None,
    tolerance: float = TOLERANCE,
) -> Parity:
    """Compare the outputs of the file on real pictures with those of the fitted classifier.

    Args:
        classifier: the file.
        source: where the pictures are.
        rows: which of its entries are compared, ``[n]``.
        probabilities: of the fitted classifier, ``[n, classes]``.
        ood_scores: its scores of unknown pictures, ``[n]``; None for a file without a detector.
        tolerance: how far a probability of the file may be from that.

    Raises:
        RunError: an output is outside the tolerance, or a picture can no longer be read.
    """
    outputs = _run(classifier, source, rows)
    found = np.stack([output.probabilities for output in outputs])
    found_scores = np.array([output.ood_score for output in outputs])
    differences = np.abs(found - probabilities).max(1)
    # Without a detector every score is -infinity, and infinities have no difference.
    ood_differences = np.zeros(len(rows)) if ood_scores is None else np.abs(found_scores - ood_scores)
    parity = Parity(
        pictures=len(rows),
        max_difference=float(differences.max()),
        tolerance=tolerance,
        labels_agree=float((found.argmax(1) == probabilities.argmax(1)).mean()),
        max_ood_difference=float(ood_differences.max()),
    )
    if not parity.max_ood_difference <= _OOD_FACTOR * tolerance:
        text = _(
            "The model file and the fitted classifier disagree on unknown pictures: a score differs by "
            "{difference:.3f} (allowed: {tolerance}) on {path}."
        )
        path, allowed = source.entries[int(rows[ood_differences.argmax()])].path, _OOD_FACTOR * tolerance
        message = text.format(difference=parity.max_ood_difference, tolerance=allowed, path=path)
        raise RunError(message, hint=_("Please report this."))
    if not parity.max_difference <= tolerance:
        text = _(
            "The model file and the fitted classifier disagree: a probability differs by {difference:.3f} (allowed: "
            "{tolerance}) on {path}."
        )
        path = source.entries[int(rows[differences.argmax()])].path
        message = text.format(difference=parity.max_difference, tolerance=tolerance, path=path)
        raise RunError(
            message, hint=_("Please report this; with a frozen backbone, --set features.precision=fp32 may avoid it.")
        )
    return parity


def _run(classifier: Classifier, source: Source, rows: Ints) -> list[ModelOutput]:
    try:
        outputs = []
        for output in classifier.outputs([source.read(int(row)) for row in rows]):
            if isinstance(output, PictureError):
                raise output
            outputs.append(output)
    except PictureError as error:
        message = _("A picture can no longer be read: {message}.").format(message=error.message)
        raise RunError(message) from None
    return outputs
