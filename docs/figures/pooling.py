"""Figures of lesson 4: pooling and receptive fields."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits

from figures import Translate, figure
from kilat.report.svg_canvas import ACCENT, LINE, MUTED, SIDE, Canvas

_PIXELS = 12
"""Of the row of a picture that is drawn."""

_CELL, _ROW, _LEFT = 22, 46, 124


class _Layer(NamedTuple):
    name: str
    kernel: int = 1
    stride: int = 1


class _Row(NamedTuple):
    """A row of values: where their middles are, in pixels of the picture, and which are marked."""

    name: str
    middles: np.ndarray
    marked: np.ndarray
    receptive_field: int


def _rows(layers: list[_Layer]) -> list[_Row]:
    """Return a row for the picture and one for each layer; marked is what the middle of the last one depends on."""
    middles, inputs = [np.arange(_PIXELS) + 0.5], []
    for layer in layers:
        below = middles[-1]
        first = np.arange(0, len(below), layer.stride) - (layer.kernel - layer.stride) // 2
        windows = first[:, None] + np.arange(layer.kernel)
        inputs.append(windows)
        step = below[1] - below[0]
        middles.append(below[0] + step * windows.mean(1))
    marked = [np.array([len(middles[-1]) // 2])]
    for windows in reversed(inputs):
        marked.append(np.unique(windows[marked[-1]]))
    field, jump, fields = 1, 1, [1]
    for layer in layers:
        field, jump = field + (layer.kernel - 1) * jump, jump * layer.stride
        fields.append(field)
    names = ["picture", *(layer.name for layer in layers)]
    assert len(marked[-1]) == field
    return [_Row(*row) for row in zip(names, middles, reversed(marked), fields, strict=True)]


def _side_view(canvas: Canvas, top: float, rows: list[_Row], _: Translate) -> None:
    """Draw rows above each other, the picture at the bottom, with cones from marked values to what they depend on."""
    heights = [top + _ROW * (len(rows) - 1 - i) for i in range(len(rows))]
    for (below, low), (above, high) in pairwise(zip(rows, heights, strict=True)):
        half = _CELL / 2 - 1
        ends = [_LEFT + _CELL * row.middles[row.marked[[0, -1]]] + [-half, half] for row in (above, below)]
        cone = [[(x, high + _CELL - 2), (end, low)] for x, end in zip(*ends, strict=True)]
        canvas.lines(cone, ACCENT, dash="4 3")
    for row, height in zip(rows, heights, strict=True):
        colours = [(ACCENT, 0.9) if i in row.marked else LINE for i in range(len(row.middles))]
        canvas.boxes(_LEFT + _CELL * (row.middles - 0.5) + 1, height, _CELL - 2, _CELL - 2, colours)
        canvas.write(_LEFT - 12, height + 10, _(row.name), MUTED, "end")
        canvas.write(_LEFT + _CELL * _PIXELS + 14, height + 10, f"r = {row.receptive_field}")


@figure
def receptive_field(_: Translate) -> str:
    """How the receptive field of two convolutions grows, without and with pooling between them."""
    convolution, pooling = _Layer("convolution 3", 3), _Layer("max pooling 2", 2, 2)
    panels = {
        "Without pooling": _rows([convolution, convolution]),
        "With pooling in between": _rows([convolution, pooling, convolution]),
    }
    canvas, top = Canvas(SIDE, 0), 14.0
    for title, rows in panels.items():
        canvas.write(0, top, _(title))
        _side_view(canvas, top + 18, rows, _)
        top += 18 + _ROW * len(rows) + 14
    canvas.height = top - 24
    return canvas.to_svg(_("Two convolutions see 5 pixels of a row, and 8 pixels with a pooling layer between them"))


_MAP = np.array([[1, 3, 2, 0], [4, 6, 1, 1], [0, 2, 5, 7], [1, 0, 8, 2]])
_OPACITIES = np.array([[0.55, 0.14], [0.28, 0.4]])


def _windows(values: np.ndarray) -> np.ndarray:
    """Return the 2×2 windows of a map, ``[height / 2, width / 2, 4]``."""
    height, width = values.shape
    return values.reshape(height // 2, 2, width // 2, 2).swapaxes(1, 2).reshape(height // 2, width // 2, 4)


@figure
def pooling_windows(_: Translate) -> str:
    """A map of 4×4 numbers, and what max and average pooling make of its windows."""
    canvas = Canvas(SIDE, 200)
    cell = 42
    maps = {
        "feature map": (0, _MAP, np.kron(_OPACITIES, np.ones((2, 2)))),
        "max pooling": (232, _windows(_MAP).max(-1), _OPACITIES),
        "average pooling": (372, _windows(_MAP).mean(-1), _OPACITIES),
    }
    for name, (left, values, opacities) in maps.items():
        rows, columns = np.indices(values.shape)
        x, y = left + cell * columns.ravel(), 30 + cell * rows.ravel()
        canvas.boxes(x, y, cell - 2, cell - 2, [(ACCENT, float(opacity)) for opacity in opacities.ravel()])
        for across, down, value in zip(x, y, values.ravel(), strict=True):
            canvas.write(across + cell / 2 - 1, down + cell / 2 - 1, _.number(value), align="middle")
        canvas.write(left, 12, _(name), MUTED)
    return canvas.to_svg(_("Of each window of four values, max pooling keeps the largest and average pooling the mean"))


@figure
def pooled_digit(_: Translate) -> str:
    """A digit, and the same moved by a pixel, each after pooling; below, by how much moving it changed the map."""
    digit = load_digits().images[3] / 16
    maps = [
        {"pixels": values, "max pooling": _windows(values).max(-1), "average pooling": _windows(values).mean(-1)}
        for values in (digit, np.roll(digit, 1, axis=1))
    ]
    canvas, left, side = Canvas(SIDE, 292), 132, 104
    for row, (name, pooled) in enumerate(zip(("as it is", "moved by a pixel"), maps, strict=True)):
        top = 30 + (side + 12) * row
        canvas.write(0, top + side / 2, _(name), MUTED)
        for column, values in enumerate(pooled.values()):
            rows, columns = np.indices(values.shape) * side / len(values)
            start = left + (side + 14) * column
            canvas.boxes(start, top, side, side, [LINE])
            shades = [(ACCENT, round(float(value), 3)) for value in values.ravel()]
            canvas.boxes(start + columns.ravel(), top + rows.ravel(), side / len(values), side / len(values), shades)
    canvas.write(0, 276, _("changed by"), MUTED)
    for column, name in enumerate(maps[0]):
        middle = left + (side + 14) * column + side / 2
        before, after = (pooled[name] for pooled in maps)
        changed = np.abs(after - before).sum() / before.sum()
        canvas.write(middle, 12, _(name), MUTED, "middle")
        canvas.write(middle, 276, _.number(changed, "0%"), align="middle")
    return canvas.to_svg(_("A digit and the same digit moved by a pixel, before and after pooling"))
