"""How long the parts of a run took."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator

_log = logging.getLogger(__name__)


class Timer:
    """Starts when it is made, and adds up the seconds of named parts of a run, which it logs as they end.

    Args:
        now: the clock, in seconds.
        started: a moment on that clock at which it started already.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter, started: float | None = None) -> None:
        self.now = now
        self.started = now() if started is None else started
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the seconds that the block takes to those of a part."""
        start = self.now()
        try:
            yield
        finally:
            seconds = self.now() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
            _log.debug("%s %.3f", name, seconds)

    def timings(self) -> dict[str, float]:
        """Return the seconds of every part so far, and ``total_s``, rounded to thousandths."""
        parts = {"total_s": self.now() - self.started, **self.seconds}
        return {name: round(seconds, 3) for name, seconds in parts.items()}
