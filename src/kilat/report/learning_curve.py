"""The learning curve: how accurate the head is after training on fewer of the pictures, and whether more would help."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from kilat.evaluate.metrics import wilson_interval
from kilat.learn.metrics import HeadSection
from kilat.locale import _
from kilat.report import figures
from kilat.report.template import count, percent


class Point(NamedTuple):
    """The accuracy after training on ``pictures`` pictures, with its 95% interval."""

    pictures: int
    accuracy: float
    low: float
    high: float


def points(head: HeadSection | None) -> list[Point]:
    """Return the learning curve of a head, empty where it was not measured."""
    curve = head.curve if head else []
    intervals = [wilson_interval(point.correct, point.n) or [0.0, 1.0] for point in curve]
    return [
        Point(point.pictures, point.correct / point.n, low, high)
        for point, (low, high) in zip(curve, intervals, strict=True)
    ]


def figure(curve: Sequence[Point]) -> Markup | None:
    """Draw the curve; None where it has fewer than two points."""
    if len(curve) < 2:
        return None
    pictures, accuracy, low, high = zip(*curve, strict=True)
    return figures.learning_curve(pictures, accuracy, low, high)


class Doubling(NamedTuple):
    """What the last doubling of the pictures brought: the points at half of them and at all."""

    half: Point
    last: Point

    @property
    def _standard_error(self) -> float:
        return (self.last.high - self.last.low) / 4

    @property
    def rises(self) -> bool:
        """Whether accuracy rose by at least a point, and by more than chance easily explains."""
        return self.last.accuracy - self.half.accuracy >= max(0.01, self._standard_error)

    @property
    def is_flat(self) -> bool:
        """Whether accuracy did not rise by a point, measured well enough to say so."""
        return self.last.accuracy - self.half.accuracy < 0.01 and self._standard_error <= 0.02


def last_doubling(curve: Sequence[Point]) -> Doubling | None:
    """Return the last doubling on a curve; None where it has none."""
    last = curve[-1] if curve else None
    halves = [point for point in curve if last and 0.4 <= point.pictures / last.pictures <= 0.62]
    if last is None or not halves:
        return None
    return Doubling(min(halves, key=lambda point: abs(point.pictures / last.pictures - 0.5)), last)


def sentence(curve: Sequence[Point]) -> str:
    """Return what the last doubling of the pictures brought; empty where the curve has none."""
    doubling = last_doubling(curve)
    if doubling is None:
        return ""
    half, last = doubling
    text = _("From {half} to {all} pictures the accuracy went from {low} to {high}, which chance may explain.")
    if doubling.rises:
        text = _("From {half} to {all} pictures the accuracy rose from {low} to {high}.")
    elif doubling.is_flat:
        text = _("From {half} to {all} pictures the accuracy went from {low} to {high}: more would help little.")
    low, high = percent(half.accuracy), percent(last.accuracy)
    return text.format(half=count(half.pictures), all=count(last.pictures), low=low, high=high)
