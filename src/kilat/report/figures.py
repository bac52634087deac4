"""Measurements as figures: pictures per class, the learning curve, reliability."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from kilat.learn.measures import Bin
from kilat.locale import _, localized
from kilat.report.svg_canvas import (
    ACCENT,
    DASHED,
    MUTED,
    OPACITIES,
    SIDE,
    TEXT,
    Canvas,
    Plot,
    column_width,
    percent_label,
    short_names,
    shorten,
    spaced_apart,
    tick_values,
)
from kilat.runtime.array_types import Doubles

NAMED = 30
"""Up to this many classes a figure names every one; above, it shows the shape of the whole."""


def balance(names: Sequence[str], counts: Mapping[str, Sequence[int]]) -> Markup:
    """Draw how many pictures each class has, stacked by split.

    Args:
        names: the classes, in the order to show them.
        counts: for each split, under the name to show, one number per class.
    """
    stack = np.array(list(counts.values()), dtype=float).reshape(len(counts), len(names))
    draw = _balance_bars if len(names) <= NAMED else _balance_profile
    return draw(names, list(counts), stack).to_svg(_("Pictures per class"))


def _balance_bars(names: Sequence[str], splits: Sequence[str], stack: Doubles) -> Canvas:
    labels = short_names(names)
    left, row, top = column_width(labels), 27, 34
    canvas = Canvas(SIDE, top + row * len(names))
    totals = stack.sum(axis=0)
    scale = (SIDE - left - column_width([localized(totals.max(), ",.0f")])) / max(totals.max(), 1)
    edges = left + np.vstack([np.zeros(len(names)), stack.cumsum(axis=0)]) * scale
    rows = top + row * np.arange(len(names))
    canvas.legend(splits, left)
    for split, values, opacity, start, end in zip(splits, stack, OPACITIES, edges, edges[1:], strict=False):
        titles = [f"{name}, {split}: {localized(value, ',.0f')}" for name, value in zip(names, values, strict=True)]
        canvas.boxes(start, rows + 4, end - start, row - 8, [(ACCENT, opacity)], titles)
    for label, y, total, end in zip(labels, rows + row / 2, totals, edges[-1], strict=True):
        canvas.write(left - 9, y, label, align="end")
        canvas.write(end + 7, y, localized(total, ",.0f"), MUTED)
    return canvas


def _balance_profile(names: Sequence[str], splits: Sequence[str], stack: Doubles) -> Canvas:
    """Draw bars without names, the largest class first, for many classes."""
    order = np.argsort(-stack.sum(axis=0), kind="stable")
    order = order[np.linspace(0, len(order) - 1, min(len(order), 200)).astype(int)]  # a bar is two pixels wide or more
    tops = np.vstack([np.zeros(len(order)), stack[:, order].cumsum(axis=0)])
    plot = Plot(SIDE, 260, (0, len(names)), (0, max(tops.max(), 1)))
    counts = tick_values(0, tops.max())
    plot.ticks(x=[(1, "1"), (len(names), localized(len(names), ","))], y=[(n, localized(n, ",.0f")) for n in counts])
    plot.axis_titles(_("classes, the largest first"))
    plot.canvas.legend(splits, plot.left)
    x = plot.x(np.repeat(np.linspace(0, len(names), len(order) + 1), 2)[1:-1])
    for opacity, low, high in zip(OPACITIES, tops, tops[1:], strict=False):
        plot.canvas.area(x, plot.y(np.repeat(low, 2)), plot.y(np.repeat(high, 2)), (ACCENT, opacity))
    return plot.canvas


def learning_curve(
    pictures: Sequence[int], accuracy: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> Markup:
    """Draw accuracy against the number of training pictures (every doubling is the same step), with intervals."""
    doublings = np.log2(np.maximum(np.asarray(pictures, dtype=float), 1))
    margin = max((max(high) - min(low)) * 0.08, 0.005)
    span = max(float(np.ptp(doublings)), 1.0)
    x_range = (float(doublings.min()) - span * 0.04, float(doublings.min()) + span)
    y_range = (min(low) - margin, min(max(high) + margin, 1.0))
    plot = Plot(SIDE, 290, x_range, y_range, top=14)
    x, y = plot.x(doublings), plot.y(accuracy)
    labelled = spaced_apart(x, 46)
    plot.ticks(
        x=[(doublings[i], localized(pictures[i], ",")) for i in labelled],
        y=[(share, percent_label(share)) for share in tick_values(*y_range)],
    )
    plot.axis_titles(_("training pictures"))
    plot.canvas.area(x, plot.y(low), plot.y(high), (ACCENT, 0.16))
    plot.canvas.curve(x, y, ACCENT)
    plot.canvas.dots(
        x,
        y,
        ACCENT,
        titles=[f"{localized(n, ',')}: {localized(share, '.1%')}" for n, share in zip(pictures, accuracy, strict=True)],
    )
    return plot.canvas.to_svg(_("Accuracy against the number of training pictures"))


def reliability(bins: Sequence[Bin], before: Sequence[Bin] = ()) -> Markup:
    """Draw how often predictions were right (with 95% intervals) against their probability.

    Args:
        bins: of calibrated probabilities; empty ones are left out.
        before: the same before calibration, where it is known.
    """
    plot = Plot(400, 372, (0, 1), (0, 1), left=62, top=14)
    fifths = [(s / 5, localized(s / 5, ".0%")) for s in range(6)]
    plot.ticks(x=fifths, y=fifths)
    plot.axis_titles(_("probability of the answer"), _("share that was right"))
    plot.canvas.lines([np.column_stack([plot.x([0, 1]), plot.y([0, 1])])], MUTED)
    if before:
        confidence, accuracy, _low, _high = bin_columns(before)
        x, y = plot.x(confidence), plot.y(accuracy)
        plot.canvas.curve(x, y, MUTED, 1.2, "4 3")
        plot.canvas.dots(x, y, MUTED, 2)
    confidence, accuracy, low, high = bin_columns(bins)
    x, y = plot.x(confidence), plot.y(accuracy)
    plot.canvas.lines(np.stack([[x, plot.y(low)], [x, plot.y(high)]]).transpose(2, 0, 1), (ACCENT, 0.4), 4)
    plot.canvas.curve(x, y, ACCENT)
    plot.canvas.dots(x, y, ACCENT)
    return plot.canvas.to_svg(_("How often answers were right, by their probability"))


def bin_columns(bins: Sequence[Bin]) -> Doubles:
    """Return confidence, accuracy, and the ends of its interval of the bins that hold pictures, ``[4, bins]``."""
    rows = [(b.confidence, b.accuracy, *b.accuracy_interval) for b in bins if b.accuracy_interval]
    return np.array(rows, dtype=float).reshape(-1, 4).T


def accuracy_bar(
    accuracy: float, interval: tuple[float, float] | None, baseline_label: str, baseline: float | None
) -> Markup:
    """Draw an accuracy as a bar from 0 to 100%, with its 95% interval, and the baseline as a mark across it.

    Args:
        accuracy: the share that was right.
        interval: its 95% interval.
        baseline_label: the class that the baseline always answers.
        baseline: the share for which it would be right.
    """
    left, right, top, height = 2.0, SIDE - 2.0, 4.0, 20.0
    canvas, width = Canvas(SIDE, 50 if baseline is None else 74), right - left
    middle, bottom = top + height / 2, top + height
    canvas.boxes(left, top, width, height, [(ACCENT, 0.12)])
    canvas.boxes(left, top, width * accuracy, height, [ACCENT])
    if interval:
        low, high = (left + width * end for end in interval)
        canvas.lines([[(low, middle), (high, middle)]], TEXT, 2)
        canvas.lines([[(at, middle - 5), (at, middle + 5)] for at in (low, high)], TEXT, 2)
    covered = baseline if baseline is not None else math.nan  # no number where the mark of the baseline passes
    for share in (one for one in (0.0, 0.5, 1.0) if not abs(one - covered) < 0.06):
        align = {0.0: "start", 1.0: "end"}.get(share, "middle")
        canvas.write(left + width * share, bottom + 13, localized(share, ".0%"), MUTED, align)
    if baseline is not None:
        at = left + width * baseline
        canvas.lines([[(at, top - 3), (at, bottom + 28)]], TEXT, 1.5, DASHED)
        label = _("always “{label}”: {share:.1%}").format(label=shorten(baseline_label), share=baseline)
        align = "start" if baseline < 0.5 else "end"
        canvas.write(at + (6 if align == "start" else -6), bottom + 34, label, MUTED, align)
    return canvas.to_svg(_("Accuracy {accuracy:.1%}, between 0 and 100%").format(accuracy=accuracy))
