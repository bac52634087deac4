"""Progress as plain lines, for pipes and logs: each tenth of a stage is a line, with dots while nothing is said."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Self, TextIO

from kilat.runtime.progress import Stage
from kilat.runtime.progress_figures import how_far, outcome

_QUIET_SECONDS = 1.0
"""How long there is no sign at most, but for what holds up every thread."""

_LEAST_SECONDS = 1.0
"""A tenth that takes less is said with the next."""

_DOTS = 40
"""So many in a row make a line, for whoever reads line by line."""

_TENTHS = 10


class Lines:
    """Writes the name of a stage as it begins, dots while nothing is said, and how far it is at the end of the line.

    ::

        Extracting features .. 10%, 75/s, 43 s left
        Extracting features .. 20%, 75/s, 38 s left
        ...
        Extracting features . 3,670 pictures, 75/s, 48.9 s

    Args:
        stream: that is written to.
        now: the clock, in seconds.
    """

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.perf_counter) -> None:
        self._stream, self._now = stream, now
        self._lock = threading.RLock()  # what works and what writes dots are two threads
        self._stages: list[Stage] = []
        self._tenths: defaultdict[Stage, int] = defaultdict(int)
        self._open: Stage | None = None  # whose line is not ended
        self._dots = 0
        self._ended = self._written = now()  # the last line, and the last of it
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_ticking, name="kilat-progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def begin(self, stage: Stage) -> None:
        """Begin a line."""
        with self._lock:
            self._stages.append(stage)
            self._start(stage)

    def update(self, stage: Stage) -> None:
        """End the line where another tenth is done; the last one is said with the end."""
        tenth = _TENTHS * stage.done // max(stage.total, 1)
        if self._tenths[stage] == tenth:
            return
        with self._lock:
            is_more, self._tenths[stage] = tenth > self._tenths[stage], tenth
            if is_more and tenth < _TENTHS and self._now() - self._ended >= _LEAST_SECONDS:
                self._finish(stage, how_far(stage))

    def end(self, stage: Stage) -> None:
        """End the line with what was done, and how long it took."""
        with self._lock:
            self._finish(stage, outcome(stage))
            self._stages.remove(stage)
            self._tenths.pop(stage, None)

    def say(self, line: str) -> None:
        """Write a line between those of the stage."""
        with self._lock:
            if self._open:
                self._write("\n")
                self._open = None
            self._write(f"{line}\n")

    def tick(self) -> None:
        """Write a dot where nothing was written for a while, and end a line that has many."""
        with self._lock:
            if not self._stages or self._now() - self._written < _QUIET_SECONDS:
                return
            stage = self._stages[-1]
            if self._dots == _DOTS:
                self._finish(stage, how_far(stage))
            if self._open is not stage:
                self._start(stage)
            self._write("." if self._dots else " .")
            self._dots += 1

    def _keep_ticking(self) -> None:
        while not self._over.wait(_QUIET_SECONDS / 4):
            self.tick()

    def _start(self, stage: Stage) -> None:
        self._write(("\n" if self._open else "") + stage.name)
        self._open, self._dots = stage, 0

    def _finish(self, stage: Stage, text: str) -> None:
        if self._open is not stage:
            self._start(stage)
        self._write(f" {text}\n" if self._dots else f": {text}\n")
        self._open, self._ended = None, self._now()

    def _write(self, text: str) -> None:
        self._written = self._now()
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # whoever read it went away, which stops no work
            self._over.set()
