"""The learning rate of every update, as a pure function of its number: Keras's schedules and PyTorch's one-cycle."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import singledispatch
from typing import NamedTuple

from kilat.fit.stopping import progress
from kilat.recipe.fit import Cosine, Exponential, Linear, OneCycle, Performance, Piecewise, Power, Schedule

_ROUNDING = 1e-9  # 0.1 epochs of 30 updates are 3 of them, although the product is a little more


def rate(
    schedule: Schedule, base: float, step: int, *, per_epoch: float, total: int, monitored: Sequence[float] = ()
) -> float:
    """The learning rate of one update.

    A warm-up starts at 0, so the first update with one changes nothing (as in Keras's ``CosineDecay``), and the lowest
    rate of a cosine or a line would be that of the update after the last. A piecewise rate changes with the first
    update after its boundary, as in Keras's ``PiecewiseConstantDecay``.

    Args:
        schedule: how the rate goes on.
        base: the rate that it goes on from.
        step: the number of the update, from 0.
        per_epoch: updates in an epoch.
        total: updates in all.
        monitored: the validation's losses (or accuracies, if the schedule monitors those) of all finished epochs.
            Only ``performance`` looks at them.
    """
    return _rate(schedule, base, _Moment(step, per_epoch, total, monitored))


def curve(
    schedule: Schedule, base: float, *, per_epoch: int, total: int, points: int = 200
) -> tuple[list[float], list[float]]:
    """The rate over all of training, for a drawing: at most ``points`` epochs, not whole ones, and their rates."""
    steps = sorted({round(point * (total - 1) / max(1, points - 1)) for point in range(points)})
    rates = [rate(schedule, base, step, per_epoch=per_epoch, total=total) for step in steps]
    return [step / per_epoch for step in steps], rates


class _Moment(NamedTuple):
    step: int
    per_epoch: float
    total: int
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
    wait = resting = 0
    for better in progress(now.monitored, monitor=schedule.monitor, min_delta=schedule.min_delta):
        if resting:
            resting, wait = resting - 1, 0
        if better:
            wait = 0
        elif not resting:
            wait += 1
            if wait >= schedule.patience and base > schedule.floor:
                base, resting, wait = max(base * schedule.factor, schedule.floor), schedule.cooldown, 0
    return base


@_rate.register
def _(schedule: OneCycle, base: float, now: _Moment) -> float:
    top, end = schedule.rise * now.total - 1, now.total - 1
    if now.step <= top:
        return base * _along_cosine(schedule.start, 1.0, now.step / top if top else 1.0)
    return base * _along_cosine(1.0, schedule.end, (now.step - top) / (end - top))


@_rate.register
def _(schedule: Cosine, base: float, now: _Moment) -> float:
    warm, gone = _warm_and_gone(schedule.warmup, now)
    return base * warm * _along_cosine(1.0, schedule.end, gone)


@_rate.register
def _(schedule: Linear, base: float, now: _Moment) -> float:
    warm, gone = _warm_and_gone(schedule.warmup, now)
    return base * warm * (1 + (schedule.end - 1) * gone)


def _lengths(schedule: Power | Exponential, now: _Moment) -> float:
    """How many of the schedule's lengths have passed."""
    updates = schedule.steps if schedule.epochs is None else schedule.epochs * now.per_epoch
    assert updates is not None
    return now.step / updates


def _along_cosine(start: float, end: float, gone: float) -> float:
    """From start to end along half a cosine, of which a share is gone."""
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, gone))) / 2


def _warm_and_gone(warmup: float, now: _Moment) -> tuple[float, float]:
    """The share of the base rate that warm-up has come to, and the share of the way down that is gone."""
    warm = warmup * now.per_epoch
    if now.step < warm:
        return now.step / warm, 0.0
    return 1.0, min(1.0, (now.step - warm) / max(1.0, now.total - warm))
