"""Timers add up what parts of a run took, on any clock."""

import logging
import subprocess
import sys

import pytest

from kilat.runtime.timer import Timer


class Clock:
    """A clock that stands still unless it is moved."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_parts_add_up_and_the_total_goes_on() -> None:
    clock = Clock()
    timer = Timer(clock)
    assert timer.started == 100
    for seconds in (2.0, 0.5):
        with timer.measure("decode_s"):
            clock.seconds += seconds
    clock.seconds += 1
    with timer.measure("fit_s"):
        clock.seconds += 0.12345
    assert timer.timings() == {"total_s": 3.623, "decode_s": 2.5, "fit_s": 0.123}


def test_a_part_that_fails_counts_as_well() -> None:
    clock = Clock()
    timer = Timer(clock)

    def fail() -> None:
        with timer.measure("fit_s"):
            clock.seconds += 3
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()
    assert timer.timings() == {"total_s": 3.0, "fit_s": 3.0}


def test_time_passes_by_itself() -> None:
    timer = Timer()
    assert timer.timings()["total_s"] >= 0


def test_parts_are_logged_as_they_end(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    timer = Timer(clock)
    with caplog.at_level(logging.DEBUG, logger="kilat"), timer.measure("fit_s"):
        clock.seconds += 1.5
    assert caplog.messages == ["fit_s 1.500"]


def test_what_is_logged_is_printed_only_where_a_program_asks_for_it() -> None:
    code = "import logging, sys; {}import kilat.runtime.timer; logging.getLogger('kilat.runtime').warning('heard')"
    for setting, printed in (("", ""), ("logging.basicConfig(); ", "WARNING:kilat.runtime:heard\n")):
        done = subprocess.run([sys.executable, "-c", code.format(setting)], capture_output=True, text=True, check=True)
        assert done.stderr == printed
