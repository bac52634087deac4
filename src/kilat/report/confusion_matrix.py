"""The confusion matrix as a figure: names on both axes, a cell for every count, its share when it is pointed at."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike

from kilat.locale import _, localized, ngettext
from kilat.report.svg_canvas import (
    ACCENT,
    FONT_SIZE,
    FULL,
    LINE,
    MUTED,
    ON_ACCENT,
    SIDE,
    TEXT,
    Canvas,
    column_width,
    short_names,
    text_width,
)
from kilat.runtime.array_types import Doubles, Ints

MOST = 20
"""So many classes are drawn openly; where there are more, those that are confused most, the others taken together."""

_BESIDE_TEXT = 8  # up to so many classes there is room for a table beside it
_TITLED = 1500  # so many cells say what they hold when they are pointed at; more would weigh too much
_SMALLEST = 9.0  # font size in pixels
_LONGEST = 18  # letters of a name


def figure(names: Sequence[str], matrix: ArrayLike) -> Markup:
    """Draw truth in rows, answers in columns; of many classes those that are confused most, and the others as one."""
    counts = np.asarray(matrix, dtype=float)
    if len(names) > MOST:
        chosen = most_confused(counts)
        others = len(names) - MOST
        groups = np.full(len(names), MOST)
        groups[chosen] = np.arange(MOST)
        summed = np.zeros((MOST + 1, MOST + 1))
        np.add.at(summed, (groups[:, None], groups), counts)
        counts = summed
        rest = ngettext("{count} other", "{count} others", others).format(count=others)
        names = [names[i] for i in chosen]
        return _draw([*names, rest], [*short_names(names, _LONGEST), rest], counts, is_whole=False)
    return _draw(names, short_names(names, _LONGEST), counts, is_whole=False)


def whole(names: Sequence[str], matrix: ArrayLike) -> Markup:
    """Draw all classes of a matrix of many, as small as their names can still be read."""
    return _draw(names, short_names(names, _LONGEST), np.asarray(matrix, dtype=float), is_whole=True)


def most_confused(counts: Doubles) -> Ints:
    """Return the classes that are confused most with each other, in their own order.

    Both classes of the most frequent mistake come first, then those of the next one, so that mistakes are to be seen
    in the matrix of the chosen classes.
    """
    wrong = counts - np.diag(np.diag(counts))
    pairs = np.argsort(-wrong, axis=None, kind="stable")[: MOST * MOST]
    classes = np.stack(np.unravel_index(pairs, wrong.shape), axis=1).ravel()
    first = np.unique(classes, return_index=True)[1]
    return np.sort(classes[np.sort(first)[:MOST]])


class _Grid(NamedTuple):
    """Where the cells begin, and how large each is."""

    left: float
    top: float
    width: float
    height: float


def _draw(names: Sequence[str], labels: Sequence[str], counts: Doubles, *, is_whole: bool) -> Markup:
    size = _SMALLEST if is_whole else FONT_SIZE
    left, is_small = column_width([*labels, _("truth ↓")]), len(names) <= _BESIDE_TEXT
    full = SIDE if is_small else FULL
    width = 12.0 if is_whole else min((full - left - 2) / len(names), 90.0)
    height = min(width, 46.0)
    longest = max(text_width(label) for label in labels) * size / FONT_SIZE
    is_upright = longest > width - 3
    top = 26 + (longest + 10 if is_upright else 24)
    right, bottom = left + width * len(names), top + height * len(names)
    canvas = Canvas(right + 2 if is_whole else full, bottom + 2)
    canvas.write(left, 9, _("answered →"), MUTED)
    canvas.write(left - 9, top - 14, _("truth ↓"), MUTED, "end")
    for i, (label, name) in enumerate(zip(labels, names, strict=True)):
        tip = "" if label == name else name
        canvas.write(left - 9, top + (i + 0.5) * height, label, align="end", size=size, title=tip)
        x, y = left + (i + 0.5) * width, top - (8 if is_upright else 14)
        align = "start" if is_upright else "middle"
        canvas.write(x, y, label, align=align, size=size, upright=is_upright, title=tip)
    edges = np.arange(len(names) + 1)
    canvas.lines([[(left, y), (right, y)] for y in top + height * edges], LINE)
    canvas.lines([[(x, top), (x, bottom)] for x in left + width * edges], LINE)
    _draw_cells(canvas, names, counts, _Grid(left, top, width, height))
    return canvas.to_svg(_("Confusion matrix: rows are the true classes, columns the answers"))


def _draw_cells(canvas: Canvas, names: Sequence[str], counts: Doubles, grid: "_Grid") -> None:
    """Draw only cells that hold something, which in the matrix of a good classifier are few; numbers where they fit."""
    row, column = np.nonzero(counts)
    support = counts.sum(axis=1)[row]
    shares = counts[row, column] / support
    # The square root lets a mistake of one in a hundred still be seen.
    opacities = np.round(0.06 + 0.9 * np.sqrt(shares), 2 if len(row) <= _TITLED else 1)
    x, y = grid.left + column * grid.width + 1, grid.top + row * grid.height + 1
    if len(row) > _TITLED:
        for opacity in np.unique(opacities).tolist():
            same = opacities == opacity
            canvas.tiles(x[same], y[same], grid.width - 2, grid.height - 2, (ACCENT, opacity))
        return
    sentence = _("“{truth}” answered as “{predicted}”: {count:,.0f} of {support:,.0f} ({share:.1%})")
    titles = [
        sentence.format(truth=names[r], predicted=names[c], count=counts[r, c], support=n, share=share)
        for r, c, n, share in zip(row.tolist(), column.tolist(), support, shares, strict=True)
    ]
    canvas.boxes(x, y, grid.width - 2, grid.height - 2, [(ACCENT, opacity) for opacity in opacities.tolist()], titles)
    size = min(FONT_SIZE, 1.5 * grid.width / len(localized(counts.max(), ",.0f")), 0.62 * grid.height)
    if size <= _SMALLEST:
        return
    for left, top, count, opacity in zip(x, y, counts[row, column], opacities, strict=True):
        colour, centre = ON_ACCENT if opacity > 0.6 else TEXT, (left + grid.width / 2 - 1, top + grid.height / 2 - 1)
        canvas.write(*centre, localized(count, ",.0f"), colour, "middle", size, clear=True)
