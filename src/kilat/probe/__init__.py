"""A linear head on cached features."""

from kilat.probe.components import CLIP
from kilat.probe.head import Fitted, Head, TriedPenalty, fit

__all__ = ["CLIP", "Fitted", "Head", "TriedPenalty", "fit"]
