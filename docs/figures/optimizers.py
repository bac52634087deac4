"""Lesson 9: the paths of optimizers down one valley, computed with kilat's own, and their losses on pictures."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from figures import Translate, figure, measured
from kilat.fit import optimizers
from kilat.recipe.optimizer import Optimizer
from kilat.report.lab_results import VariantResult
from kilat.report.svg_canvas import ACCENT, MUTED, SIDE, TEXT, Canvas, Plot

START = (-10.0, 2.0)
STEPS = 40
CURVATURES = (0.1, 2.0)
"""Of the valley ``x² / 20 + y²``, along it and across."""

_LEVELS = (0.05, 0.3, 1.0, 2.5, 5.0, 9.0)
_PANEL, _HEIGHT, _GAP = 232, 92, 16
_X, _Y = (-12.0, 4.0), (-2.6, 2.6)

PATHS = (("sgd", 0.1), ("sgd", 0.95), ("momentum", 0.1), ("nesterov", 0.1), ("rmsprop", 0.3), ("adam", 0.5))
"""Names of optimizers with their learning rates."""

_COLOURS = {"sgd": MUTED, "momentum": ACCENT, "adam": "var(--layer-pool)"}


class Path(NamedTuple):
    """Where an optimizer went.

    Args:
        places: after every step, the start first, ``[steps + 1, 2]``.
        losses: at each.
    """

    places: NDArray[np.float64]
    losses: NDArray[np.float64]


def path(name: str, rate: float, turn: float = 0.0) -> Path:
    """Return the path of an optimizer down the valley.

    Args:
        name: as in a recipe, under ``fit.optimizer``.
        rate: its learning rate.
        turn: by how many degrees the valley, and the start in it, are turned.
    """
    chosen = Optimizer.model_validate({"name": name, "learning_rate": rate})
    angle = np.deg2rad(turn)
    axes = torch.tensor([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], dtype=torch.float32)
    place = nn.Parameter(axes.T @ torch.tensor(START))
    optimizer = optimizers.create(chosen, {"place": place})

    def loss() -> Tensor:
        return (torch.tensor(CURVATURES) * (axes @ place) ** 2).sum() / 2

    places, losses = [place.tolist()], [loss().item()]
    for _step in range(STEPS):
        place.grad = None
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step(rate)
        places.append(place.tolist())
        losses.append(loss().item())
    return Path(np.array(places), np.array(losses))


@figure
def optimizer_paths(_: Translate) -> str:
    """Six paths down the same valley, each with the loss it ends at."""
    rows = -(-len(PATHS) // 2)
    canvas = Canvas(2 * _PANEL + _GAP, rows * (_HEIGHT + 44) + 6)
    for number, (name, rate) in enumerate(PATHS):
        row, column = divmod(number, 2)
        left, top = column * (_PANEL + _GAP), row * (_HEIGHT + 44) + 26
        found = path(name, rate)
        canvas.write(left, top - 13, f"{name} · {_.number(rate)}", TEXT)
        ending = f"loss {_.number(found.losses[-1], '0.000')}"
        canvas.write(left + _PANEL, top - 13, ending, MUTED, "end")
        _valley(canvas, left, top)
        x, y = _pixels(found.places, left, top)
        canvas.curve(x, y, (ACCENT, 0.8), 1.5)
        canvas.dots(x, y, ACCENT, 2)
        canvas.dots(x[0], y[0], TEXT, 4)
    return canvas.to_svg(_("Paths of optimizers down the same valley, 40 steps each"))


def _valley(canvas: Canvas, left: float, top: float) -> None:
    """Draw a panel with lines of equal loss, and its lowest place."""
    canvas.boxes(left, top, _PANEL, _HEIGHT, ["var(--panel)"])
    angles = np.linspace(0, 2 * np.pi, 73)
    for level in _LEVELS:
        across, up = (np.sqrt(2 * level / curvature) for curvature in CURVATURES)
        x, y = _pixels(np.column_stack([across * np.cos(angles), up * np.sin(angles)]), left, top)
        inside = (x >= left) & (x <= left + _PANEL) & (y >= top) & (y <= top + _HEIGHT)
        points = np.column_stack([x, y])
        canvas.lines(np.stack([points[:-1], points[1:]], axis=1)[inside[:-1] & inside[1:]], (MUTED, 0.45))
    x, y = _pixels(np.zeros((1, 2)), left, top)
    canvas.lines([[(x[0] - 4, y[0]), (x[0] + 4, y[0])], [(x[0], y[0] - 4), (x[0], y[0] + 4)]], MUTED, 1.5)


def _pixels(places: NDArray[np.float64], left: float, top: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where places of the valley lie in a panel."""
    x = left + (places[:, 0] - _X[0]) / (_X[1] - _X[0]) * _PANEL
    y = top + (_Y[1] - places[:, 1]) / (_Y[1] - _Y[0]) * _HEIGHT
    return x, y


@figure
def optimizer_curves(_: Translate) -> str:
    """The loss on held-out pictures by epoch: all optimizers at one rate, and each at the best of three."""
    found = measured.variants("optimizers")
    at_one = [one for one in found if measured.option(one, "learning_rate") == "0.01"]
    best = {name: min(_of(found, name), key=lambda one: one.log_loss or np.inf) for name in _COLOURS if found}
    canvas, height = Canvas(SIDE, 0), 230
    for title, shown in ((_("the same rate for all"), at_one), (_("each with the best of three rates"), best.values())):
        plot = Plot(SIDE, height, (1, 12), (0, 2.5), left=40, top=38)
        plot.right -= 130
        plot.ticks([(epoch, _.number(epoch)) for epoch in (1, 4, 8, 12)], [(loss, _.number(loss)) for loss in range(3)])
        plot.canvas.write(0, 12, title)
        ends = []
        for one in shown:
            curve, name = one.curves["loss"], measured.option(one, "optimizer.name")
            y = plot.y(np.minimum(curve.mean, 2.5))
            plot.canvas.curve(plot.x(curve.epochs), y, _COLOURS[name])
            rate = _.number(float(measured.option(one, "learning_rate")))
            ends.append((float(y[-1]), f"{name} · {rate}", _COLOURS[name]))
        above = plot.bottom + 18.0
        for end, text, colour in sorted(ends, reverse=True):
            above = min(end, above - 18)
            plot.canvas.write(plot.right + 8, above, text, colour)
        plot.axis_titles(_("epoch"), "loss")
        canvas.elements += [f'<g transform="translate(0 {canvas.height})">', *plot.canvas.elements, "</g>"]
        canvas.height += height
    return canvas.to_svg(_("Loss on held-out digits by epoch, by optimizer and learning rate"))


def _of(variants: list[VariantResult], name: str) -> list[VariantResult]:
    """Return the variants with an optimizer."""
    return [one for one in variants if measured.option(one, "optimizer.name") == name]
