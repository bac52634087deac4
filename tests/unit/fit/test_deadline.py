import pytest

pytest.importorskip("torch")

from kilat.fit.deadline import Deadline


class Clock:
    """Goes on when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def pace(seconds, clock, *, per_epoch=100, validation=50, later=200):
    return Deadline(clock.now + seconds, batch=10, per_epoch=per_epoch, validation=validation, later=later, now=clock)


def simulated(limit, wanted, *, update, answer, save, stumble=None, later_phases=()):
    """Goes through the phases as training does; gives the updates of each, and when everything was over."""
    clock = Clock()
    made = pace(limit, clock)
    made.updated(update)
    counts = []
    phases = [wanted, *later_phases]
    for number, phase in enumerate(phases):
        done, later = 0, sum(phases[number + 1 :])
        planned = made.plan(done, phase, later)
        while done < planned:
            took = stumble if stumble and done % 7 == 0 else update
            clock.now += took
            made.updated(took)
            done += 1
            if done % 20 == 0:
                planned = made.plan(done, phase, later)
            if done % 100 == 0 or done >= planned:
                clock.now += 50 * answer + save
                made.validated(50 * answer)
                made.saved(save)
                planned = max(made.plan(done, phase, later), done if done >= phase else 0)
        counts.append(done)
    return counts, clock.now + 200 * answer - 1000.0


def test_where_there_is_time_nothing_is_cut():
    counts, over = simulated(1000, 300, update=0.1, answer=0.001, save=0.2)
    assert counts == [300]
    assert over < 1000


@pytest.mark.parametrize("limit", [30, 60, 200])
@pytest.mark.parametrize("stumble", [None, 0.5])
def test_it_ends_in_time_and_uses_it(limit, stumble):
    counts, over = simulated(limit, 10_000, update=0.1, answer=0.002, save=0.5, stumble=stumble)
    assert counts[0] > 1
    assert 0.55 * limit < over < limit


def test_phases_are_cut_by_the_same_share():
    (first, second), over = simulated(100, 1000, update=0.1, answer=0.001, save=0.0, later_phases=[3000])
    assert second / first == pytest.approx(3, rel=0.25)
    assert over < 100


def test_there_is_always_one_update():
    clock = Clock()
    late = pace(0.5, clock)
    late.updated(10.0)
    assert late.affordable() == 0
    assert late.plan(0, 100, 0) == 1
    assert late.plan(7, 100, 0) == 7


def test_a_slow_validation_costs_updates():
    clock = Clock()
    made = pace(100, clock)
    made.updated(0.1)
    made.validated(0.1)
    quick = made.affordable()
    made.validated(10.0)
    slow = made.affordable()
    made.saved(10.0)
    assert made.affordable() < slow < quick
