"""Layers that were watched in training: gradients, updates and activations by layer, over the epochs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from markupsafe import Markup

from kilat.locale import _, localized
from kilat.recipe.network_summary import KERNELS
from kilat.report.curves import HALF, powers_of_ten
from kilat.report.svg_canvas import (
    ACCENT,
    LINE,
    MUTED,
    TEXT,
    Plot,
    percent_label,
    shorten,
    spaced_apart,
    text_width,
    tick_values,
)
from kilat.report.template import percent

_EPOCHS = 4
"""Epochs that are drawn over each other at most: the first, the last and some between."""

_OPACITIES = (0.25, 0.45, 0.7, 1.0)
_NAMED = 14
"""Layers whose names stand below a figure; of more, their numbers."""

_TOP, _BODY, _NUMBERS = 58, 190, 44
_MAX_DOTS = 24  # up to this many layers each is a dot on the line
_LOWEST = 1e-30
_DEAD = "var(--warn)"


@dataclass(frozen=True)
class Layers:
    """The rows of ``layers.csv``, in order.

    Args:
        rows: one for each layer in each epoch.
    """

    rows: list[dict[str, Any]]

    @classmethod
    def of(cls, table: pd.DataFrame) -> Self | None:
        """Return what there is in a table; None where no layers were watched."""
        if not len(table):
            return None
        names, values = list(table.columns), table.itertuples(index=False, name=None)
        return cls([dict(zip(names, row, strict=True)) for row in values])

    @property
    def epochs(self) -> list[int]:
        """The epochs to draw, rising."""
        every = list(dict.fromkeys(int(row["epoch"]) for row in self.rows))
        places = np.unique(np.linspace(0, len(every) - 1, min(_EPOCHS, len(every))).round().astype(int))
        return [every[place] for place in places]

    def names(self, column: str, *, kernels: bool = False) -> list[str]:
        """Return the layers that have a value in a column, in the order of the last epoch."""
        return [
            str(row["layer"])
            for row in self.in_epoch(self.epochs[-1])
            if _is_number(row[column]) and (not kernels or row["kind"] in KERNELS)
        ]

    def in_epoch(self, epoch: int) -> list[dict[str, Any]]:
        """Return the rows of an epoch."""
        return [row for row in self.rows if row["epoch"] == epoch]

    def values(self, epoch: int, column: str, names: Sequence[str]) -> list[float]:
        """Return the values of some layers in an epoch; NaN where there is none."""
        found = {str(row["layer"]): row[column] for row in self.in_epoch(epoch)}
        return [float(found[name]) if _is_number(found.get(name)) else math.nan for name in names]

    def table(self) -> list[list[str]]:
        """Return a row of text for each layer in the last epoch."""
        return [
            [
                str(row["layer"]),
                *(_short(row[name]) for name in ("gradient_norm", "relative_gradient", "relative_update")),
                *(_short(row[name]) for name in ("activation_mean", "activation_std")),
                *(percent(row[name]) for name in ("zero_share", "dead_share", "saturated_share")),
            ]
            for row in self.in_epoch(self.epochs[-1])
        ]


def figures(layers: Layers) -> dict[str, Markup | None]:
    """Draw gradients, updates, activations and shares by layer, those that there are numbers for."""
    return {
        "layer_gradients": _on_log_scale(layers, "relative_gradient", _("Gradient beside the weights, by layer")),
        "layer_updates": _on_log_scale(layers, "relative_update", _("Update beside the weights, by layer")),
        "layer_activations": _activations(layers),
        "layer_shares": _shares(layers),
    }


def _on_log_scale(layers: Layers, column: str, title: str) -> Markup | None:
    """Draw a column over the layers with a kernel, on a logarithmic scale, a line for each of some epochs."""
    names, epochs = layers.names(column, kernels=True), layers.epochs
    heights = np.array([layers.values(epoch, column, names) for epoch in epochs]).reshape(len(epochs), len(names))
    with np.errstate(divide="ignore", invalid="ignore"):
        heights = np.where(heights > _LOWEST, np.log10(heights), np.nan)
    known = heights[np.isfinite(heights)]
    if len(names) < 2 or not len(known):
        return None
    low, high = math.floor(known.min() - 0.05), math.ceil(known.max() + 0.05)
    plot = _plot(names, (low, high))
    plot.ticks(x=_labels(plot, names), y=powers_of_ten(low, high))
    _finish(plot, names, title)
    left = float(plot.left)
    for epoch, opacity, line in zip(epochs, _OPACITIES[-len(epochs) :], heights, strict=True):
        kept = np.isfinite(line)
        x, y = plot.x(np.flatnonzero(kept)), plot.y(line[kept])
        plot.canvas.curve(x, y, (ACCENT, opacity))
        if len(names) <= _MAX_DOTS:
            shown = [(names[i], _short(10.0 ** line[i])) for i in np.flatnonzero(kept)]
            plot.canvas.dots(x, y, (ACCENT, opacity), 2.5, [f"{name}: {value}" for name, value in shown])
        left = _legend(plot, left, _("epoch {epoch}").format(epoch=epoch), (ACCENT, opacity))
    return plot.canvas.to_svg(title)


def _activations(layers: Layers) -> Markup | None:
    """Draw mean and standard deviation of what each layer gives, in the last epoch."""
    names, epoch = layers.names("activation_mean"), layers.epochs[-1]
    if not names:
        return None
    means, deviations = (np.array(layers.values(epoch, f"activation_{name}", names)) for name in ("mean", "std"))
    low, high = float((means - deviations).min()), float((means + deviations).max())
    margin = 0.06 * max(high - low, 1e-6)
    plot = _plot(names, (low - margin, high + margin))
    plot.ticks(x=_labels(plot, names), y=[(value, localized(value, "g")) for value in tick_values(low, high)])
    title = _("Activations by layer: mean ± one standard deviation")
    _finish(plot, names, title)
    x = plot.x(np.arange(len(names)))
    ends = np.stack([np.stack([x, plot.y(means + sign * deviations)], 1) for sign in (-1, 1)], 1)
    plot.canvas.lines(ends, (ACCENT, 0.45), max(1.5, min(7.0, 200 / len(names))))
    values = zip(names, means, deviations, strict=True)
    titles = [f"{name}: {_short(mean)} ± {_short(deviation)}" for name, mean, deviation in values]
    plot.canvas.dots(x, plot.y(means), TEXT, 3 if len(names) <= _MAX_DOTS else 1.5, titles)
    return plot.canvas.to_svg(title)


def _shares(layers: Layers) -> Markup | None:
    """Draw the shares of zeros, dead units and saturated values of each layer, in the last epoch."""
    names, epoch = layers.names("zero_share"), layers.epochs[-1]
    if not names:
        return None
    plot = _plot(names, (0.0, 1.0))
    plot.ticks(x=_labels(plot, names), y=[(value, percent_label(value)) for value in (0, 0.25, 0.5, 0.75, 1)])
    title = _("Zeros, dead units and saturated values by layer")
    _finish(plot, names, title)
    x, radius = np.arange(len(names)), 3.5 if len(names) <= _MAX_DOTS else 2.0
    zeros, dead, saturated = (
        np.array(layers.values(epoch, f"{name}_share", names)) for name in ("zero", "dead", "saturated")
    )
    width, tops = max(2.0, min(16.0, 0.6 * (plot.right - plot.left) / len(names))), plot.y(dead)
    titles = [f"{name}: {percent(value)}" for name, value in zip(names, dead, strict=True)]
    plot.canvas.boxes(plot.x(x) - width / 2, tops, width, plot.bottom - tops, [_DEAD], titles)
    left = _legend(plot, float(plot.left), _("dead units"), _DEAD)
    titles = [f"{name}: {percent(value)}" for name, value in zip(names, zeros, strict=True)]
    plot.canvas.dots(plot.x(x), plot.y(zeros), (ACCENT, 0.8), radius, titles)
    left = _legend(plot, left, _("zeros"), (ACCENT, 0.8))
    kept = np.isfinite(saturated)
    if kept.any():
        plot.canvas.rings(plot.x(x[kept]), plot.y(saturated[kept]), TEXT, radius + 1)
        plot.canvas.rings(left + 5, 33, TEXT, 4.5)
        plot.canvas.write(left + 15, 33, _("saturated values"), MUTED, size=12.5)
    return plot.canvas.to_svg(title)


def _plot(names: Sequence[str], y_range: tuple[float, float]) -> Plot:
    """Return an empty plot with a place for each layer, and room for their names below."""
    below = _NUMBERS
    if len(names) <= _NAMED:
        below = 20 + round(max(text_width(shorten(name, 20)) for name in names) * 0.9)
    plot = Plot(HALF, _TOP + _BODY + below, (-0.5, len(names) - 0.5), y_range, left=56, top=_TOP)
    plot.bottom = _TOP + _BODY
    return plot


def _labels(plot: Plot, names: Sequence[str]) -> list[tuple[float, str]]:
    """Return the numbers of layers to write below, where there are too many for their names."""
    if len(names) <= _NAMED:
        return []
    places = np.unique(np.linspace(0, len(names) - 1, 6).round())
    return [(float(places[i]), f"{places[i] + 1:g}") for i in spaced_apart(plot.x(places), 30)]


def _finish(plot: Plot, names: Sequence[str], title: str) -> None:
    """Write the title, and below the names of the layers or what the numbers are."""
    plot.canvas.write(0, 9, title)
    plot.canvas.lines([[(plot.left, plot.bottom), (plot.right, plot.bottom)]], LINE)
    if len(names) > _NAMED:
        centre = (plot.left + plot.right) / 2
        plot.canvas.write(centre, plot.bottom + 33, _("layer, from the first to the last"), MUTED, "middle")
        return
    for place, name in enumerate(names):
        plot.canvas.write(
            float(plot.x(place)), plot.bottom + 8, shorten(name, 20), MUTED, "end", 12, upright=True, title=name
        )


def _legend(plot: Plot, left: float, name: str, colour: str | tuple[str, float]) -> float:
    """Write what a colour stands for; return where the next one may begin."""
    plot.canvas.dots(left + 5, 33, colour, 4.5)
    plot.canvas.write(left + 15, 33, name, MUTED, size=12.5)
    return left + 15 + 0.93 * text_width(name) + 14


def _short(value: Any) -> str:
    return localized(float(value), ".2g") if _is_number(value) else "–"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
