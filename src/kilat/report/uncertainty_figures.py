"""Uncertainty as figures: sizes and coverage of prediction sets, calibration class by class."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from kilat.learn.measures import Bin, ClassCalibration, Coverage
from kilat.locale import _, localized, ngettext
from kilat.report.figures import NAMED, bin_columns
from kilat.report.svg_canvas import (
    ACCENT,
    DASHED,
    FULL,
    LINE,
    MUTED,
    SIDE,
    Canvas,
    Plot,
    column_width,
    percent_label,
    short_names,
    shorten,
    text_width,
    tick_values,
)
from kilat.runtime.array_types import Doubles

MULTIPLES = 12
"""So many classes have a small figure of their own."""

_MAX_SIZES = 8
_COLUMNS = 4
_TILE = FULL / _COLUMNS


def sizes(counts: Sequence[int]) -> Markup:
    """Draw how often prediction sets have no class, one, two, and so on.

    Args:
        counts: how many sets have 0, 1, 2... classes; large sizes share the last bar, and 0 has a bar where there are
            any.
    """
    padded = [*counts, *[0] * (2 - len(counts))]
    bars = {
        ngettext("{count} class", "{count} classes", size).format(count=size) if size else _("no class"): number
        for size, number in enumerate(padded[: _MAX_SIZES + 1])
        if size or number
    }
    if rest := padded[_MAX_SIZES + 1 :]:
        first = _MAX_SIZES + 1
        bars[_("{first} to {last} classes").format(first=first, last=first + len(rest) - 1)] = sum(rest)
    labels, total = list(bars), max(sum(counts), 1)
    left, row = column_width(labels), 27
    canvas = Canvas(SIDE, row * len(bars) + 6)
    values = np.array(list(bars.values()), dtype=float)
    notes = [f"{localized(value, ',.0f')} ({localized(value / total, '.1%')})" for value in values]
    scale = (SIDE - left - column_width(notes)) / max(values.max(), 1)
    tops = 3 + row * np.arange(len(bars))
    canvas.boxes(left, tops + 4, values * scale, row - 8, [(ACCENT, 0.9)])
    for label, note, end, y in zip(labels, notes, left + values * scale, tops + row / 2, strict=True):
        canvas.write(left - 9, y, label, align="end")
        canvas.write(end + 7, y, note, MUTED)
    return canvas.to_svg(_("How many classes prediction sets have"))


class _Point(NamedTuple):
    """The coverage of one class with its interval."""

    coverage: float
    low: float
    high: float


def class_coverage(
    classes: Mapping[str, Coverage], target: float, before: Mapping[str, Coverage] | None = None
) -> Markup:
    """Draw how often the sets of each class's pictures contain it, with 95% intervals, against the target.

    Args:
        classes: the coverage of each class; classes without a picture are left out.
        target: the coverage that the sets are made for.
        before: the same of other sets to compare with, drawn as rings.
    """
    points = _points(classes)
    others = {name: point.coverage for name, point in _points(before or {}).items() if name in points}
    names = sorted(points, key=lambda name: (points[name].coverage, name))
    lowest = min([target, *(point.low for point in points.values()), *others.values()])
    value_range = (max(0.0, np.floor(lowest * 20 - 0.2) / 20), 1.0)
    draw = _coverage_rows if len(points) <= NAMED else _coverage_profile
    canvas = draw(names, [points[name] for name in names], others, target, value_range)
    return canvas.to_svg(_("How often the set contains the true class, class by class"))


def _points(classes: Mapping[str, Coverage]) -> dict[str, _Point]:
    return {
        name: _Point(measured.coverage, *measured.coverage_interval)
        for name, measured in classes.items()
        if measured.coverage is not None and measured.coverage_interval is not None
    }


def _coverage_rows(
    names: list[str], points: list[_Point], others: Mapping[str, float], target: float, value_range: tuple[float, float]
) -> Canvas:
    labels, row, top = short_names(names), 27, 30
    notes = [localized(point.coverage, ".1%") for point in points]
    left, right, bottom = column_width([*labels, ""]), SIDE - column_width([*notes, ""]), top + row * len(names)
    canvas = Canvas(SIDE, bottom + 30)

    def x(values: Any) -> Doubles:
        low, high = value_range
        return left + (np.asarray(values, dtype=float) - low) / (high - low) * (right - left)

    ticks = tick_values(*value_range)
    canvas.lines([[(at, top), (at, bottom)] for at in x(ticks)], LINE)
    for value, at in zip(ticks, x(ticks), strict=True):
        canvas.write(at, bottom + 15, percent_label(value), MUTED, "middle")
    y = top + row * (np.arange(len(names)) + 0.5)
    at = float(x(target))
    canvas.lines([[(at, top - 6), (at, bottom)]], MUTED, 1.2, DASHED)
    canvas.write(at, 11, _("target: {share}").format(share=percent_label(target)), MUTED, "middle")
    spans = [x([point.low, point.high]) for point in points]
    bars = [[(low, at), (high, at)] for (low, high), at in zip(spans, y, strict=True)]
    canvas.lines(bars, (ACCENT, 0.4), 4)
    for name, at in zip(names, y, strict=True):
        if name in others:
            canvas.rings(x([others[name]]), [at], MUTED)
    canvas.dots(x([point.coverage for point in points]), y, ACCENT)
    for label, note, at in zip(labels, notes, y, strict=True):
        canvas.write(left - 9, at, label, align="end")
        canvas.write(right + 9, at, note, MUTED)
    return canvas


def _coverage_profile(
    names: list[str], points: list[_Point], others: Mapping[str, float], target: float, value_range: tuple[float, float]
) -> Canvas:
    """Draw many classes without their names, the least covered first."""
    plot = Plot(SIDE, 260, (0.5, len(names) + 0.5), value_range, top=26)
    shares = [(share, percent_label(share)) for share in tick_values(*value_range)]
    plot.ticks(x=[(1, "1"), (len(names), f"{len(names)}")], y=shares)
    plot.axis_titles(_("classes, the least covered first"))
    kept = np.unique(np.linspace(0, len(names) - 1, min(len(names), 200)).round().astype(int))
    x = plot.x(kept + 1).round(1)
    coverage, low, high = (plot.y(column).round(1) for column in np.array(points)[kept].T)
    plot.canvas.area(x, low, high, (ACCENT, 0.16))
    if others:
        y = plot.y([others.get(names[i], np.nan) for i in kept]).round(1)
        known = np.isfinite(y)
        plot.canvas.dots(x[known], y[known], MUTED, 1)
    plot.canvas.curve(x, coverage, ACCENT)
    at = float(plot.y(target))
    plot.canvas.lines([[(plot.left, at), (plot.right, at)]], MUTED, 1.2, DASHED)
    plot.canvas.write(plot.right, 11, _("target: {share}").format(share=percent_label(target)), MUTED, "end")
    return plot.canvas


def class_reliability(
    classes: Mapping[str, ClassCalibration], before: Mapping[str, ClassCalibration] | None = None
) -> Markup:
    """Draw how often pictures were of a class against its probability, a small figure a class.

    Args:
        classes: the calibration of each class; the first 12 are drawn.
        before: the same before calibration, drawn dashed.
    """
    drawn = [(name, measured) for name, measured in classes.items() if measured.reliability][:MULTIPLES]
    height = _TILE + 26
    canvas = Canvas(FULL, height * max(1, -(-len(drawn) // _COLUMNS)))
    for i, (name, measured) in enumerate(drawn):
        corner = _TILE * (i % _COLUMNS), height * (i // _COLUMNS)
        uncalibrated = (before or {}).get(name)
        _small_reliability(canvas, corner, name, measured, uncalibrated.reliability if uncalibrated else ())
    return canvas.to_svg(_("How often pictures were of a class, by its probability"))


def _small_reliability(
    canvas: Canvas, corner: tuple[float, float], name: str, measured: ClassCalibration, before: Sequence[Bin]
) -> None:
    left, right, top, bottom = corner[0] + 34, corner[0] + _TILE - 12, corner[1] + 30, corner[1] + _TILE - 16

    def pixels(x: Any, y: Any) -> tuple[Doubles, Doubles]:
        across, up = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        return left + across * (right - left), bottom - up * (bottom - top)

    canvas.lines([[(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]], LINE)
    canvas.curve(*pixels([0, 1], [0, 1]), MUTED, 1)
    for value, text in ((0, "0%"), (0.5, "50%"), (1, "100%")):
        at, up = pixels(value, value)
        canvas.write(float(at), bottom + 12, text, MUTED, "middle", 10.5)
        if value == 1:
            canvas.write(left - 4, float(up), text, MUTED, "end", 10.5)
    if before:
        confidence, accuracy, _low, _high = bin_columns(before)
        canvas.curve(*pixels(confidence, accuracy), MUTED, 1, DASHED)
        canvas.dots(*pixels(confidence, accuracy), MUTED, 1.3)
    confidence, accuracy, low, high = bin_columns(measured.reliability)
    ends = np.stack([pixels(confidence, low), pixels(confidence, high)])
    canvas.lines(ends.transpose(2, 0, 1), (ACCENT, 0.4), 3)
    canvas.curve(*pixels(confidence, accuracy), ACCENT, 1.5)
    canvas.dots(*pixels(confidence, accuracy), ACCENT, 2)
    error = localized(measured.ece * 100, ".1f") if measured.ece is not None else ""
    limit = max(6, int((right - left - text_width(error)) / 7.4) - 1)
    canvas.write(left, corner[1] + 17, shorten(name, limit))
    canvas.write(right, corner[1] + 17, error, MUTED, "end")
