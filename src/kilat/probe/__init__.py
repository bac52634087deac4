"""The linear head on the features of a frozen backbone: fitted, cross-validated and chosen in principal components.

Stands on ``recipe`` (the section ``head``), ``features`` (the layout of a feature vector) and ``runtime``.
"""

from kilat.probe.components import CLIP
from kilat.probe.head import CurvePoint, FittedHead, Head, PenaltyResult, fit

__all__ = ["CLIP", "CurvePoint", "FittedHead", "Head", "PenaltyResult", "fit"]
