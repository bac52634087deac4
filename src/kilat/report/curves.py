"""The course of training as figures: losses, accuracies, the learning rate, and the search for one."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.collections import LineCollection

from kilat.locale import _
from kilat.report.svg_canvas import ACCENT, MUTED, SIDE, TEXT, Floats, Plot, apart, legend, round_steps, to_svg, write

HALF = 370
"""Width of two figures side by side."""

_DOTTED = 12  # up to this many epochs each is a dot on the line
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def history(rows: Sequence[Mapping[str, float]], best: float | None = None) -> dict[str, Markup]:
    """What happened epoch by epoch: the figures ``loss``, ``accuracy`` and ``rate``, those that there are numbers for.

    Args:
        rows: one an epoch, with ``epoch``, ``loss``, ``accuracy``, ``validation_loss``, ``validation_accuracy`` and
            ``learning_rate``; what is missing or not finite is left out.
        best: the epoch that was kept; without it, the one with the lowest validation loss.
    """
    best = _lowest(rows) if best is None else best
    loss, accuracy, rate = _("Loss, epoch by epoch"), _("Accuracy, epoch by epoch"), _("Learning rate")
    figures = {
        "loss": _course(rows, "loss", loss, best),
        "accuracy": _course(rows, "accuracy", accuracy, best),
        "rate": _rates(*_column(rows, "learning_rate"), "rate", rate),
    }
    return {name: figure for name, figure in figures.items() if figure}


def schedule(epochs: Sequence[float], rates: Sequence[Sequence[float]], names: Sequence[str]) -> Markup:
    """Learning rates over the epochs, one line for each schedule.

    Args:
        epochs: where the rates hold, whole epochs or parts of them.
        rates: for each schedule its rate at each of these.
        names: of the schedules.
    """
    lines = np.asarray(rates, dtype=float).reshape(len(names), len(epochs))
    plot, height = _rate_plot(epochs, lines, SIDE, 290, top=34)
    legend(plot.axes, names, plot.left)
    for tone, line in zip((1.0, 0.55, 0.28), lines, strict=False):
        kept = np.isfinite(height(line))
        plot.axes.plot(plot.x(np.asarray(epochs)[kept]), plot.y(height(line)[kept]), color=(ACCENT, tone), linewidth=2)
    return to_svg(plot.axes, "schedule", _("Learning rate over the epochs"))


def rate_finder(rates: Sequence[float], losses: Sequence[float], suggestion: float | None) -> Markup:
    """The loss while the learning rate rises, with the suggested rate marked (Smith, arXiv 1506.01186)."""
    x, y = (np.asarray(values, dtype=float) for values in (rates, losses))
    kept = np.isfinite(x) & np.isfinite(y) & (x > 0)
    x, y = np.log10(x[kept]), y[kept]
    if not len(x):
        return Markup()
    # Where it diverges the loss is no longer of interest.
    top = float(min(y.max(), y[0] + 1.5 * max(y[0] - y.min(), 0.1 * abs(y[0]), 1e-3)))
    plot = Plot(SIDE, 300, _apart_ends(x.min(), x.max()), _with_margin(y.min(), top), top=30)
    plot.marks(x=_powers(x.min(), x.max()), y=_labelled(*_with_margin(y.min(), top)))
    plot.titles(_("learning rate"), _("loss"))
    shown = y <= top
    plot.axes.plot(plot.x(x[shown]), plot.y(y[shown]), color=ACCENT, linewidth=2)
    if suggestion is not None and suggestion > 0:
        at = math.log10(suggestion)
        _mark(plot, at, _("suggested: {rate}").format(rate=f"{suggestion:.2g}"))
        plot.axes.plot(plot.x([at]), plot.y([np.interp(at, x, np.minimum(y, top))]), "o", color=TEXT, markersize=7)
    return to_svg(plot.axes, "finder", _("Loss while the learning rate rises"))


def _course(rows: Sequence[Mapping[str, float]], key: str, title: str, best: float | None) -> Markup | None:
    """Training and validation together, with the epoch that was kept."""
    lines = {_("training"): _column(rows, key), _("validation"): _column(rows, f"validation_{key}")}
    lines = {name: line for name, line in lines.items() if len(line[0])}
    if not lines:
        return None
    x, y = (np.concatenate([line[i] for line in lines.values()]) for i in (0, 1))
    low, high = _with_margin(y.min(), y.max())
    low, high = (max(low, 0.0), min(high, 1.0)) if key == "accuracy" else (low, high)
    plot = Plot(HALF, 286, _apart_ends(x.min(), x.max()), (low, high), top=52)
    percent = key == "accuracy"
    plot.marks(x=_epochs(plot, x), y=_labelled(low, high, percent=percent))
    plot.titles(_("epoch"))
    write(plot.axes, 0, 9, title)
    for name, (at, values) in lines.items():
        colour = ACCENT if name == _("validation") else (ACCENT, 0.45)
        dots = "o-" if len(at) <= _DOTTED else "-"
        plot.axes.plot(plot.x(at), plot.y(values), dots, color=colour, linewidth=2, markersize=4.5)
    _names(plot, list(lines))
    _mark_best(plot, lines[list(lines)[-1]], best)
    return to_svg(plot.axes, f"course-{key}", title)


def _names(plot: Plot, names: Sequence[str]) -> None:
    """A stroke in each line's colour with its name; validation is the strong one."""
    left = float(plot.left)
    for name in names:
        colour = ACCENT if name == _("validation") else (ACCENT, 0.45)
        plot.axes.plot([left, left + 16], [31, 31], color=colour, linewidth=2.5)
        write(plot.axes, left + 22, 31, name, color=MUTED)
        left += 22 + 8 * len(name) + 18


def _mark_best(plot: Plot, line: tuple[Floats, Floats], best: float | None) -> None:
    at, values = line
    if best is None or best not in at or len(at) == 1:
        return
    value = float(values[at == best][0])
    x = float(plot.x(best))
    plot.axes.plot([x, x], [plot.top, plot.bottom], color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
    plot.axes.plot([x], plot.y([value]), "o", color=TEXT, markersize=6)
    beyond = x > (plot.left + plot.right) / 2
    # On the side of the plot that lines leave free: they fall (loss) or rise (accuracy) towards the best epoch.
    high = float(plot.y(value)) > (plot.top + plot.bottom) / 2
    y = plot.top + 10 if high else plot.bottom - 12
    write(plot.axes, x + (-7 if beyond else 7), y, _("best: {epoch}").format(epoch=f"{best:g}"), color=MUTED,
          ha="right" if beyond else "left")  # fmt: skip


def _rates(epochs: Floats, rates: Floats, name: str, title: str) -> Markup | None:
    if not len(epochs):
        return None
    plot, height = _rate_plot(epochs, rates[None], HALF, 286, top=34)
    write(plot.axes, 0, 9, title)
    kept = np.isfinite(height(rates))
    style = "o" if len(epochs) == 1 else "-"
    at, heights = plot.x(epochs[kept]), plot.y(height(rates)[kept])
    plot.axes.plot(at, heights, style, color=ACCENT, linewidth=2, markersize=4.5, drawstyle="steps-post")
    return to_svg(plot.axes, f"course-{name}", title)


def _rate_plot(
    epochs: Sequence[float] | Floats, rates: Floats, width: int, height: int, top: int
) -> tuple[Plot, "_Axis"]:
    """A plot for learning rates, on the axis that suits them."""
    x = np.asarray(epochs, dtype=float)
    axis = _Axis(rates)
    low, high = axis.reach
    plot = Plot(width, height, _apart_ends(x.min(), x.max()), (low, high), left=72, top=top)
    plot.marks(x=_epochs(plot, x), y=axis.marks)
    plot.titles(_("epoch"))
    return plot, axis


class _Axis:
    """Linear, or logarithmic where that spreads the rates more evenly."""

    def __init__(self, rates: Floats) -> None:
        values = rates[np.isfinite(rates)]
        self.is_log = bool(len(values)) and values.min() > 0 and values.max() >= 10 * values.min() and (
            _unevenness(np.log(values)) < _unevenness(values)
        )  # fmt: skip
        heights = self(values) if len(values) else np.array([0.0, 1.0])
        self.low, self.high = float(heights.min()), float(heights.max())

    def __call__(self, rates: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log10(rates) if self.is_log else np.asarray(rates, dtype=float)

    @property
    def reach(self) -> tuple[float, float]:
        """From the lowest to the highest place; a linear axis starts at zero."""
        if self.is_log:
            return _with_margin(self.low, self.high)
        return min(self.low, 0.0), self.high * 1.06 or 1.0

    @property
    def marks(self) -> list[tuple[float, str]]:
        """Round rates with their places."""
        if self.is_log:
            return _powers(*self.reach, fine=True)
        return [(step, f"{step:.3g}") for step in round_steps(*self.reach)]


def _unevenness(values: Floats) -> float:
    """How far from the middle of their range the middle value lies."""
    return abs(float((np.median(values) - values.min()) / np.ptp(values)) - 0.5)


def _column(rows: Sequence[Mapping[str, float]], key: str) -> tuple[Floats, Floats]:
    """Epochs and values, where there is a finite one."""
    pairs = [(row["epoch"], row[key]) for row in rows if row.get(key) is not None and math.isfinite(row[key])]
    columns = np.array(pairs, dtype=float).reshape(-1, 2).T
    return columns[0], columns[1]


def _lowest(rows: Sequence[Mapping[str, float]]) -> float | None:
    epochs, losses = _column(rows, "validation_loss")
    return float(epochs[losses.argmin()]) if len(epochs) else None


def _with_margin(low: float, high: float) -> tuple[float, float]:
    margin = max((high - low) * 0.05, abs(high) * 1e-3, 1e-9)
    return float(low - margin), float(high + margin)


def _apart_ends(low: float, high: float) -> tuple[float, float]:
    """A range that has a length, even where there is a single value."""
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(high) + 0.5)


def _epochs(plot: Plot, x: Floats) -> list[tuple[float, str]]:
    """Whole epochs to write below, the first and the last among them where there is room."""
    low, high = float(x.min()), float(x.max())
    steps = np.unique([low, *(s for s in round_steps(low, high) if s == round(s)), high])
    return [(float(steps[i]), f"{steps[i]:g}") for i in apart(plot.x(steps), 34)]


def _labelled(low: float, high: float, *, percent: bool = False) -> list[tuple[float, str]]:
    """Round values with as many digits as tell them apart."""
    steps = round_steps(low, high)
    gap = (steps[1] - steps[0] if len(steps) > 1 else 1.0) * (100 if percent else 1)
    digits = max(0, -math.floor(math.log10(gap) + 1e-9))
    return [(s, f"{s:.{digits}%}" if percent else f"{s:.{digits}f}") for s in steps]


def _powers(low: float, high: float, *, fine: bool = False) -> list[tuple[float, str]]:
    """Powers of ten within a range of exponents; with ``fine`` also 2 and 5 times these where they are few."""
    whole = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
    thin = whole[:: max(1, math.ceil(len(whole) / 7))]
    marks = [(float(e), f"10{str(e).translate(_SUPERSCRIPT)}") for e in thin]
    if fine and len(whole) <= 3:
        exponents = range(math.floor(low), math.ceil(high) + 1)
        between = [(e + math.log10(m), f"{m * 10.0**e:.3g}") for e in exponents for m in (2, 5)]
        marks = sorted([*marks, *((at, text) for at, text in between if low <= at <= high)])
    return marks


def _mark(plot: Plot, at: float, text: str) -> None:
    """A dashed line up from a value, with a text at its top."""
    x = float(plot.x(at))
    plot.axes.add_collection(
        LineCollection([[(x, plot.top), (x, plot.bottom)]], colors=MUTED, linewidths=1, linestyles=[(0, (3, 3))]),
        autolim=False,
    )
    centred = min(max(x, plot.left + 60), plot.right - 60)
    write(plot.axes, centred, plot.top - 14, text, ha="center")
