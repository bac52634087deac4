"""Pictures and kernels as squares: what figures of several lessons share."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from kilat.report.svg_canvas import ACCENT, FONT_SIZE, LINE, TEXT, Canvas

WARN = "var(--warn)"


def digit(index: int) -> NDArray[np.float64]:
    """Return one of scikit-learn's digits, ``[8, 8]``, its ink from 0 to 16."""
    images: NDArray[np.float64] = load_digits().images
    return images[index]


def grey(canvas: Canvas, left: float, top: float, cell: float, levels: NDArray[np.float64]) -> None:
    """Draw a picture as a screen does, black at 0 and white at 1."""
    for level in np.unique(levels):
        shade = round(255 * float(level))
        _tiles(canvas, left, top, cell, levels == level, (f"rgb({shade},{shade},{shade})", 1.0))


def signed(canvas: Canvas, left: float, top: float, cell: float, values: NDArray[np.float64]) -> None:
    """Draw a feature map: above zero in the accent colour, below in red, as strong as its share of the largest."""
    largest = float(np.abs(values).max()) or 1.0
    shares = np.round(values / largest, 2)
    for share in np.unique(shares):
        colour = ACCENT if share > 0 else WARN
        _tiles(canvas, left, top, cell, shares == share, (colour, abs(float(share))))
    frame(canvas, left, top, cell, values.shape, LINE)


def numbers(
    canvas: Canvas,
    left: float,
    top: float,
    cell: float,
    values: NDArray[np.float64],
    say: Callable[[float], str] = lambda value: f"{value:g}".replace("-", "−"),
    size: float = FONT_SIZE,
) -> None:
    """Draw a table of squares with a number in each."""
    frame(canvas, left, top, cell, values.shape, LINE)
    for (row, column), value in np.ndenumerate(values):
        canvas.write(left + (column + 0.5) * cell, top + (row + 0.5) * cell, say(float(value)), TEXT, "middle", size)


def frame(
    canvas: Canvas, left: float, top: float, cell: float, shape: tuple[int, ...], colour: str, width: float = 1
) -> None:
    """Draw the lines between the squares of a table and around it."""
    rows, columns = shape
    right, bottom = left + columns * cell, top + rows * cell
    across = [[(left, top + row * cell), (right, top + row * cell)] for row in range(rows + 1)]
    down = [[(left + column * cell, top), (left + column * cell, bottom)] for column in range(columns + 1)]
    canvas.lines(across + down, colour, width)


def outline(
    canvas: Canvas, left: float, top: float, width: float, height: float, colour: str, line: float = 2.5
) -> None:
    """Draw the outline of a box."""
    corners = [(left, top), (left + width, top), (left + width, top + height), (left, top + height), (left, top)]
    canvas.lines([corners], colour, line)


def _tiles(
    canvas: Canvas, left: float, top: float, cell: float, chosen: NDArray[np.bool_], colour: tuple[str, float]
) -> None:
    rows, columns = np.nonzero(chosen)
    if colour[1]:
        canvas.tiles(left + columns * cell, top + rows * cell, cell, cell, colour)
