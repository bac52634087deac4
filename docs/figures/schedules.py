"""Lesson 10: the shapes of schedules, why a rate that falls ends lower, how to find one, and when to stop."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from figures import Translate, figure, measured
from kilat.fit import schedules
from kilat.recipe.fit import SCHEDULES
from kilat.report.svg_canvas import ACCENT, DASHED, MUTED, SIDE, TEXT, Canvas, Plot

EPOCHS, PER_EPOCH = 20, 20

SHAPES: tuple[dict[str, Any], ...] = (
    {"name": "constant"},
    {"name": "piecewise", "boundaries": [8, 14], "factors": [1, 0.3, 0.1]},
    {"name": "exponential", "factor": 0.1, "epochs": 20},
    {"name": "power", "epochs": 4},
    {"name": "linear", "warmup": 2},
    {"name": "cosine", "warmup": 2},
    {"name": "one_cycle"},
    {"name": "performance", "factor": 0.5, "patience": 3},
)
VALIDATION = (9, 7, 6, 5, 4.6, 4.3, 4.4, 4.3, 4.5, 3.9, 3.8, 3.8, 3.9, 3.8, 3.6, 3.6, 3.7, 3.6, 3.6, 3.6)
"""Losses after each epoch, for the schedule that watches them."""

WALKS, UPDATES, RATE = 400, 150, 0.3

_PANEL, _HEIGHT, _GAP = 232, 74, 16


@figure
def schedule_shapes(_: Translate) -> str:
    """Eight schedules over twenty epochs, all from the same base rate."""
    rows = -(-len(SHAPES) // 2)
    canvas = Canvas(2 * _PANEL + _GAP, rows * (_HEIGHT + 36) + 22)
    for number, choices in enumerate(SHAPES):
        row, column = divmod(number, 2)
        left, top = column * (_PANEL + _GAP), row * (_HEIGHT + 36) + 26
        canvas.write(left, top - 13, str(choices["name"]), TEXT)
        canvas.boxes(left, top, _PANEL, _HEIGHT, ["var(--panel)"])
        shares = rates(choices)
        x = left + np.arange(len(shares)) / (len(shares) - 1) * _PANEL
        canvas.curve(x, top + _HEIGHT - 6 - shares * (_HEIGHT - 14), ACCENT)
    canvas.write(0, canvas.height - 9, _("from the first to the last of 20 epochs; the bottom is a rate of 0"), MUTED)
    return canvas.to_svg(_("Learning rates of eight schedules over 20 epochs"))


def rates(choices: dict[str, Any]) -> NDArray[np.float64]:
    """Return the rate of every update as a share of the base rate."""
    schedule = SCHEDULES[choices["name"]].model_validate({k: v for k, v in choices.items() if k != "name"})
    total = EPOCHS * PER_EPOCH
    return np.array([
        schedules.rate(
            schedule, 1.0, step, per_epoch=PER_EPOCH, total=total, monitored=VALIDATION[: step // PER_EPOCH]
        )
        for step in range(total)
    ])  # fmt: skip


@figure
def noisy_valley(_: Translate) -> str:
    """The mean loss of many walks into a valley whose gradients are noisy, by the schedule of their rate."""
    falling = RATE * (1 + np.cos(np.pi * np.arange(UPDATES) / UPDATES)) / 2
    high, low = np.full(UPDATES, RATE), np.full(UPDATES, RATE / 10)
    lines = {
        f"constant · {_.number(RATE)}": (walk(high), MUTED, ""),
        f"constant · {_.number(RATE / 10)}": (walk(low), MUTED, DASHED),
        f"cosine · {_.number(RATE)} → 0": (walk(falling), ACCENT, ""),
    }
    plot = Plot(SIDE, 320, (0, UPDATES), (-3.0, 2.0), left=66, top=84)
    plot.ticks(x=[(step, str(step)) for step in range(0, UPDATES + 1, 50)],
               y=[(power, _.number(10.0**power)) for power in range(-3, 3)])  # fmt: skip
    plot.axis_titles(_("step"), _("mean loss"))
    for number, (name, (losses, colour, dash)) in enumerate(lines.items()):
        plot.canvas.curve(plot.x(np.arange(UPDATES + 1)), plot.y(np.log10(losses)), colour, 2, dash)
        plot.canvas.curve([plot.left, plot.left + 26], [11 + 20 * number] * 2, colour, 2.5, dash)
        plot.canvas.write(plot.left + 34, 11 + 20 * number, name, TEXT)
    return plot.canvas.to_svg(_("Mean loss in a valley with noisy gradients, by schedule"))


def walk(each_rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean loss ``w² / 2`` of many walks, each step by the gradient ``w`` and noise of variance 1."""
    random = np.random.default_rng(0)
    places = np.full(WALKS, 10.0)
    losses = [float((places**2).mean() / 2)]
    for rate in each_rate:
        places = places - rate * (places + random.standard_normal(WALKS))
        losses.append(float((places**2).mean() / 2))
    return np.array(losses)


@figure
def rate_finder(_: Translate) -> str:
    """The loss of a hundred batches, each at a higher rate than the one before, and the rate that was suggested."""
    found = json.loads(measured.kept("rate-finder", "lr-find.json") or "{}")
    rates, losses, smoothed = (np.array(found.get(key, [])) for key in ("rates", "losses", "smoothed"))
    plot = Plot(SIDE, 300, (-6, 0.3), (0, 4), left=40, top=30)
    powers = [(power, f"10{'⁻' if power else ''}{'⁰¹²³⁴⁵⁶'[-power]}") for power in range(-6, 1)]
    plot.ticks(powers, [(loss, _.number(loss)) for loss in range(5)])
    shown, drawn = losses <= 4, smoothed <= 4
    plot.canvas.dots(plot.x(np.log10(rates[shown])), plot.y(losses[shown]), MUTED, 2)
    plot.canvas.curve(plot.x(np.log10(rates[drawn])), plot.y(smoothed[drawn]), ACCENT)
    if found.get("suggestion"):
        across = float(plot.x(np.log10(found["suggestion"])))
        plot.canvas.lines([[(across, plot.top), (across, plot.bottom)]], TEXT, 1, DASHED)
        suggestion = _.number(found["suggestion"], "0.0##")
        plot.canvas.write(across - 8, plot.top + 8, f"{_('suggested')}: {suggestion}", TEXT, "end")
    plot.axis_titles(_("learning rate"), "loss")
    return plot.canvas.to_svg(_("The loss while the learning rate rises, and the rate that was suggested"))


@figure
def when_to_stop(_: Translate) -> str:
    """The loss on held-out pictures over many epochs, the mean of five trainings, and where it is lowest."""
    whole = [one for one in measured.variants("early-stopping") if measured.option(one, "early_stopping") == "null"]
    plot = Plot(SIDE, 280, (0, 60), (0, 0.5), left=48, top=20)
    plot.ticks([(epoch, _.number(epoch)) for epoch in range(0, 61, 10)],
               [(tenth / 10, _.number(tenth / 10, "0.0")) for tenth in range(6)])  # fmt: skip
    for one in whole:
        curve = one.curves["loss"]
        x, mean = plot.x(curve.epochs), np.minimum(curve.mean, 0.5)
        plot.canvas.area(x, plot.y(curve.low), plot.y(np.minimum(curve.high, 0.5)), (ACCENT, 0.15))
        plot.canvas.curve(x, plot.y(mean), ACCENT)
        lowest = int(np.argmin(mean))
        across, down = float(x[lowest]), float(plot.y(mean[lowest]))
        plot.canvas.dots(across, down, TEXT, 4)
        plot.canvas.write(across, down + 16, _("best"), TEXT, "middle")
    plot.axis_titles(_("epoch"), "loss")
    return plot.canvas.to_svg(_("Loss on held-out digits over 60 epochs: it falls fast, then rises slowly"))
