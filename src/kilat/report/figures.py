"""What was measured becomes figures: pictures per class, the learning curve, confusion, reliability."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import ArrayLike

from kilat.evaluate.metrics import wilson_interval
from kilat.locale import _
from kilat.report.svg_canvas import (
    ACCENT,
    FONT,
    FULL,
    LINE,
    MUTED,
    ON_ACCENT,
    SIDE,
    TEXT,
    TONES,
    Floats,
    Plot,
    apart,
    boxes,
    legend,
    room,
    round_steps,
    sheet,
    shorten,
    text_width,
    to_svg,
    write,
)

NAMED = 30
"""Up to this many classes a figure names every one; above, it shows the shape of the whole."""

_IMAGE_RGB = (0.29, 0.50, 0.75)  # pixels know no CSS: a tone that stands out on white and on black


def balance(names: Sequence[str], counts: Mapping[str, Sequence[int]]) -> Markup:
    """How many pictures each class has, stacked by split.

    Args:
        names: the classes, in the order to show them.
        counts: for each split, under the name to show, one number per class.
    """
    stack = np.array(list(counts.values()), dtype=float).reshape(len(counts), len(names))
    draw = _balance_bars if len(names) <= NAMED else _balance_shape
    return to_svg(draw(names, list(counts), stack), "balance", _("Pictures per class"))


def _balance_bars(names: Sequence[str], splits: Sequence[str], stack: Floats) -> Axes:
    labels = [shorten(name) for name in names]
    left, row, top = room(labels), 27, 34
    axes = sheet(SIDE, top + row * len(names))
    totals = stack.sum(axis=0)
    scale = (SIDE - left - room([f"{totals.max():,.0f}"])) / max(totals.max(), 1)
    edges = left + np.vstack([np.zeros(len(names)), stack.cumsum(axis=0)]) * scale
    rows = top + row * np.arange(len(names))
    legend(axes, splits, left)
    for tone, start, end in zip(TONES, edges, edges[1:], strict=False):
        boxes(axes, start, rows + 4, end - start, row - 8, [(ACCENT, tone)])
    for label, y, total, end in zip(labels, rows + row / 2, totals, edges[-1], strict=True):
        write(axes, left - 9, y, label, ha="right")
        write(axes, end + 7, y, f"{total:,.0f}", color=MUTED)
    return axes


def _balance_shape(names: Sequence[str], splits: Sequence[str], stack: Floats) -> Axes:
    """Bars without names, the largest class first: with many classes the shape is what one can see."""
    order = np.argsort(-stack.sum(axis=0), kind="stable")
    order = order[np.linspace(0, len(order) - 1, min(len(order), 200)).astype(int)]  # a bar is two pixels wide or more
    tops = np.vstack([np.zeros(len(order)), stack[:, order].cumsum(axis=0)])
    plot = Plot(SIDE, 260, (0, len(names)), (0, max(tops.max(), 1)))
    steps = round_steps(0, tops.max())
    plot.marks(x=[(1, "1"), (len(names), f"{len(names)}")], y=[(s, f"{s:,.0f}") for s in steps])
    plot.titles(_("classes, the largest first"))
    legend(plot.axes, splits, plot.left)
    x = plot.x(np.repeat(np.linspace(0, len(names), len(order) + 1), 2)[1:-1]).round(1)
    for tone, low, high in zip(TONES, tops, tops[1:], strict=False):
        edges = plot.y(np.repeat(low, 2)).round(1), plot.y(np.repeat(high, 2)).round(1)
        plot.axes.fill_between(x, *edges, color=(ACCENT, tone), linewidth=0)
    return plot.axes


def curve(pictures: Sequence[int], accuracy: Sequence[float], low: Sequence[float], high: Sequence[float]) -> Markup:
    """Accuracy against the number of pictures learned from (every doubling is the same step), with intervals."""
    counts = np.log2(np.maximum(np.asarray(pictures, dtype=float), 1))
    margin = max((max(high) - min(low)) * 0.08, 0.005)
    span = max(float(np.ptp(counts)), 1.0)
    reach = (float(counts.min()) - span * 0.04, float(counts.min()) + span)
    plot = Plot(SIDE, 290, reach, (min(low) - margin, min(max(high) + margin, 1.0)), top=14)
    steps = round_steps(min(low) - margin, min(max(high) + margin, 1.0))
    digits = 0 if all(abs(s * 100 - round(s * 100)) < 1e-6 for s in steps) else 1
    x = plot.x(counts)
    shown = apart(x, 46)
    plot.marks(x=[(counts[i], f"{pictures[i]:,}") for i in shown], y=[(s, f"{s:.{digits}%}") for s in steps])
    plot.titles(_("pictures learned from"))
    plot.axes.fill_between(x, plot.y(low), plot.y(high), color=(ACCENT, 0.16), linewidth=0)
    plot.axes.plot(x, plot.y(accuracy), "o-", color=ACCENT, linewidth=2, markersize=6)
    return to_svg(plot.axes, "curve", _("Accuracy against the number of pictures learned from"))


def confusion(names: Sequence[str], matrix: ArrayLike) -> Markup:
    """Truth in rows, answers in columns; the tone of a cell is its share of the row. Many classes become an image."""
    counts = np.asarray(matrix, dtype=float)
    # The square root lets a mistake of one in a hundred still be seen.
    tones = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    axes = _confusion_cells(names, counts, tones) if len(names) <= NAMED else _confusion_image(tones)
    return to_svg(axes, "confusion", _("Confusion matrix: rows are the truth, columns the answers"))


def _confusion_cells(names: Sequence[str], counts: Floats, tones: Floats) -> Axes:
    """Only cells that hold something are drawn: the matrix of a good classifier is mostly empty."""
    labels = [shorten(name, 18) for name in names]
    left, few = room([*labels, _("truth ↓")]), len(names) <= 8
    width = min(((SIDE if few else FULL) - left - 2) / len(names), 90.0)
    height = min(width, 46.0) if few else width
    longest = max(text_width(label) for label in labels)
    upright = longest > width - 3
    top = 26 + (longest + 10 if upright else 24)
    axes = sheet(SIDE if few else FULL, top + height * len(names) + 2)
    write(axes, left, 9, _("answer →"), color=MUTED)
    write(axes, left - 9, top - 14, _("truth ↓"), color=MUTED, ha="right")
    turn: dict[str, Any] = {"rotation": 90, "rotation_mode": "anchor"} if upright else {"ha": "center"}
    for i, label in enumerate(labels):
        write(axes, left - 9, top + (i + 0.5) * height, label, ha="right")
        write(axes, left + (i + 0.5) * width, top - (8 if upright else 14), label, **turn)
    right, bottom, steps = left + width * len(names), top + height * len(names), np.arange(len(names) + 1)
    lines = [[(left, y), (right, y)] for y in top + height * steps]
    lines += [[(x, top), (x, bottom)] for x in left + width * steps]
    axes.add_collection(LineCollection(lines, colors=LINE, linewidths=1), autolim=False)
    row, column = np.nonzero(counts)
    colours = [(ACCENT, round(0.06 + 0.9 * float(tone), 2)) for tone in tones[row, column]]
    boxes(axes, left + column * width + 1, top + row * height + 1, width - 2, height - 2, colours)
    size = min(FONT, 1.5 * width / len(f"{counts.max():.0f}"), 0.62 * height)
    for r, c in zip(row, column, strict=True):
        ink = ON_ACCENT if tones[r, c] > 0.6 else TEXT
        centre = left + (c + 0.5) * width, top + (r + 0.5) * height
        write(axes, *centre, f"{counts[r, c]:.0f}", color=ink, ha="center", fontsize=size)
    return axes


def _confusion_image(tones: Floats) -> Axes:
    plot = Plot(SIDE, SIDE, (0, len(tones)), (len(tones), 0), left=34, top=26)
    # Pixels smaller than the screen's would be lost: of a block of them, the strongest stays.
    block = math.ceil(len(tones) / 400)
    padded = np.pad(tones, (0, -len(tones) % block))
    side = len(padded) // block
    pixels = np.empty((side, side, 4))
    pixels[..., :3] = _IMAGE_RGB
    pixels[..., 3] = padded.reshape(side, block, side, block).max(axis=(1, 3))
    left, right, top, bottom = *plot.x([0, len(tones)]), *plot.y([0, len(tones)])
    plot.axes.imshow(pixels, extent=(left, right, bottom, top), interpolation="none", aspect="auto")
    frame = [[(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]]
    plot.axes.add_collection(LineCollection(frame, colors=LINE, linewidths=1), autolim=False)
    write(plot.axes, left, 12, _("answer →"), color=MUTED)
    write(plot.axes, 12, top, _("← truth"), color=MUTED, ha="right", rotation=90, rotation_mode="anchor")
    return plot.axes


def reliability(bins: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]] = ()) -> Markup:
    """How often answers were right (with 95% intervals) against how probable they were said to be.

    Args:
        bins: rows with ``n``, ``confidence`` and ``accuracy``; empty ones are left out.
        before: the same before calibration, where it is known.
    """
    plot = Plot(400, 372, (0, 1), (0, 1), left=62, top=14)
    steps = [(s / 5, f"{s / 5:.0%}") for s in range(6)]
    plot.marks(x=steps, y=steps)
    plot.titles(_("how probable the answer was said to be"), _("how often it was right"))
    plot.axes.plot(plot.x([0, 1]), plot.y([0, 1]), color=MUTED, linewidth=1)
    if earlier := [b for b in before if b.get("n")]:
        x, y = plot.x([b["confidence"] for b in earlier]), plot.y([b["accuracy"] for b in earlier])
        plot.axes.plot(x, y, "o--", color=MUTED, linewidth=1.2, markersize=4)
    if later := [b for b in bins if b.get("n")]:
        x, y = plot.x([b["confidence"] for b in later]), plot.y([b["accuracy"] for b in later])
        reach = [plot.y(wilson_interval(round(b["accuracy"] * b["n"]), b["n"]) or [0, 1]) for b in later]
        bars = [[(at, low), (at, high)] for at, (low, high) in zip(x, reach, strict=True)]
        plot.axes.add_collection(LineCollection(bars, colors=[(ACCENT, 0.4)], linewidths=4), autolim=False)
        plot.axes.plot(x, y, "o-", color=ACCENT, linewidth=2, markersize=6)
    return to_svg(plot.axes, "reliability", _("How often answers were right, by how probable they were said to be"))
