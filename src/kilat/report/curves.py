"""Training as curves: losses, accuracies and the learning rate over the epochs; schedules; the learning-rate finder."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from kilat.locale import _, localized
from kilat.report.palette import MAP_COLOURS
from kilat.report.svg_canvas import (
    ACCENT,
    DASHED,
    DOTTED,
    MUTED,
    SIDE,
    TEXT,
    Plot,
    short_names,
    spaced_apart,
    tick_values,
)
from kilat.runtime.array_types import Doubles

HALF = 370
"""Width of two figures side by side."""

_DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2")
_MAX_DOTS = 12  # up to this many epochs each is a dot on the line
_BAND_OPACITY = 0.13
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class _Style(NamedTuple):
    """How a line is drawn."""

    colour: str | tuple[str, float]
    dash: str = ""


_TRAINING, _VALIDATION = _Style((ACCENT, 0.7), "5 3"), _Style(ACCENT)

Rates = tuple[Doubles, Doubles]
"""Epochs, whole ones or parts, and the learning rates there."""


def history(
    rows: Sequence[Mapping[str, float]], best: float | None = None, planned: Rates | None = None
) -> dict[str, Markup]:
    """Draw the figures ``loss``, ``accuracy`` and ``rate`` of a training, those that there are numbers for.

    Args:
        rows: one an epoch, with ``epoch``, ``loss``, ``accuracy``, ``validation_loss``, ``validation_accuracy`` and
            ``learning_rate``; what is missing or not finite is left out.
        best: the epoch that was kept; without it, the one with the lowest validation loss.
        planned: learning rates of all of the training, as its schedule has them; drawn where the training kept to it.
    """
    if best is None:
        epochs, losses = column(rows, "validation_loss")
        best = float(epochs[losses.argmin()]) if len(epochs) else None
    figures = {
        "loss": _curves(rows, "loss", _("Loss by epoch"), best),
        "accuracy": _curves(rows, "accuracy", _("Accuracy by epoch"), best),
        "rate": _learning_rate(*column(rows, "learning_rate"), planned),
    }
    return {name: figure for name, figure in figures.items() if figure}


def schedule(epochs: Sequence[float], rates: Sequence[Sequence[float]], names: Sequence[str]) -> Markup:
    """Draw learning rates over the epochs, one line for each schedule.

    Args:
        epochs: where the rates hold, whole epochs or parts of them.
        rates: for each schedule its rate at each of these.
        names: of the schedules.
    """
    lines = np.asarray(rates, dtype=float).reshape(len(names), len(epochs))
    plot, scale = _rate_plot(epochs, lines, SIDE, 290, top=34)
    plot.canvas.legend(names, plot.left)
    for opacity, line in zip((1.0, 0.55, 0.28), lines, strict=False):
        heights = scale(line)
        kept = np.isfinite(heights)
        plot.canvas.curve(plot.x(np.asarray(epochs)[kept]), plot.y(heights[kept]), (ACCENT, opacity))
    return plot.canvas.to_svg(_("Learning rate over the epochs"))


def rate_finder(
    rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], suggestion: float | None
) -> Markup:
    """Draw the loss while the learning rate rises, with the suggested rate marked (Smith, arXiv 1506.01186).

    Args:
        rates: that were tried.
        losses: at each, as dots.
        smoothed: the losses without their noise, as a line.
        suggestion: the rate to mark; None where it is unclear.
    """
    x, dots, y = (np.asarray(values, dtype=float) for values in (rates, losses, smoothed))
    kept = np.isfinite(x) & np.isfinite(dots) & np.isfinite(y) & (x > 0)
    x, dots, y = np.log10(x[kept]), dots[kept], y[kept]
    if not len(x):
        return Markup()
    # Where it diverges the loss is no longer of interest.
    lowest = float(min(y.min(), dots.min()))
    top = float(min(max(y.max(), dots.max()), y[0] + 1.5 * max(y[0] - lowest, 0.1 * abs(y[0]), 1e-3)))
    plot = Plot(SIDE, 300, _not_empty(x.min(), x.max()), _with_margin(lowest, top), top=30)
    plot.ticks(x=powers_of_ten(x.min(), x.max()), y=_tick_labels(*_with_margin(lowest, top)))
    plot.axis_titles(_("learning rate"), _("loss"))
    plot.canvas.dots(plot.x(x[dots <= top]), plot.y(dots[dots <= top]), MUTED, 1.5)
    drawn = y <= top
    plot.canvas.curve(plot.x(x[drawn]), plot.y(y[drawn]), ACCENT)
    if suggestion is not None and suggestion > 0:
        at = math.log10(suggestion)
        pixel = float(plot.x(at))
        plot.canvas.lines([[(pixel, plot.top), (pixel, plot.bottom)]], MUTED, 1, DASHED)
        centre = min(max(pixel, plot.left + 60), plot.right - 60)
        label = _("suggested: {rate}").format(rate=localized(suggestion, ".2g"))
        plot.canvas.write(centre, plot.top - 14, label, align="middle")
        plot.canvas.dots(pixel, plot.y(np.interp(at, x, np.minimum(y, top))), TEXT, 3.5)
    return plot.canvas.to_svg(_("Loss while the learning rate rises"))


def compared(
    lines: Mapping[str, tuple[Doubles, Doubles]],
    title: str,
    x_title: str,
    *,
    is_share: bool,
    bands: Mapping[str, tuple[Doubles, Doubles]] | None = None,
) -> Markup | None:
    """Draw curves of several runs over each other, in the colours of the map and dashes of their own.

    Args:
        lines: the points of each run's curve, by its name; runs without any are left out.
        title: of the figure.
        x_title: of its axis.
        is_share: whether values are shares.
        bands: the lowest and the highest values at these points, by the name of the run, where a curve is a mean.
    """
    bands = bands or {}
    lines = {name: line for name, line in lines.items() if len(line[0])}
    if not lines:
        return None
    x = np.concatenate([across for across, _up in lines.values()])
    y = np.concatenate([*(up for _across, up in lines.values()), *itertools.chain(*bands.values())])
    lowest, highest = (float(y.min()), float(y.max())) if is_share else visible_range(y)
    low, high = _with_margin(lowest, highest)
    plot = Plot(HALF, 268 + 20 * len(lines), _not_empty(x.min(), x.max()), (low, high), top=34 + 20 * len(lines))
    plot.ticks(x=_epoch_labels(plot, x), y=_tick_labels(low, high, is_share=is_share))
    plot.axis_titles(x_title)
    plot.canvas.write(0, 9, title)
    for number, (name, (across, _up)) in enumerate(lines.items()):
        if name in bands:
            bottom, top = (plot.y(np.clip(values, low, high)) for values in bands[name])
            plot.canvas.area(plot.x(across), bottom, top, (MAP_COLOURS[number % len(MAP_COLOURS)], _BAND_OPACITY))
    for number, (short, (across, up)) in enumerate(zip(short_names(list(lines), 36), lines.values(), strict=True)):
        style = _Style(MAP_COLOURS[number % len(MAP_COLOURS)], _DASHES[number % len(_DASHES)])
        _draw_course(plot, style, across, up, high)
        height = 31 + 20 * number
        plot.canvas.curve([plot.left, plot.left + 26], [height, height], style.colour, 2.5, style.dash)
        plot.canvas.write(plot.left + 33, height, short, MUTED)
    _mark_cut(plot, float(y.max()))
    return plot.canvas.to_svg(title)


def _curves(rows: Sequence[Mapping[str, float]], key: str, title: str, best: float | None) -> Markup | None:
    """Draw training and validation together, with the epoch that was kept."""
    lines = [
        (name, style, *column(rows, source))
        for name, style, source in (
            (_("training"), _TRAINING, key),
            (_("validation"), _VALIDATION, f"validation_{key}"),
        )
    ]
    lines = [line for line in lines if len(line[2])]
    if not lines:
        return None
    x, y = (np.concatenate([line[i] for line in lines]) for i in (2, 3))
    is_share = key == "accuracy"
    lowest, highest = (float(y.min()), float(y.max())) if is_share else visible_range(y)
    low, high = _with_margin(lowest, highest)
    low, high = (max(low, 0.0), min(high, 1.0)) if is_share else (low, high)
    plot = Plot(HALF, 286, _not_empty(x.min(), x.max()), (low, high), top=52)
    plot.ticks(x=_epoch_labels(plot, x), y=_tick_labels(low, high, is_share=is_share))
    plot.axis_titles(_("epoch"))
    plot.canvas.write(0, 9, title)
    left = float(plot.left)
    for name, style, epochs, values in lines:
        _draw_course(plot, style, epochs, values, high)
        plot.canvas.curve([left, left + 20], [31, 31], style.colour, 2.5, style.dash)
        plot.canvas.write(left + 26, 31, name, MUTED)
        left += 26 + 8 * len(name) + 18
    _mark_cut(plot, float(y.max()))
    _mark_best(plot, *lines[-1][2:], best)
    return plot.canvas.to_svg(title)


def visible_range(values: Doubles) -> tuple[float, float]:
    """Return the lowest value, and the highest but for spikes: up to half of the values, where they stand clear.

    Spikes are more than four times as far from the lowest value as the highest of the others. So one update that went
    wrong does not flatten everything that was learned before it and after it.
    """
    ordered = np.sort(values)
    low = float(ordered[0])
    for spikes in range(len(ordered) // 2, 0, -1):
        kept = float(ordered[-spikes - 1])
        if kept > low and ordered[-spikes] - low > 4 * (kept - low):
            return low, kept
    return low, float(ordered[-1])


def _draw_course(plot: Plot, style: "_Style", epochs: Doubles, values: Doubles, top: float) -> None:
    x, y = plot.x(epochs), plot.y(np.minimum(values, top))
    plot.canvas.curve(x, y, style.colour, 2, style.dash)
    if len(epochs) <= _MAX_DOTS:
        titles = [
            f"{localized(epoch, 'g')}: {localized(value, '.4g')}" for epoch, value in zip(epochs, values, strict=True)
        ]
        plot.canvas.dots(x, y, style.colour, 2.5, titles)


def _mark_cut(plot: Plot, highest: float) -> None:
    """Say how high values go that the axis leaves out, where there are any."""
    if highest > plot.y_range[1]:
        plot.canvas.write(plot.right, 9, _("↑ up to {value:.3g}").format(value=highest), MUTED, "end", 12)


def _mark_best(plot: Plot, epochs: Doubles, values: Doubles, best: float | None) -> None:
    if best is None or best not in epochs or len(epochs) == 1:
        return
    value = float(values[epochs == best][0])
    x, y = float(plot.x(best)), float(plot.y(min(value, plot.y_range[1])))
    plot.canvas.lines([[(x, plot.top), (x, plot.bottom)]], MUTED, 1, DOTTED)
    plot.canvas.dots(x, y, TEXT)
    is_right = x > (plot.left + plot.right) / 2
    # On the side of the plot that lines leave free: they fall (loss) or rise (accuracy) towards the best epoch.
    is_low = y > (plot.top + plot.bottom) / 2
    label = _("best: {epoch}").format(epoch=localized(best, "g"))
    height = plot.top + 14 if is_low else plot.bottom - 12
    plot.canvas.write(x + (-7 if is_right else 7), height, label, MUTED, "end" if is_right else "start")


def _learning_rate(epochs: Doubles, rates: Doubles, planned: Rates | None) -> Markup | None:
    """Draw the rate of every update where it is planned so, and else lines between those that ended the epochs."""
    if not len(epochs):
        return None
    title, start = _("Learning rate"), list[float]()
    if planned is not None and _follows(epochs, rates, planned):
        drawn = planned[0] <= epochs[-1]
        epochs, rates, start = planned[0][drawn], planned[1][drawn], [0.0]
    plot, scale = _rate_plot([*start, *epochs], rates[None], HALF, 286, top=34)
    plot.canvas.write(0, 9, title)
    heights = scale(rates)
    kept = np.isfinite(heights)
    x, y = plot.x(epochs[kept]), plot.y(heights[kept])
    plot.canvas.curve(x, y, ACCENT)
    if len(x) == 1:
        plot.canvas.dots(x, y, ACCENT)
    return plot.canvas.to_svg(title)


def _follows(epochs: Doubles, rates: Doubles, planned: Rates) -> bool:
    """Return whether the rates at the ends of epochs are those that were planned."""
    if epochs[-1] > planned[0][-1] + 1:
        return False
    expected = np.interp(epochs, *planned)
    return bool(np.allclose(expected, rates, rtol=0.05, atol=0.02 * max(float(planned[1].max()), 1e-12)))


def _rate_plot(
    epochs: Sequence[float] | Doubles, rates: Doubles, width: int, height: int, top: int
) -> tuple[Plot, "_RateScale"]:
    """Return a plot for learning rates, with the scale that suits them."""
    x = np.asarray(epochs, dtype=float)
    scale = _RateScale(rates)
    plot = Plot(width, height, _not_empty(x.min(), x.max()), scale.range, left=72, top=top)
    plot.ticks(x=_epoch_labels(plot, x), y=scale.ticks)
    plot.axis_titles(_("epoch"))
    return plot, scale


class _RateScale:
    """Linear, or logarithmic where that spreads the rates more evenly."""

    def __init__(self, rates: Doubles) -> None:
        values = rates[np.isfinite(rates)]
        self.is_log = bool(len(values)) and values.min() > 0 and values.max() >= 10 * values.min() and (
            _unevenness(np.log(values)) < _unevenness(values)
        )  # fmt: skip
        heights = self(values) if len(values) else np.array([0.0, 1.0])
        self.low, self.high = float(heights.min()), float(heights.max())

    def __call__(self, rates: Doubles) -> Doubles:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log10(rates) if self.is_log else np.asarray(rates, dtype=float)

    @property
    def range(self) -> tuple[float, float]:
        """From the lowest to the highest value drawn; a linear scale starts at zero."""
        if self.is_log:
            return _with_margin(self.low, self.high)
        return min(self.low, 0.0), self.high * 1.06 or 1.0

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Round rates with their labels."""
        if self.is_log:
            return powers_of_ten(*self.range, fine=True)
        return [(rate, localized(rate, ".3g")) for rate in tick_values(*self.range)]


def _unevenness(values: Doubles) -> float:
    """Return how far from the middle of their range the median lies."""
    return abs(float((np.median(values) - values.min()) / np.ptp(values)) - 0.5)


def column(rows: Sequence[Mapping[str, float]], key: str) -> tuple[Doubles, Doubles]:
    """Return epochs and values, where there is a finite one."""
    pairs = [(row["epoch"], row[key]) for row in rows if row.get(key) is not None and math.isfinite(row[key])]
    columns = np.array(pairs, dtype=float).reshape(-1, 2).T
    return columns[0], columns[1]


def _with_margin(low: float, high: float) -> tuple[float, float]:
    margin = max((high - low) * 0.05, abs(high) * 1e-3, 1e-9)
    return float(low - margin), float(high + margin)


def _not_empty(low: float, high: float) -> tuple[float, float]:
    """Return a range of some length, even where there is a single value."""
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(high) + 0.5)


def _epoch_labels(plot: Plot, x: Doubles) -> list[tuple[float, str]]:
    """Return whole epochs to write below, the first and the last among them where they fit."""
    low, high = float(x.min()), float(x.max())
    epochs = np.unique([low, *(e for e in tick_values(low, high) if e == round(e)), high])
    return [(float(epochs[i]), localized(epochs[i], "g")) for i in spaced_apart(plot.x(epochs), 34)]


def _tick_labels(low: float, high: float, *, is_share: bool = False) -> list[tuple[float, str]]:
    """Return round values with as many digits as tell them apart."""
    values = tick_values(low, high)
    gap = (values[1] - values[0] if len(values) > 1 else 1.0) * (100 if is_share else 1)
    digits = max(0, -math.floor(math.log10(gap) + 1e-9))
    return [(value, localized(value, f".{digits}{'%' if is_share else 'f'}")) for value in values]


def powers_of_ten(low: float, high: float, *, fine: bool = False) -> list[tuple[float, str]]:
    """Return powers of ten within a range of exponents; ``fine`` adds 2 and 5 times these where they are few."""
    exponents = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
    some = exponents[:: max(1, math.ceil(len(exponents) / 7))]
    ticks = [(float(e), f"10{str(e).translate(_SUPERSCRIPT)}") for e in some]
    if fine and len(exponents) <= 3:
        more = range(math.floor(low), math.ceil(high) + 1)
        between = [(e + math.log10(m), localized(m * 10.0**e, ".3g")) for e in more for m in (2, 5)]
        ticks = sorted([*ticks, *((at, text) for at, text in between if low <= at <= high)])
    return ticks
