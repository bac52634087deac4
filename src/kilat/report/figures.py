"""Measurements as figures: pictures per class, the learning curve, the confusion matrix, reliability."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from kilat.learn.measures import Bin
from kilat.locale import _
from kilat.report.svg_canvas import (
    ACCENT,
    FONT_SIZE,
    FULL,
    LINE,
    MUTED,
    ON_ACCENT,
    OPACITIES,
    SIDE,
    TEXT,
    Plot,
    column_width,
    draw_boxes,
    draw_lines,
    legend,
    new_canvas,
    shorten,
    spaced_apart,
    text_width,
    tick_values,
    to_svg,
    write,
)
from kilat.runtime.array_types import Doubles

NAMED = 30
"""Up to this many classes a figure names every one; above, it shows the shape of the whole."""

_IMAGE_RGB = (0.29, 0.50, 0.75)  # pixels know no CSS: a colour that stands out on white and on black


def balance(names: Sequence[str], counts: Mapping[str, Sequence[int]]) -> Markup:
    """Draw how many pictures each class has, stacked by split.

    Args:
        names: the classes, in the order to show them.
        counts: for each split, under the name to show, one number per class.
    """
    stack = np.array(list(counts.values()), dtype=float).reshape(len(counts), len(names))
    draw = _balance_bars if len(names) <= NAMED else _balance_profile
    return to_svg(draw(names, list(counts), stack), "balance", _("Pictures per class"))


def _balance_bars(names: Sequence[str], splits: Sequence[str], stack: Doubles) -> Axes:
    labels = [shorten(name) for name in names]
    left, row, top = column_width(labels), 27, 34
    axes = new_canvas(SIDE, top + row * len(names))
    totals = stack.sum(axis=0)
    scale = (SIDE - left - column_width([f"{totals.max():,.0f}"])) / max(totals.max(), 1)
    edges = left + np.vstack([np.zeros(len(names)), stack.cumsum(axis=0)]) * scale
    rows = top + row * np.arange(len(names))
    legend(axes, splits, left)
    for opacity, start, end in zip(OPACITIES, edges, edges[1:], strict=False):
        draw_boxes(axes, start, rows + 4, end - start, row - 8, [(ACCENT, opacity)])
    for label, y, total, end in zip(labels, rows + row / 2, totals, edges[-1], strict=True):
        write(axes, left - 9, y, label, ha="right")
        write(axes, end + 7, y, f"{total:,.0f}", color=MUTED)
    return axes


def _balance_profile(names: Sequence[str], splits: Sequence[str], stack: Doubles) -> Axes:
    """Draw bars without names, the largest class first, for many classes."""
    order = np.argsort(-stack.sum(axis=0), kind="stable")
    order = order[np.linspace(0, len(order) - 1, min(len(order), 200)).astype(int)]  # a bar is two pixels wide or more
    tops = np.vstack([np.zeros(len(order)), stack[:, order].cumsum(axis=0)])
    plot = Plot(SIDE, 260, (0, len(names)), (0, max(tops.max(), 1)))
    counts = tick_values(0, tops.max())
    plot.ticks(x=[(1, "1"), (len(names), f"{len(names)}")], y=[(n, f"{n:,.0f}") for n in counts])
    plot.axis_titles(_("classes, the largest first"))
    legend(plot.axes, splits, plot.left)
    x = plot.x(np.repeat(np.linspace(0, len(names), len(order) + 1), 2)[1:-1]).round(1)
    for opacity, low, high in zip(OPACITIES, tops, tops[1:], strict=False):
        edges = plot.y(np.repeat(low, 2)).round(1), plot.y(np.repeat(high, 2)).round(1)
        plot.axes.fill_between(x, *edges, color=(ACCENT, opacity), linewidth=0)
    return plot.axes


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
    shares = tick_values(*y_range)
    digits = 0 if all(abs(s * 100 - round(s * 100)) < 1e-6 for s in shares) else 1
    x = plot.x(doublings)
    labelled = spaced_apart(x, 46)
    plot.ticks(x=[(doublings[i], f"{pictures[i]:,}") for i in labelled], y=[(s, f"{s:.{digits}%}") for s in shares])
    plot.axis_titles(_("training pictures"))
    plot.axes.fill_between(x, plot.y(low), plot.y(high), color=(ACCENT, 0.16), linewidth=0)
    plot.axes.plot(x, plot.y(accuracy), "o-", color=ACCENT, linewidth=2, markersize=6)
    return to_svg(plot.axes, "curve", _("Accuracy against the number of training pictures"))


def confusion(names: Sequence[str], matrix: ArrayLike) -> Markup:
    """Draw truth in rows, predictions in columns; the opacity of a cell is its share of the row."""
    counts = np.asarray(matrix, dtype=float)
    # The square root lets a mistake of one in a hundred still be seen.
    opacities = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    axes = _confusion_cells(names, counts, opacities) if len(names) <= NAMED else _confusion_image(opacities)
    return to_svg(axes, "confusion", _("Confusion matrix: rows are the true classes, columns the predicted ones"))


def _confusion_cells(names: Sequence[str], counts: Doubles, opacities: Doubles) -> Axes:
    """Draw only cells that hold something: the matrix of a good classifier is mostly empty."""
    labels = [shorten(name, 18) for name in names]
    left, is_small = column_width([*labels, _("truth ↓")]), len(names) <= 8
    width = min(((SIDE if is_small else FULL) - left - 2) / len(names), 90.0)
    height = min(width, 46.0) if is_small else width
    longest = max(text_width(label) for label in labels)
    is_upright = longest > width - 3
    top = 26 + (longest + 10 if is_upright else 24)
    axes = new_canvas(SIDE if is_small else FULL, top + height * len(names) + 2)
    write(axes, left, 9, _("predicted →"), color=MUTED)
    write(axes, left - 9, top - 14, _("truth ↓"), color=MUTED, ha="right")
    style: dict[str, Any] = {"rotation": 90, "rotation_mode": "anchor"} if is_upright else {"ha": "center"}
    for i, label in enumerate(labels):
        write(axes, left - 9, top + (i + 0.5) * height, label, ha="right")
        write(axes, left + (i + 0.5) * width, top - (8 if is_upright else 14), label, **style)
    right, bottom, edges = left + width * len(names), top + height * len(names), np.arange(len(names) + 1)
    lines = [[(left, y), (right, y)] for y in top + height * edges]
    lines += [[(x, top), (x, bottom)] for x in left + width * edges]
    draw_lines(axes, lines, LINE)
    row, column = np.nonzero(counts)
    colours = [(ACCENT, round(0.06 + 0.9 * float(opacity), 2)) for opacity in opacities[row, column]]
    draw_boxes(axes, left + column * width + 1, top + row * height + 1, width - 2, height - 2, colours)
    size = min(FONT_SIZE, 1.5 * width / len(f"{counts.max():.0f}"), 0.62 * height)
    for r, c in zip(row, column, strict=True):
        colour = ON_ACCENT if opacities[r, c] > 0.6 else TEXT
        centre = left + (c + 0.5) * width, top + (r + 0.5) * height
        write(axes, *centre, f"{counts[r, c]:.0f}", color=colour, ha="center", fontsize=size)
    return axes


def _confusion_image(opacities: Doubles) -> Axes:
    """Draw a cell as a pixel, for many classes."""
    n = len(opacities)
    plot = Plot(SIDE, SIDE, (0, n), (n, 0), left=34, top=26)
    # Pixels smaller than the screen's would be lost: of a block of them, the strongest stays.
    block = math.ceil(n / 400)
    padded = np.pad(opacities, (0, -n % block))
    side = len(padded) // block
    pixels = np.empty((side, side, 4))
    pixels[..., :3] = _IMAGE_RGB
    pixels[..., 3] = padded.reshape(side, block, side, block).max(axis=(1, 3))
    left, right, top, bottom = *plot.x([0, n]), *plot.y([0, n])
    plot.axes.imshow(pixels, extent=(left, right, bottom, top), interpolation="none", aspect="auto")
    draw_lines(plot.axes, [[(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]], LINE)
    write(plot.axes, left, 12, _("predicted →"), color=MUTED)
    write(plot.axes, 12, top, _("← truth"), color=MUTED, ha="right", rotation=90, rotation_mode="anchor")
    return plot.axes


def reliability(bins: Sequence[Bin], before: Sequence[Bin] = ()) -> Markup:
    """Draw how often predictions were right (with 95% intervals) against their probability.

    Args:
        bins: of calibrated probabilities; empty ones are left out.
        before: the same before calibration, where it is known.
    """
    plot = Plot(400, 372, (0, 1), (0, 1), left=62, top=14)
    fifths = [(s / 5, f"{s / 5:.0%}") for s in range(6)]
    plot.ticks(x=fifths, y=fifths)
    plot.axis_titles(_("probability of the prediction"), _("share that was right"))
    plot.axes.plot(plot.x([0, 1]), plot.y([0, 1]), color=MUTED, linewidth=1)
    if before:
        confidence, accuracy, _low, _high = bin_columns(before)
        plot.axes.plot(plot.x(confidence), plot.y(accuracy), "o--", color=MUTED, linewidth=1.2, markersize=4)
    confidence, accuracy, low, high = bin_columns(bins)
    x, y = plot.x(confidence), plot.y(accuracy)
    draw_lines(plot.axes, np.stack([[x, plot.y(low)], [x, plot.y(high)]]).transpose(2, 0, 1), (ACCENT, 0.4), 4)
    plot.axes.plot(x, y, "o-", color=ACCENT, linewidth=2, markersize=6)
    return to_svg(plot.axes, "reliability", _("How often predictions were right, by their probability"))


def bin_columns(bins: Sequence[Bin]) -> Doubles:
    """Return confidence, accuracy, and the ends of its interval of the bins that hold pictures, ``[4, bins]``."""
    rows = [(b.confidence, b.accuracy, *b.accuracy_interval) for b in bins if b.accuracy_interval]
    return np.array(rows, dtype=float).reshape(-1, 4).T
