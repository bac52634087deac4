"""Learning-rate schedules: their shapes and their bounds."""

import math

import pytest

from kilat.fit import schedules
from kilat.recipe.fit import (
    SCHEDULES,
    Constant,
    Cosine,
    Exponential,
    Linear,
    OneCycle,
    Performance,
    Piecewise,
    Power,
)

EXAMPLES = {
    "constant": Constant(),
    "power": Power(epochs=2, power=2),
    "exponential": Exponential(epochs=3),
    "piecewise": Piecewise(boundaries=(1,), factors=(1, 0.5)),
    "performance": Performance(),
    "one_cycle": OneCycle(),
    "cosine": Cosine(warmup=1),
    "linear": Linear(warmup=1, end=0.1),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("per_epoch", "total"), [(1, 1), (1, 3), (5, 5), (5, 1), (3, 30)])
def test_every_schedule_keeps_between_zero_and_its_base(name, per_epoch, total):
    rates = [schedules.rate(EXAMPLES[name], 0.2, s, per_epoch=per_epoch, total=total) for s in range(total + 1)]
    assert all(0 <= rate <= 0.2 for rate in rates)


def rates(schedule, per_epoch, total):
    return [schedules.rate(schedule, 1.0, step, per_epoch=per_epoch, total=total) for step in range(total)]


def test_warm_up_starts_at_zero_and_ends_at_the_base():
    for schedule in (Linear(warmup=2), Cosine(warmup=2)):
        assert rates(schedule, 2, 8)[:5] == pytest.approx([0, 0.25, 0.5, 0.75, 1.0])
    assert rates(Linear(warmup=2), 2, 8)[5:] == pytest.approx([0.75, 0.5, 0.25])


def test_warm_up_that_is_longer_than_training():
    assert rates(Linear(warmup=4), 2, 4) == pytest.approx([0, 0.125, 0.25, 0.375])


def test_a_time_limit_shortens_a_warm_up_as_it_shortens_the_whole():
    half = [schedules.rate(Linear(warmup=4), 1.0, step, per_epoch=10, total=50, wanted=100) for step in range(50)]
    assert half[:21] == pytest.approx([step / 20 for step in range(21)])
    assert half[49] < 0.05


@pytest.mark.parametrize(
    "schedule", [Exponential(epochs=15), Power(epochs=5), Piecewise(boundaries=(2, 5), factors=(1, 0.5, 0.1))]
)
def test_a_decay_with_a_length_of_its_own_keeps_it_under_a_time_limit(schedule):
    whole = [schedules.rate(schedule, 1.0, step, per_epoch=10, total=10_000) for step in range(100)]
    cut = [schedules.rate(schedule, 1.0, step, per_epoch=10, total=100, wanted=10_000) for step in range(100)]
    assert cut == whole


def test_power_of_two():
    assert rates(Power(steps=1, power=2), 1, 4) == pytest.approx([1, 1 / 4, 1 / 9, 1 / 16])


def test_a_staircase_whose_length_in_steps_is_not_exact():
    """0.1 × 30 is a little more than 3; each step of the staircase is 3 updates long all the same."""
    found = rates(Exponential(epochs=0.1, factor=0.5, staircase=True), 30, 9)
    assert found == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_piecewise_rates_change_after_their_boundaries():
    assert rates(Piecewise(boundaries=(0.1, 0.2), factors=(1, 0.5, 2)), 30, 9) == [1, 1, 1, 1, 0.5, 0.5, 0.5, 2, 2]


def test_one_cycle_rises_and_falls():
    found = rates(OneCycle(rise=0.25, start=0.1, end=0.001), 1, 40)
    top = found.index(max(found))
    assert top == 9
    assert (found[0], found[top], found[-1]) == pytest.approx((0.1, 1.0, 0.001))
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)


def test_one_cycle_that_starts_at_its_top():
    assert rates(OneCycle(rise=0.1), 1, 10)[0] == 1.0


def test_performance_falls_to_its_floor():
    schedule = Performance(factor=0.1, patience=2, floor=0.05, cooldown=1)
    losses = [1.0] * 9
    found = [schedules.rate(schedule, 1.0, 0, per_epoch=1, total=9, monitored=losses[:n]) for n in range(9)]
    assert found == pytest.approx([1, 1, 1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05])


def test_performance_by_accuracy():
    schedule = Performance(factor=0.5, patience=1, monitor="accuracy")
    length = {"per_epoch": 1, "total": 9}
    assert schedules.rate(schedule, 1.0, 3, monitored=[0.1, 0.2, 0.3], **length) == 1.0
    assert schedules.rate(schedule, 1.0, 3, monitored=[0.3, 0.2, 0.1], **length) == 0.25


def test_a_curve_to_plot():
    epochs, found = schedules.curve(Cosine(), 0.1, per_epoch=10, total=1000, points=50)
    assert len(epochs) == len(found) == 50
    assert (epochs[0], epochs[-1]) == (0, 99.9)
    assert found == pytest.approx([0.05 * (1 + math.cos(math.pi * epoch / 100)) for epoch in epochs])
    assert schedules.curve(Cosine(), 0.1, per_epoch=1, total=1) == ([0.0], [0.1])
    assert schedules.curve(Cosine(), 0.1, per_epoch=1, total=3)[0] == [0, 1, 2]
