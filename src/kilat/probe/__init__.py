"""The linear head on the features of a frozen backbone: fitted, cross-validated and chosen in principal components.

Stands on ``recipe`` (the section ``head``), ``features`` (the layout of a feature vector), ``evaluate`` (temperature)
and ``runtime``.
"""

from kilat.probe.components import CLIP
from kilat.probe.head import CurvePoint, FittedHead, Head, HeadTimes, PenaltyResult, fit

__all__ = ["CLIP", "CurvePoint", "FittedHead", "Head", "HeadTimes", "PenaltyResult", "fit"]
