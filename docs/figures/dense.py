"""Lesson 2: what a dense layer connects, and what happens to its inputs when a picture moves."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from figures import Translate, figure, grids
from kilat.report.svg_canvas import ACCENT, MUTED, SIDE, TEXT, Canvas, Plot

_INK = 16
_SHIFTS = 5


@figure
def dense_connections(_: Translate) -> str:
    """Every input has a line to every unit, and every unit one to every class."""
    canvas = Canvas(SIDE, 300)
    columns = (
        (120, np.linspace(44, 256, 8), f"64 {_('pixels')}"),
        (260, np.linspace(62, 238, 6), f"64 {_('units')}"),
        (400, np.linspace(80, 220, 4), f"10 {_('classes')}"),
    )
    for (x, inputs, _name), (after, outputs, _after) in pairwise(columns):
        canvas.lines([[(x, a), (after, b)] for a in inputs for b in outputs], (MUTED, 0.35))
    for x, places, name in columns:
        canvas.dots(np.full(len(places), x), places, ACCENT, 7)
        canvas.write(x, 18, name, TEXT, "middle")
    for x, inputs, outputs in ((190, 64, 64), (330, 64, 10)):
        weights = _.number(inputs * outputs + outputs)
        canvas.write(x, 284, f"{inputs} · {outputs} + {outputs} = {weights}", MUTED, "middle", 12)
    return canvas.to_svg(_("A dense network; a few of its units"))


@figure
def shuffled_pixels(_: Translate) -> str:
    """Three digits, and the same three with their pixels in another order, which is the same for all."""
    canvas = Canvas(SIDE, 284)
    order = np.random.default_rng(1).permutation(64)
    for row, (name, places) in enumerate(((_("as they are"), np.arange(64)), (_("shuffled"), order))):
        canvas.write(10, 72 + row * 140, name, TEXT)
        for column, index in enumerate((0, 1, 5)):
            picture = grids.digit(index).ravel()[places].reshape(8, 8) / _INK
            grids.grey(canvas, 106 + column * 126, 16 + row * 140, 14, picture)
    return canvas.to_svg(_("Digits, and the same digits with shuffled pixels"))


@figure
def likeness_when_moved(_: Translate) -> str:
    """How alike a digit and its moved copy are, beside other digits that have not moved."""
    images, labels = load_digits(return_X_y=True)
    pictures = images.reshape(-1, 8, 8)
    still = _centred(pictures, 0)
    alike = [float(_cosine(still, _centred(pictures, shift)).mean()) for shift in range(_SHIFTS)]
    pairs = np.random.default_rng(0).permutation(len(pictures))
    others = _cosine(still, still[pairs])
    is_same = labels == labels[pairs]
    plot = Plot(SIDE, 300, (0, _SHIFTS - 1), (0, 1), left=52, top=34)
    plot.ticks(
        [(shift, str(shift)) for shift in range(_SHIFTS)],
        [(value, _.number(value)) for value in (0, 0.25, 0.5, 0.75, 1)],
    )
    plot.axis_titles(_("moved to the right by so many pixels"))
    for value, text in (
        (float(others[is_same].mean()), _("another picture of the same digit")),
        (float(others[~is_same].mean()), _("a picture of another digit")),
    ):
        y = float(plot.y(value))
        plot.canvas.lines([[(plot.left, y), (plot.right, y)]], "var(--warn)", 1.5, "4 3")
        plot.canvas.write(plot.right, y - 11, text, "var(--warn)", "end")
    plot.canvas.curve(plot.x(range(_SHIFTS)), plot.y(alike), ACCENT, 2.5)
    plot.canvas.dots(plot.x(range(_SHIFTS)), plot.y(alike), ACCENT, 4)
    plot.canvas.write(6, 10, _("cosine of the pixels: 1 is the same picture"), MUTED)
    return plot.canvas.to_svg(_("How alike a digit and its moved copy are"))


def _centred(pictures: NDArray[np.float64], shift: int) -> NDArray[np.float64]:
    """Return pictures in the middle of a canvas of 16×16, or so many pixels to the right of it, as rows."""
    canvas = np.zeros((len(pictures), 16, 16))
    canvas[:, 4:12, 4 + shift : 12 + shift] = pictures
    return canvas.reshape(len(pictures), -1)


def _cosine(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cosine between rows of two tables."""
    product = (one * other).sum(axis=1)
    return np.asarray(product / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)))
