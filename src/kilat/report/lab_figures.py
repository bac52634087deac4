"""A lab as figures: effects with their intervals (a forest plot), curves over each other, the course of a search."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from kilat.locale import _, localized
from kilat.report import curves
from kilat.report.lab_content import loss, points
from kilat.report.lab_results import CurveBand, MeasuredEffect, VariantComparison, VariantResult
from kilat.report.svg_canvas import (
    ACCENT,
    FULL,
    LINE,
    MUTED,
    TEXT,
    Plot,
    column_width,
    percent_label,
    shorten,
    spaced_apart,
    text_width,
    tick_values,
)
from kilat.runtime.array_types import Doubles

_PAGE = "var(--page)"
_ROW = 44
_WHISKER = 4
_FAR_OUT = 4
"""So many times as far as the upper quartile, an interval stands far out."""
_LETTER = 7.8  # pixels, as text_width counts


def forest(effects: Sequence[VariantComparison], measure: str, labels: Mapping[str, str]) -> Markup | None:
    """Draw effects with their intervals one below the other; None where there are none.

    Those that are more than chance explains are in the page's colour. What lies beyond the axis is cut off: the numbers
    beside every name say how far it goes.

    Args:
        effects: of variants against one reference.
        measure: ``accuracy``, drawn in percentage points, or ``log_loss``.
        labels: what to call the variants, by their names.
    """
    if not effects:
        return None
    is_share = measure == "accuracy"
    found: list[MeasuredEffect] = [getattr(effect, measure) for effect in effects]
    title = _("Accuracy, in points") if is_share else _("Log loss: less is better")
    limit = _limit(found, 100 if is_share else 1)
    plot = Plot(curves.HALF, 74 + _ROW * len(found), (-limit, limit), (0, 1), left=14, top=24)
    plot.right, plot.bottom = plot.width - 14, plot.height - 50
    plot.canvas.write(0, 9, title)
    _draw_scale(plot, limit)
    plot.axis_titles(_("← worse · better →") if is_share else _("← better · worse →"))
    for number, (effect, one) in enumerate(zip(effects, found, strict=True)):
        _draw_effect(plot, plot.top + 12 + _ROW * number, labels[effect.second], one, is_share=is_share)
    return plot.canvas.to_svg(title)


def _limit(found: Sequence[MeasuredEffect], scale: float) -> float:
    """Return how far the axis goes to both sides: as far as the intervals, but for those that stand far out."""
    ends = np.array([max(map(abs, (one.difference, *(one.interval or ())))) for one in found])
    return max(float(ends[ends <= _FAR_OUT * np.quantile(ends, 0.75)].max()) * scale * 1.06, 1e-6)


def _draw_scale(plot: Plot, limit: float) -> None:
    ticks = tick_values(-limit, limit)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else limit
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    places = plot.x(ticks)
    plot.canvas.lines([[(at, plot.top), (at, plot.bottom)] for at in places], LINE)
    for i in spaced_apart(places, 44):
        label = localized(ticks[i], f"+.{digits}f") if ticks[i] else "0"
        plot.canvas.write(float(places[i]), plot.bottom + 15, label, MUTED, "middle")
    zero = float(plot.x(0))
    plot.canvas.lines([[(zero, plot.top), (zero, plot.bottom)]], MUTED)


def _draw_effect(plot: Plot, height: float, name: str, effect: MeasuredEffect, *, is_share: bool) -> None:
    """Draw one effect: its name and numbers, and the interval below them."""
    canvas, scale = plot.canvas, 100 if is_share else 1
    numbers = points(effect) if is_share else loss(effect)
    room = int((plot.width - text_width(numbers) - 18) / _LETTER)
    colour = ACCENT if effect.is_significant else MUTED
    canvas.write(0, height, shorten(name, max(room, 8)), TEXT, title=name)
    width = text_width(numbers)
    canvas.tiles(plot.width - width, height - 9, width, 18, _PAGE)  # no line crosses the numbers
    canvas.write(plot.width, height, numbers, TEXT if effect.is_significant else MUTED, "end")
    middle, line = float(np.clip(plot.x(effect.difference * scale), plot.left, plot.right)), height + 18
    if effect.interval is not None:
        ends = plot.x(np.array(effect.interval) * scale)
        low, high = (float(np.clip(end, plot.left, plot.right)) for end in ends)
        canvas.lines([[(low, line), (high, line)]], colour, 2)
        whiskers = [end for end, shown in zip(ends.tolist(), (low, high), strict=True) if end == shown]
        canvas.lines([[(end, line - _WHISKER), (end, line + _WHISKER)] for end in whiskers], colour, 2)
    canvas.dots(middle, line, colour, 4.5)


def courses(variants: Sequence[VariantResult], key: str, labels: Mapping[str, str]) -> Markup | None:
    """Draw the mean of a value on validation pictures by epoch, with bands from the lowest to the highest seed.

    Args:
        variants: those that have it are drawn.
        key: ``loss`` or ``accuracy``.
        labels: what to call the variants, by their names.
    """
    found: dict[str, CurveBand] = {labels[one.name]: one.curves[key] for one in variants if key in one.curves}
    titles = {"loss": _("Validation loss"), "accuracy": _("Validation accuracy")}
    return curves.compared(
        {name: (np.array(one.epochs), np.array(one.mean)) for name, one in found.items()},
        titles[key],
        _("epoch"),
        is_share=key == "accuracy",
        bands={name: (np.array(one.low), np.array(one.high)) for name, one in found.items()},
    )


def best_so_far(variants: Sequence[VariantResult]) -> Markup | None:
    """Draw the accuracy of every variant in the order in which a search tried them, and the best up to then."""
    tried = [(number, one.accuracy) for number, one in enumerate(variants, 1) if one.accuracy is not None]
    if len(tried) < 2:
        return None
    numbers, accuracies = np.array(tried, float).T
    low, high = float(accuracies.min()), float(accuracies.max())
    margin = max((high - low) * 0.06, 1e-3)
    plot = Plot(FULL, 280, (float(numbers[0]) - 0.5, float(numbers[-1]) + 0.5), (low - margin, high + margin), top=34)
    labelled = spaced_apart(plot.x(numbers), 30)
    plot.ticks(
        x=[(float(numbers[i]), f"{numbers[i]:g}") for i in labelled],
        y=[(value, percent_label(value)) for value in tick_values(low, high)],
    )
    title = _("Accuracy of each variant, and the best so far")
    plot.axis_titles(_("variant"))
    plot.canvas.write(0, 9, title)
    best: Doubles = np.maximum.accumulate(accuracies)
    edges = np.append(numbers, numbers[-1] + 0.5)
    plot.canvas.curve(plot.x(np.repeat(edges, 2)[1:-1]), plot.y(np.repeat(best, 2)), ACCENT)
    names = [f"{one.name}: {percent_label(one.accuracy)}" for one in variants if one.accuracy is not None]
    plot.canvas.dots(plot.x(numbers), plot.y(accuracies), MUTED, 3, names)
    return plot.canvas.to_svg(title)


def by_value(variants: Sequence[VariantResult], option: str) -> Markup | None:
    """Draw the accuracy of the variants by the value of one option: numbers along an axis, names side by side.

    Args:
        variants: that were tried.
        option: its path; None is returned where fewer than two values were tried.
    """
    tried = [(one.options[option], one) for one in variants if option in one.options and one.accuracy is not None]
    values = list(dict.fromkeys(value for value, _one in tried))
    if len(values) < 2:
        return None
    accuracies = np.array([one.accuracy for _value, one in tried], float)
    low, high = float(accuracies.min()), float(accuracies.max())
    margin = max((high - low) * 0.06, 1e-3)
    places, ticks = _places(values)
    left, right = min(places.values()), max(places.values())
    side = (right - left) * 0.06
    plot = Plot(curves.HALF, 240, (left - side, right + side), (low - margin, high + margin), top=30)
    at = np.array([places[value] for value, _one in tried])
    kept = spaced_apart(plot.x([place for place, _label in ticks]), column_width([label for _at, label in ticks]))
    plot.ticks(x=[ticks[i] for i in kept], y=[(value, percent_label(value)) for value in tick_values(low, high)])
    plot.canvas.write(0, 9, shorten(option, 44), title=option)
    plot.canvas.dots(plot.x(at), plot.y(accuracies), (ACCENT, 0.6), 3.5, [one.name for _value, one in tried])
    return plot.canvas.to_svg(_("Accuracy by {option}").format(option=option))


def _places(values: Sequence[str]) -> tuple[dict[str, float], list[tuple[float, str]]]:
    """Return where values stand along an axis, and its ticks; numbers far apart stand by their logarithms."""
    try:
        numbers = {value: float(value) for value in values}
    except ValueError:
        places = {value: float(i) for i, value in enumerate(values)}
        return places, [(at, shorten(value, 12)) for value, at in places.items()]
    lowest, highest = min(numbers.values()), max(numbers.values())
    if lowest > 0 and highest > 20 * lowest:
        places = {value: math.log10(number) for value, number in numbers.items()}
        powers = range(math.floor(places[min(numbers, key=numbers.__getitem__)]), math.ceil(math.log10(highest)) + 1)
        ticks = [(float(power), localized(10.0**power, "g")) for power in powers]
        inside = [tick for tick in ticks if min(places.values()) <= tick[0] <= max(places.values())]
        return places, inside or [(at, localized(numbers[value], ".3g")) for value, at in places.items()]
    return numbers, [(value, localized(value, "g")) for value in tick_values(lowest, highest)]
