"""How long the stages of a run took."""

import contextlib
import time
from collections.abc import Iterator


class Timer:
    """Starts when it is made; ``measure`` adds up the seconds of named stages."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.stages: dict[str, float] = {}

    @contextlib.contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Adds what happens inside to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stages[stage] = self.stages.get(stage, 0.0) + time.perf_counter() - start

    def timings(self) -> dict[str, float]:
        """Seconds of every stage so far, and ``total_s``."""
        total = time.perf_counter() - self.started
        return {"total_s": round(total, 3), **{stage: round(seconds, 3) for stage, seconds in self.stages.items()}}
