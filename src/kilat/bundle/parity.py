"""The gate before a model is called finished: the file's outputs on real pictures against the fitted classifier's."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kilat.bundle.predictor import Classifier, ModelOutput
from kilat.data.catalog import Picture, Source
from kilat.errors import PictureError, RunError
from kilat.locale import _
from kilat.locale.notes import Note
from kilat.runtime.array_types import Doubles, Floats, Ints

MAX_PICTURES = 64
TOLERANCE = 1e-3
"""How far a probability of the file may be from the fitted classifier's. Both have the same pixels and the same
network, so only the order of float sums may differ."""

_OOD_FACTOR = 50
"""How many times more a score of unknown pictures may differ."""

HALF_PRECISION_TOLERANCE = 0.05
"""The same where a GPU extracted the features in half precision; the file computes in float32."""

_LOGIT_FACTOR = 20
"""How many times more a logit may differ, as a share of its standard deviation over the pictures."""

_LOGIT_NOISE = 1e-5
"""What sums of float32 in another order change in logits that hardly vary."""

_LEAST_SPREAD = 0.01
"""Where logits vary less than this over the pictures, two classes of even odds stay within a quarter of a percent."""

_LEAST_PROBABILITY = 1e-30
"""Smaller ones have no logarithm in float32."""


@dataclass(frozen=True)
class Parity:
    """How the file compares with the fitted classifier.

    Args:
        pictures: on how many real pictures.
        max_difference: the largest difference of a probability.
        tolerance: the largest that is allowed.
        labels_agree: the share of pictures with the same likeliest class, or with one that is as likely.
        logit_difference: the largest difference of a logit, as a share of how logits vary over the pictures (their
            standard deviation); twenty times the tolerance is allowed. Between answers that hardly vary it shows what
            probabilities do not.
        conclusive: whether the answers vary enough over the pictures for the comparison to show anything.
        max_ood_difference: the largest difference of a score of unknown pictures; fifty times the tolerance is allowed.
    """

    pictures: int
    max_difference: float
    tolerance: float
    labels_agree: float
    logit_difference: float
    conclusive: bool
    max_ood_difference: float

    def notes(self) -> list[Note]:
        """Return a note where the comparison shows nothing."""
        return [] if self.conclusive else [Note("parity_inconclusive", {"count": self.pictures})]


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
        rows: which of its entries are compared, ``[n]``; those that can no longer be read are left out.
        probabilities: of the fitted classifier, ``[n, classes]``.
        ood_scores: its scores of unknown pictures, ``[n]``; None for a file without a detector.
        tolerance: how far a probability of the file may be from that.

    Raises:
        RunError: an output is outside the tolerance, or none of the pictures can be read any more.
    """
    answers = _run(classifier, source, rows)
    is_read = np.array([isinstance(answer, ModelOutput) for answer in answers])
    outputs = [answer for answer in answers if isinstance(answer, ModelOutput)]
    rows, probabilities = rows[is_read], probabilities[is_read]
    ood_scores = None if ood_scores is None else ood_scores[is_read]
    found = np.stack([output.probabilities for output in outputs])
    found_scores = np.array([output.ood_score for output in outputs])
    differences = np.abs(found - probabilities).max(1)
    logits = _logits(probabilities)
    spread = float(logits.std(0).max())
    logit_differences = np.abs(_logits(found) - logits).max(1)
    # Without a detector every score is -infinity, and infinities have no difference.
    ood_differences = np.zeros(len(rows)) if ood_scores is None else np.abs(found_scores - ood_scores)
    chosen = probabilities[np.arange(len(rows)), found.argmax(1)]
    parity = Parity(
        pictures=len(rows),
        max_difference=float(differences.max()),
        tolerance=tolerance,
        labels_agree=float((chosen >= probabilities.max(1) - tolerance).mean()),
        logit_difference=float(logit_differences.max() / max(spread, _LOGIT_NOISE)),
        conclusive=spread >= _LEAST_SPREAD,
        max_ood_difference=float(ood_differences.max()),
    )

    def path(of: Doubles) -> str:
        return source.entries[int(rows[of.argmax()])].path

    if not parity.max_ood_difference <= _OOD_FACTOR * tolerance:
        text = _(
            "The model file and the fitted classifier disagree on unknown pictures: a score differs by "
            "{difference:.3f} (allowed: {tolerance}) on {path}."
        )
        values = {"difference": parity.max_ood_difference, "tolerance": _OOD_FACTOR * tolerance}
        raise RunError(text.format(**values, path=path(ood_differences)), hint=_("Please report this."))
    if not parity.max_difference <= tolerance:
        text = _(
            "The model file and the fitted classifier disagree: a probability differs by {difference:.3f} (allowed: "
            "{tolerance}) on {path}."
        )
        message = text.format(difference=parity.max_difference, tolerance=tolerance, path=path(differences))
        raise RunError(
            message, hint=_("Please report this; with a frozen backbone, --set features.precision=fp32 may avoid it.")
        )
    if not logit_differences.max() <= _LOGIT_FACTOR * tolerance * spread + _LOGIT_NOISE:
        text = _(
            "The model file and the fitted classifier disagree: a logit differs by {difference:.1%} of how logits vary "
            "over the pictures (allowed: {allowed:.0%}) on {path}."
        )
        values = {"difference": parity.logit_difference, "allowed": _LOGIT_FACTOR * tolerance}
        raise RunError(text.format(**values, path=path(logit_differences)), hint=_("Please report this."))
    return parity


def _logits(probabilities: Floats) -> Doubles:
    """Return logits ``[n, classes]`` with a mean of 0 over the classes."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), _LEAST_PROBABILITY))
    centred: Doubles = logits - logits.mean(1, keepdims=True)
    return centred


def _run(classifier: Classifier, source: Source, rows: Ints) -> list[ModelOutput | PictureError]:
    def read() -> Iterator[Picture | PictureError]:
        for row in rows.tolist():
            try:
                picture = source.read(row)
            except PictureError as error:
                yield error
                continue
            yield picture

    outputs = list(classifier.outputs(read()))
    errors = [output for output in outputs if isinstance(output, PictureError)]
    if len(errors) == len(outputs):
        raise RunError(_("A picture can no longer be read: {message}.").format(message=errors[0].message))
    return outputs
