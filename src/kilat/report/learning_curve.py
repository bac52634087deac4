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


def last_doubling(curve: Sequence[Point]) -> tuple[Point, Point] | None:
    """Return the points at half of the pictures and at all of them; None where the curve has none of the kind."""
    last = curve[-1] if curve else None
    halves = [point for point in curve if last and 0.4 <= point.pictures / last.pictures <= 0.62]
    if last is None or not halves:
        return None
    return min(halves, key=lambda point: abs(point.pictures / last.pictures - 0.5)), last


def sentence(curve: Sequence[Point]) -> str:
    """Return what the last doubling of the pictures brought; empty where the curve has none."""
    doubling = last_doubling(curve)
    if doubling is None:
        return ""
    half, last = doubling
    text = _("From {half} to {all} pictures the accuracy rose from {low} to {high}.")
    if last.accuracy - half.accuracy < 0.01:
        text = _(
            "From {half} to {all} pictures the accuracy went from {low} to {high}: more pictures would help little."
        )
    low, high = percent(half.accuracy), percent(last.accuracy)
    return text.format(half=count(half.pictures), all=count(last.pictures), low=low, high=high)
