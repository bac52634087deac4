"""Figures of lesson 6: first weights."""

from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits

from figures import Translate, figure
from kilat.model import initializers
from kilat.report.svg_canvas import ACCENT, MUTED, SIDE, Canvas, Plot

_LAYERS, _UNITS = 10, 100
_SCHEMES = (0.3, "he_normal", "glorot_normal", 0.01)
"""How kernels are drawn: the standard deviation of a normal distribution, or kilat's name for it."""

_COLOURS = ("var(--layer-pool)", ACCENT, "var(--layer-dense)", "var(--layer-shape)")
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class _Signal(NamedTuple):
    """Standard deviations of what leaves each layer, and of the gradient that reaches it."""

    activations: list[float]
    gradients: list[float]


def _kernel(scheme: str | float, inputs: int, outputs: int, generator: torch.Generator) -> torch.Tensor:
    if isinstance(scheme, str):
        return initializers.draw(scheme, (inputs, outputs), generator)
    return scheme * torch.randn(inputs, outputs, generator=generator)


def _signal(scheme: str | float) -> _Signal:
    """Return what ten dense layers with ReLUs make of the digits, and of a gradient of standard deviation 1."""
    pixels = torch.tensor(load_digits().data, dtype=torch.float32)
    values = (pixels - pixels.mean()) / pixels.std()
    generator = torch.Generator().manual_seed(1)
    kernels = [_kernel(scheme, inputs, _UNITS, generator) for inputs in (values.shape[1], *[_UNITS] * (_LAYERS - 1))]
    outputs = []
    for kernel in kernels:
        values = torch.relu(values @ kernel)
        outputs.append(values)
    gradient = torch.randn(values.shape, generator=generator)
    gradients = []
    for kernel, values in zip(reversed(kernels), reversed(outputs), strict=True):
        gradients.append(float(gradient.std()))
        gradient = (gradient * (values > 0)) @ kernel.T
    return _Signal([float(values.std()) for values in outputs], gradients[::-1])


@figure
def initialisation(_: Translate) -> str:
    """The strength of the signal through ten layers, forward and back, for four sizes of first weights."""
    names = (_("too large"), "he_normal", "glorot_normal", _("too small"))
    signals = {name: _signal(scheme) for name, scheme in zip(names, _SCHEMES, strict=True)}
    layers = list(range(1, _LAYERS + 1))
    forward = _panel(_, layers, {name: one.activations for name, one in signals.items()})
    back = _panel(_, layers[::-1], {name: one.gradients[::-1] for name, one in signals.items()})
    forward.write(0, 12, _("activations, from layer to layer: standard deviation"), MUTED)
    back.write(0, 12, _("gradients, on their way back: standard deviation"), MUTED)
    canvas = Canvas(SIDE, forward.height + back.height, forward.elements)
    canvas.elements += [f'<g transform="translate(0 {forward.height})">', *back.elements, "</g>"]
    return canvas.to_svg(
        _("Only with He initialisation do activations and gradients keep their strength through ten layers of ReLUs")
    )


def _panel(_: Translate, layers: list[int], curves: dict[str, list[float]]) -> Canvas:
    """Draw a curve for each size of first weights, in the order of the layers, on a scale of powers of ten."""
    plot = Plot(SIDE, 280, (-0.5, _LAYERS - 0.5), (-12, 4.5), left=54)
    plot.right -= 92
    places = np.arange(_LAYERS)
    ticks = [(power, f"10{str(power).translate(_SUPERSCRIPT)}") for power in range(-12, 5, 4)]
    plot.ticks([(place, str(layer)) for place, layer in enumerate(layers)], ticks)
    for (name, deviations), colour in zip(curves.items(), _COLOURS, strict=True):
        heights = plot.y(np.log10(deviations))
        plot.canvas.curve(plot.x(places), heights, colour)
        plot.canvas.dots(plot.x(places), heights, colour)
        plot.canvas.write(plot.right + 4, float(heights[-1]), name, colour)
    plot.axis_titles(_("layer"))
    return plot.canvas
