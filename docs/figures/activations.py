"""Figures of lesson 5: activation functions, their slopes, and the gradients that they let through."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from figures import Translate, figure, measured
from kilat.report.svg_canvas import ACCENT, DASHED, LINE, MUTED, SIDE, TEXT, Canvas, Plot

Values = NDArray[np.float64]

_FUNCTIONS: dict[str, tuple[Callable[[Values], Values], Callable[[Values], Values]]] = {
    "ReLU": (lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float)),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2),
    "leaky ReLU": (lambda x: np.where(x > 0, x, 0.2 * x), lambda x: np.where(x > 0, 1.0, 0.2)),
}
"""Functions and their derivatives; the leaky one with the slope that it has by default."""

_COLOURS = {"relu": ACCENT, "tanh": "var(--layer-pool)", "sigmoid": "var(--layer-shape)"}
_LAYERS = 9
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@figure
def activation_functions(_: Translate) -> str:
    """Four activation functions, and below each its slope: what it passes on of a gradient."""
    width, height = SIDE // 2, 170
    canvas = Canvas(SIDE, 2 * height + 22)
    for place, (name, (function, slope)) in enumerate(_FUNCTIONS.items()):
        left, top = place % 2 * width, place // 2 * height
        x = np.linspace(-4, 4, 161)
        plot = Plot(width, height, (-4, 4), (-1.2, 2.2), left=34, top=26)
        plot.right, plot.bottom = width - 12, height - 26
        plot.canvas.write(34, 12, name)
        ticks = [(value, _.number(value)) for value in (-1, 0, 1, 2)]
        plot.ticks([(value, _.number(value)) for value in (-4, 0, 4)], ticks)
        plot.canvas.lines([[(plot.x(0), plot.top), (plot.x(0), plot.bottom)]], LINE)
        inside = function(x) <= 2.2
        plot.canvas.curve(plot.x(x[inside]), plot.y(function(x)[inside]), ACCENT)
        plot.canvas.curve(plot.x(x), plot.y(slope(x)), "var(--layer-pool)", 2, DASHED)
        canvas.elements += [f'<g transform="translate({left} {top})">', *plot.canvas.elements, "</g>"]
    bottom = 2 * height + 8
    canvas.curve([34, 58], [bottom, bottom], ACCENT)
    canvas.write(64, bottom, _("the function"), MUTED)
    canvas.curve([220, 244], [bottom, bottom], "var(--layer-pool)", 2, DASHED)
    canvas.write(250, bottom, _("its slope"), MUTED)
    return canvas.to_svg(
        _("ReLU, tanh, sigmoid and leaky ReLU with their slopes: 1 at most, for a sigmoid a quarter at most")
    )


@figure
def gradients_by_activation(_: Translate) -> str:
    """Gradients beside the weights, layer by layer, in the first epoch of three trainings."""
    plot = Plot(SIDE, 300, (-0.4, _LAYERS - 0.6), (-6, 0), left=54, top=44)
    powers = [(power, f"10{str(power).translate(_SUPERSCRIPT)}") for power in range(-6, 1)]
    plot.ticks([(place, str(place + 1)) for place in range(_LAYERS)], powers)
    plot.axis_titles(_("layer"))
    plot.canvas.write(0, 9, _("gradient beside the weights, in the first epoch"), MUTED)
    left = float(plot.left)
    for name, colour in _COLOURS.items():
        curve = _relative_gradients(name)
        if not curve:
            continue
        x, y = plot.x(np.arange(len(curve))), plot.y(np.log10(curve))
        plot.canvas.curve(x, y, colour)
        plot.canvas.dots(x, y, colour)
        plot.canvas.curve([left, left + 18], [31, 31], colour, 2.5)
        plot.canvas.write(left + 24, 31, name, TEXT)
        left += 110
    return plot.canvas.to_svg(
        _("Gradients stay alike through all layers with ReLU and tanh; with sigmoid they fall 80,000 times")
    )


def _relative_gradients(activation: str) -> list[float]:
    """Return the gradient of each dense layer beside its weights; nothing where the experiment was never run."""
    rows = measured.rows("gradients-by-activation", f"runs/{activation}/layers.csv")
    return [float(row["relative_gradient"]) for row in rows if row["epoch"] == "1" and row["kind"] == "dense"]
