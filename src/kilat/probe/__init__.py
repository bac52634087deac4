"""The linear head on the features of a frozen backbone: fitted, cross-validated and chosen in principal components.

Stands on ``recipe`` (the section ``head``), ``features`` (the layout of a feature vector), ``evaluate`` (temperature)
and ``runtime``.
"""

from kilat.probe.components import CLIP
from kilat.probe.cross_validation import HeldOutAnswers, cross_validate
from kilat.probe.head import CurvePoint, FittedHead, Head, HeadTimes, PenaltyResult, components_of, fit

__all__ = [
    "CLIP", "CurvePoint", "FittedHead", "Head", "HeadTimes", "HeldOutAnswers", "PenaltyResult", "components_of",
    "cross_validate", "fit",
]  # fmt: skip
