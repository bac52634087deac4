"""A deadline counts on the clock that it was given, and a pass that would not be over in time ends early."""

import pytest

from kilat.runtime.deadline import Deadline, TooSlowError, stop_if_too_slow
from kilat.runtime.progress import ignore


class Clock:
    """A clock that advances by a step every time it is read."""

    def __init__(self, step):
        self.time, self.step = 0.0, step

    def __call__(self):
        self.time += self.step
        return self.time


def test_what_remains_is_what_its_clock_says():
    deadline = Deadline(100.0, lambda: 70.0)
    assert deadline.remaining() == 30.0
    assert deadline.share(0.5) == 15.0
    assert Deadline(100.0, lambda: 130.0).remaining() == -30.0


def run(seconds_each, total, seconds):
    """A pass in which every picture takes some seconds; returns how many were done."""
    advance = stop_if_too_slow(ignore, seconds, Clock(seconds_each))
    done = 0
    for done in range(1, total + 1):
        advance(done, total)
    return done


def test_a_pass_that_is_in_time_goes_on():
    assert run(seconds_each=0.1, total=1000, seconds=101) == 1000


def test_a_pass_that_would_be_late_ends_early_with_its_rate():
    with pytest.raises(TooSlowError) as caught:
        run(seconds_each=0.1, total=10_000, seconds=100)
    assert caught.value.rate == pytest.approx(10)


def test_a_pass_that_has_come_far_may_end_a_little_late():
    clock = Clock(0.09)
    advance = stop_if_too_slow(ignore, 100, clock)
    for done in range(1, 600):
        advance(done, 1000)
    clock.step = 0.13
    for done in range(600, 1001):
        advance(done, 1000)


def test_the_progress_below_is_told_all_the_same():
    reported = []
    advance = stop_if_too_slow(lambda done, total, note="": reported.append((done, total, note)), 100, Clock(0.0))
    advance(1, 2, "half")
    assert reported == [(1, 2, "half")]
