"""A moment by which work must be over, and a check, from its first pictures, whether a pass would be over in time."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from kilat.runtime.progress import Advance

_FIRST_SECONDS = 2.0
_FIRST_PICTURES = 48
_EARLY = 0.25
"""The share of the pictures after which a pass that is only a little too slow may go on."""
_LENIENCY = 1.5


@dataclass(frozen=True)
class Deadline:
    """The moment by which something must be over.

    Args:
        at: on the clock ``now``, in seconds.
        now: the clock.
    """

    at: float
    now: Callable[[], float] = time.perf_counter

    def remaining(self) -> float:
        """Return the seconds until the deadline; negative after it."""
        return self.at - self.now()

    def share(self, fraction: float) -> float:
        """Return the seconds in a fraction of the time that remains."""
        return fraction * self.remaining()


class TooSlowError(Exception):
    """A pass would not be over in time.

    Args:
        rate: pictures a second.
    """

    def __init__(self, rate: float) -> None:
        super().__init__(rate)
        self.rate = rate


def stop_if_too_slow(advance: Advance, seconds: float, now: Callable[[], float] = time.perf_counter) -> Advance:
    """Return a progress that stops a pass which would take too long, judging by its first pictures.

    Nothing is judged before 48 pictures and two seconds. After a quarter of the pictures, a pass may take half as long
    again as it should.

    Args:
        advance: called as well.
        seconds: how long the pass may take.
        now: the clock.

    Raises:
        TooSlowError: by the progress that is returned, where the pass would take longer.
    """
    began = now()

    def advance_or_stop(done: int, total: int, note: str = "") -> None:
        advance(done, total, note)
        passed = now() - began
        if passed < _FIRST_SECONDS or done < _FIRST_PICTURES:
            return
        if passed / done * total > seconds * (1 if done < _EARLY * total else _LENIENCY):
            raise TooSlowError(done / passed)

    return advance_or_stop
