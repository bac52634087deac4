"""The learning rate of every update, as a pure function of its number: Keras's schedules and PyTorch's one-cycle."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import singledispatch
from typing import NamedTuple

from kilat.fit.stopping import improvements
from kilat.recipe.fit import Cosine, Exponential, Fit, Linear, OneCycle, Performance, Piecewise, Power, Schedule

_ROUNDING = 1e-9  # 0.1 epochs of 30 updates are 3 updates, although the product is a little more


def rate(
    schedule: Schedule,
    base: float,
    step: int,
    *,
    per_epoch: int,
    total: int,
    wanted: int | None = None,
    monitored: Sequence[float] = (),
) -> float:
    """Return the learning rate of one update.

    A warm-up starts at 0, so its first update changes nothing (as in Keras's ``CosineDecay``), and the lowest rate of a
    cosine or a linear schedule would be that of the update after the last. A piecewise rate changes with the first
    update after its boundary, as in Keras's ``PiecewiseConstantDecay``.

    A time limit shortens a warm-up as it shortens the whole, so that it is not all that is left; decays of a length
    of their own (power, exponential, piecewise) keep it.

    Args:
        schedule: how the rate changes.
        base: the rate that it changes.
        step: the number of the update, from 0.
        per_epoch: updates an epoch.
        total: updates altogether, as many as there is time for.
        wanted: updates that the recipe asks for; ``total`` by default.
        monitored: the validation's losses (or accuracies, if the schedule monitors those) of all finished epochs;
            only ``performance`` needs them.
    """
    shortened = 1.0 if wanted is None else min(1.0, total / wanted)
    return _rate(schedule, base, _Moment(step, per_epoch, total, shortened, monitored))


def curve(
    schedule: Schedule, base: float, *, per_epoch: int, total: int, points: int = 200
) -> tuple[list[float], list[float]]:
    """Return the rate over all of training, to plot it: at most ``points`` epochs, in fractions, and their rates."""
    steps = sorted({round(point * (total - 1) / max(1, points - 1)) for point in range(points)})
    rates = [rate(schedule, base, step, per_epoch=per_epoch, total=total) for step in steps]
    return [step / per_epoch for step in steps], rates


def planned_curve(fit: Fit, per_epoch: int) -> tuple[list[float], list[float]]:
    """Return the rate over a whole training, all phases one after the other: epochs, in fractions, and their rates.

    Args:
        fit: how the training goes.
        per_epoch: updates an epoch.
    """
    epochs: list[float] = []
    rates: list[float] = []
    start = 0
    for phase in fit.all_phases:
        count = fit.epochs_of(phase, per_epoch)
        base = phase.learning_rate or fit.optimizer.rate
        in_phase, of_phase = curve(fit.schedule, base, per_epoch=per_epoch, total=count * per_epoch, points=400)
        epochs += [start + epoch for epoch in in_phase]
        rates += of_phase
        start += count
    return epochs, rates


class _Moment(NamedTuple):
    """When in a training an update is made."""

    step: int
    per_epoch: int
    total: int
    shortened: float
    monitored: Sequence[float]


@singledispatch
def _rate(schedule: Schedule, base: float, now: _Moment) -> float:  # noqa: ARG001 - the constant one
    return base


@_rate.register
def _(schedule: Power, base: float, now: _Moment) -> float:
    return base / math.pow(1 + _lengths(schedule, now), schedule.power)


@_rate.register
def _(schedule: Exponential, base: float, now: _Moment) -> float:
    lengths = _lengths(schedule, now)
    return base * math.pow(schedule.factor, math.floor(lengths + _ROUNDING) if schedule.staircase else lengths)


@_rate.register
def _(schedule: Piecewise, base: float, now: _Moment) -> float:
    boundaries = [boundary * now.per_epoch for boundary in schedule.boundaries]
    return base * schedule.factors[bisect_left(boundaries, now.step - _ROUNDING)]


@_rate.register
def _(schedule: Performance, base: float, now: _Moment) -> float:
    waited = cooldown = 0
    for better in improvements(now.monitored, monitor=schedule.monitor, min_delta=schedule.min_delta):
        if cooldown:
            cooldown, waited = cooldown - 1, 0
        if better:
            waited = 0
        elif not cooldown:
            waited += 1
            if waited >= schedule.patience and base > schedule.floor:
                base, cooldown, waited = max(base * schedule.factor, schedule.floor), schedule.cooldown, 0
    return base


@_rate.register
def _(schedule: OneCycle, base: float, now: _Moment) -> float:
    top, end = schedule.rise * now.total - 1, now.total - 1
    if now.step <= top:
        return base * _cosine(schedule.start, 1.0, now.step / top if top else 1.0)
    return base * _cosine(1.0, schedule.end, (now.step - top) / (end - top))


@_rate.register
def _(schedule: Cosine, base: float, now: _Moment) -> float:
    factor, fraction = _warmup_and_decay(schedule.warmup, now)
    return base * factor * _cosine(1.0, schedule.end, fraction)


@_rate.register
def _(schedule: Linear, base: float, now: _Moment) -> float:
    factor, fraction = _warmup_and_decay(schedule.warmup, now)
    return base * factor * (1 + (schedule.end - 1) * fraction)


def _lengths(schedule: Power | Exponential, now: _Moment) -> float:
    """Return how many of the schedule's lengths have passed."""
    updates = schedule.steps if schedule.epochs is None else schedule.epochs * now.per_epoch
    assert updates is not None
    return now.step / updates


def _cosine(start: float, end: float, fraction: float) -> float:
    """Return the value after a fraction of the way from start to end, along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, fraction))) / 2


def _warmup_and_decay(warmup: float, now: _Moment) -> tuple[float, float]:
    """Return the factor of the base rate during warm-up, and the fraction of the decay after it that is over."""
    updates = warmup * now.per_epoch * now.shortened
    if now.step < updates:
        return now.step / updates, 0.0
    return 1.0, min(1.0, (now.step - updates) / max(1.0, now.total - updates))
