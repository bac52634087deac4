"""How far answers can be trusted, as figures: sizes and coverage of prediction sets, calibration class by class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from kilat.locale import _
from kilat.report.figures import NAMED
from kilat.report.svg_canvas import (
    ACCENT,
    FULL,
    LINE,
    MUTED,
    SIDE,
    Floats,
    Plot,
    boxes,
    room,
    round_steps,
    sheet,
    shorten,
    text_width,
    to_svg,
    write,
)

MULTIPLES = 12
"""So many classes have a small figure of their own."""

_ROWS_OF_SIZES = 8
_ACROSS = 4
_TILE = FULL / _ACROSS


def sizes(counts: Sequence[int]) -> Markup:
    """How often prediction sets have no class, one, two, and so on.

    Args:
        counts: how many sets have 0, 1, 2... classes; large sizes share the last bar.
    """
    bars = _bars_of_sizes(counts)
    labels, total = list(bars), max(sum(counts), 1)
    left, row = room(labels), 27
    axes = sheet(SIDE, row * len(bars) + 6)
    values = np.array(list(bars.values()), dtype=float)
    notes = [f"{value:,.0f} ({value / total:.1%})" for value in values]
    scale = (SIDE - left - room(notes)) / max(values.max(), 1)
    tops = 3 + row * np.arange(len(bars))
    boxes(axes, left, tops + 4, values * scale, row - 8, [(ACCENT, 0.9)])
    for label, note, end, y in zip(labels, notes, left + values * scale, tops + row / 2, strict=True):
        write(axes, left - 9, y, label, ha="right")
        write(axes, end + 7, y, note, color=MUTED)
    return to_svg(axes, "set-sizes", _("How many classes prediction sets have"))


def _bars_of_sizes(counts: Sequence[int]) -> dict[str, int]:
    """The sets of every size from 1 on, the empty ones where there are any; many sizes are drawn together."""
    shown = [*counts, *[0] * (2 - len(counts))]
    bars = {_size_name(size): number for size, number in enumerate(shown[: _ROWS_OF_SIZES + 1]) if size or number}
    if rest := shown[_ROWS_OF_SIZES + 1 :]:
        first = _ROWS_OF_SIZES + 1
        bars[_("{first} to {last} classes").format(first=first, last=first + len(rest) - 1)] = sum(rest)
    return bars


def _size_name(size: int) -> str:
    if size == 0:
        return _("no class")
    return _("1 class") if size == 1 else _("{n} classes").format(n=size)


def per_class_coverage(
    per_class: Mapping[str, Mapping[str, Any]], asked: float, before: Mapping[str, Mapping[str, Any]] | None = None
) -> Markup:
    """How often the sets of each class's pictures hold it, with 95% intervals, against what was asked.

    Args:
        per_class: ``coverage``, ``coverage_interval`` and ``n`` for each class; classes without a picture are left out.
        asked: the coverage that was asked for.
        before: the same of other sets to compare with, shown as rings.
    """
    measured = {name: of for name, of in per_class.items() if of.get("n")}
    others = {name: of["coverage"] for name, of in (before or {}).items() if of.get("n") and name in measured}
    order = sorted(measured, key=lambda name: (measured[name]["coverage"], name))
    lowest = min([asked, *(of["coverage_interval"][0] for of in measured.values()), *others.values()])
    reach = (max(0.0, np.floor(lowest * 20 - 0.2) / 20), 1.0)
    draw = _coverage_rows if len(measured) <= NAMED else _coverage_shape
    axes = draw(order, measured, others, asked, reach)
    return to_svg(axes, "class-coverage", _("How often the set holds the right class, class by class"))


def _coverage_rows(
    names: list[str],
    measured: Mapping[str, Mapping[str, Any]],
    others: Mapping[str, float],
    asked: float,
    reach: tuple[float, float],
) -> Axes:
    labels, row, top = [shorten(name) for name in names], 27, 30
    notes = [f"{measured[name]['coverage']:.1%}" for name in names]
    left, right, bottom = room([*labels, ""]), SIDE - room([*notes, ""]), top + row * len(names)
    axes = sheet(SIDE, bottom + 30)

    def x(values: Any) -> Floats:
        return left + (np.asarray(values, dtype=float) - reach[0]) / (reach[1] - reach[0]) * (right - left)

    steps = round_steps(*reach)
    _lines(axes, [[(at, top), (at, bottom)] for at in x(steps)], LINE)
    for value, at in zip(steps, x(steps), strict=True):
        write(axes, at, bottom + 15, _percent(value), color=MUTED, ha="center")
    y = top + row * (np.arange(len(names)) + 0.5)
    _asked_line(axes, [(float(x(asked)), top - 6), (float(x(asked)), bottom)])
    write(axes, float(x(asked)), 11, _("target: {share}").format(share=_percent(asked)), color=MUTED, ha="center")
    spans = [x(measured[name]["coverage_interval"]) for name in names]
    bars = [[(low, at), (high, at)] for (low, high), at in zip(spans, y, strict=True)]
    _lines(axes, bars, (ACCENT, 0.4), 4)
    for name, at in zip(names, y, strict=True):
        if name in others:
            axes.plot(x([others[name]]), [at], "o", markersize=6, markerfacecolor="none", markeredgecolor=MUTED)
    axes.plot(x([measured[name]["coverage"] for name in names]), y, "o", color=ACCENT, markersize=6)
    for label, note, at in zip(labels, notes, y, strict=True):
        write(axes, left - 9, at, label, ha="right")
        write(axes, right + 9, at, note, color=MUTED)
    return axes


def _coverage_shape(
    names: list[str],
    measured: Mapping[str, Mapping[str, Any]],
    others: Mapping[str, float],
    asked: float,
    reach: tuple[float, float],
) -> Axes:
    """Without names, the least covered class first: with many classes the shape is what one can see."""
    plot = Plot(SIDE, 260, (0.5, len(names) + 0.5), reach, top=26)
    plot.marks(x=[(1, "1"), (len(names), f"{len(names)}")], y=[(s, _percent(s)) for s in round_steps(*reach)])
    plot.titles(_("classes, the least covered first"))
    kept = np.unique(np.linspace(0, len(names) - 1, min(len(names), 200)).round().astype(int))
    chosen, x = [names[i] for i in kept], plot.x(kept + 1).round(1)
    low, high = (plot.y([measured[name]["coverage_interval"][end] for name in chosen]).round(1) for end in (0, 1))
    plot.axes.fill_between(x, low, high, color=(ACCENT, 0.16), linewidth=0)
    if others:
        y = plot.y([others.get(name, np.nan) for name in chosen]).round(1)
        plot.axes.plot(x, y, ".", color=MUTED, markersize=3)
    plot.axes.plot(x, plot.y([measured[name]["coverage"] for name in chosen]).round(1), color=ACCENT, linewidth=2)
    at = float(plot.y(asked))
    _asked_line(plot.axes, [(plot.left, at), (plot.right, at)])
    write(plot.axes, plot.right, 11, _("target: {share}").format(share=_percent(asked)), color=MUTED, ha="right")
    return plot.axes


def reliability_small_multiples(
    per_class: Mapping[str, Mapping[str, Any]], before: Mapping[str, Mapping[str, Any]] | None = None
) -> Markup:
    """How often pictures were of a class against how probable that was said to be, a small figure a class.

    Args:
        per_class: ``reliability`` and ``ece`` of each class, as `measure` has them; the first 12 are drawn, so put
            those first that are to be seen.
        before: the same before calibration, drawn dashed.
    """
    names = [name for name, of in per_class.items() if of.get("reliability")][:MULTIPLES]
    height = _TILE + 26
    axes = sheet(FULL, height * max(1, -(-len(names) // _ACROSS)))
    for i, name in enumerate(names):
        corner = _TILE * (i % _ACROSS), height * (i // _ACROSS)
        earlier = (before or {}).get(name) or {}
        _small_reliability(axes, corner, name, per_class[name], earlier.get("reliability") or ())
    return to_svg(
        axes, "class-reliability", _("How often pictures were of a class, by how probable that was said to be")
    )


def _small_reliability(
    axes: Axes, corner: tuple[float, float], name: str, of: Mapping[str, Any], before: Sequence[Mapping[str, Any]]
) -> None:
    left, right, top, bottom = corner[0] + 34, corner[0] + _TILE - 12, corner[1] + 30, corner[1] + _TILE - 16

    def place(x: Any, y: Any) -> tuple[Floats, Floats]:
        across, up = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        return left + across * (right - left), bottom - up * (bottom - top)

    frame = [[(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]]
    _lines(axes, frame, LINE)
    axes.plot(*place([0, 1], [0, 1]), color=MUTED, linewidth=1)
    for value, text in ((0, "0%"), (0.5, "50%"), (1, "100%")):
        at, up = place(value, value)
        write(axes, float(at), bottom + 12, text, color=MUTED, ha="center", fontsize=10.5)
        if value == 1:
            write(axes, left - 4, float(up), text, color=MUTED, ha="right", fontsize=10.5)
    if before:
        axes.plot(*_points(place, before), "o--", color=MUTED, linewidth=1, markersize=2.5)
    bins = of["reliability"]
    spans = [place([b["confidence"]] * 2, b["accuracy_interval"]) for b in bins]
    _lines(axes, [list(zip(x, y, strict=True)) for x, y in spans], (ACCENT, 0.4), 3)
    axes.plot(*_points(place, bins), "o-", color=ACCENT, linewidth=1.5, markersize=4)
    error = f"{of['ece'] * 100:.1f}" if of.get("ece") is not None else ""
    limit = max(6, int((right - left - text_width(error)) / 7.4) - 1)
    write(axes, left, corner[1] + 17, shorten(name, limit))
    write(axes, right, corner[1] + 17, error, color=MUTED, ha="right")


def _points(place: Any, bins: Sequence[Mapping[str, Any]]) -> tuple[Floats, Floats]:
    x, y = place([b["confidence"] for b in bins], [b["accuracy"] for b in bins])
    return x, y


def _lines(axes: Axes, lines: Sequence[Any], colour: Any, width: float = 1) -> None:
    axes.add_collection(LineCollection(lines, colors=[colour], linewidths=width), autolim=False)


def _asked_line(axes: Axes, line: list[tuple[float, float]]) -> None:
    collection = LineCollection([line], colors=MUTED, linewidths=1.2, linestyles=[(0, (4, 3))])
    axes.add_collection(collection, autolim=False)


def _percent(share: float) -> str:
    digits = 0 if abs(share * 100 - round(share * 100)) < 1e-6 else 1
    return f"{share:.{digits}%}"
