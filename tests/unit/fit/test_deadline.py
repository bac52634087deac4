"""How many updates still fit before a deadline."""

import pytest

pytest.importorskip("torch")

from kilat.fit.deadline import UpdatePlanner
from kilat.runtime.deadline import Deadline


def planner(seconds, clock, *, per_epoch=100):
    deadline = Deadline(clock.time + seconds, clock)
    return UpdatePlanner(deadline, batch=10, per_epoch=per_epoch, validation_pictures=50, later_pictures=200)


def simulated(clock, limit, wanted, *, update, picture, checkpoint, slow_update=None, later_phases=()):
    """Go through phases as training does; return the updates of each, and the seconds that everything took."""
    began = clock.time
    made = planner(limit, clock)
    made.record_updates(update, 1)
    counts = []
    phases = [wanted, *later_phases]
    for number, phase in enumerate(phases):
        done, later = 0, sum(phases[number + 1 :])
        planned = made.plan(done, phase, later)
        while done < planned:
            seconds = slow_update if slow_update and done % 7 == 0 else update
            clock.time += seconds
            made.record_updates(seconds, 1)
            done += 1
            if done % 20 == 0:
                planned = made.plan(done, phase, later)
            if done % 100 == 0 or done >= planned:
                clock.time += 50 * picture + checkpoint
                made.record_validation(50 * picture)
                made.record_checkpoint(checkpoint)
                planned = max(made.plan(done, phase, later), done if done >= phase else 0)
        counts.append(done)
    return counts, clock.time + 200 * picture - began


def test_where_there_is_time_nothing_is_cut(clock):
    counts, seconds = simulated(clock, 1000, 300, update=0.1, picture=0.001, checkpoint=0.2)
    assert counts == [300]
    assert seconds < 1000


@pytest.mark.parametrize("limit", [30, 60, 200])
@pytest.mark.parametrize("slow_update", [None, 0.5])
def test_it_ends_in_time_and_uses_it(clock, limit, slow_update):
    counts, seconds = simulated(
        clock, limit, 10_000, update=0.1, picture=0.002, checkpoint=0.5, slow_update=slow_update
    )
    assert counts[0] > 1
    assert 0.55 * limit < seconds < limit


def test_phases_are_cut_by_the_same_share(clock):
    (first, second), seconds = simulated(
        clock, 100, 1000, update=0.1, picture=0.001, checkpoint=0.0, later_phases=[3000]
    )
    assert second / first == pytest.approx(3, rel=0.25)
    assert seconds < 100


def test_there_is_always_one_update(clock):
    late = planner(0.5, clock)
    late.record_updates(10.0, 1)
    assert late.affordable() == 0
    assert late.plan(0, 100, 0) == 1
    assert late.plan(7, 100, 0) == 7


def test_a_slow_validation_costs_updates(clock):
    made = planner(100, clock)
    made.record_updates(0.1, 1)
    made.record_validation(0.1)
    quick = made.affordable()
    made.record_validation(10.0)
    slow = made.affordable()
    made.record_checkpoint(10.0)
    assert made.affordable() < slow < quick
