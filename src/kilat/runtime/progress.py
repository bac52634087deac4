"""Progress: work comes in stages; whoever works says how far a stage is, whoever called decides how it is shown.

A room below is handed a ``Progress`` and writes ``with progress.stage(_("Extracting features")) as stage:``. It never
prints. What it reports goes to a ``Renderer``: bars in a terminal, plain lines in a pipe, a table in a notebook
(``progress_bars``), or nothing. What is foreign in it is escaped (``kilat.locale.escapes``).
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Literal, Protocol

from kilat.locale.escapes import shown

Unit = Literal["pictures", "bytes", "steps", "networks", "trials"]
"""What a stage counts."""


class Advance(Protocol):
    """Called as a stage goes on."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Report that ``done`` of ``total`` are done; ``note`` says how it goes."""
        ...


def ignore(done: int, total: int, note: str = "") -> None:
    """Report to nobody; an ``Advance``."""


class Stage:
    """A stage that goes on, as renderers read it.

    Args:
        name: a verb and what it is done to, such as ``Extracting features``.
        unit: what is counted.
        renderer: that shows it.
        now: the clock, in seconds.
    """

    def __init__(self, name: str, unit: Unit, renderer: "Renderer", now: Callable[[], float]) -> None:
        self.name, self.unit, self.note = shown(name), unit, ""
        self.done, self.total = 0, 0
        self._renderer, self._now = renderer, now
        self._began = now()
        self._counted_from = self._began, 0

    def advance(self, done: int, total: int, note: str = "") -> None:
        """Report how far the stage is; an ``Advance``.

        A count that begins again, as that of every phase of a training does, has a rate of its own.
        """
        if not self.total or done < self.done:
            self._counted_from = self._now(), done
        self.done, self.total, self.note = done, total, shown(note)
        self._renderer.update(self)

    def say(self, line: str) -> None:
        """Show a line that stays, such as one for every epoch."""
        self._renderer.say(shown(line))

    @property
    def seconds(self) -> float:
        """How long it takes so far."""
        return self._now() - self._began

    @property
    def rate(self) -> float | None:
        """How many are done in a second; None before that can be said."""
        since, first = self._counted_from
        passed = self._now() - since
        return (self.done - first) / passed if passed > 0 and self.done > first else None

    @property
    def seconds_left(self) -> float | None:
        """How long it will still take at this rate; None before that can be said."""
        return (self.total - self.done) / self.rate if self.rate else None


class Renderer(Protocol):
    """Shows stages; it is called by the thread that works."""

    def begin(self, stage: Stage) -> None:
        """Show that a stage begins; another one may be going on."""
        ...

    def update(self, stage: Stage) -> None:
        """Show how far a stage is; called often, so that it must cost next to nothing."""
        ...

    def end(self, stage: Stage) -> None:
        """Show that a stage is over, be it done or given up."""
        ...

    def say(self, line: str) -> None:
        """Show a line that stays."""
        ...


class Silent:
    """A renderer that shows nothing; one that shows only some of it begins with this."""

    def begin(self, stage: Stage) -> None:
        """Show nothing."""

    def update(self, stage: Stage) -> None:
        """Show nothing."""

    def end(self, stage: Stage) -> None:
        """Show nothing."""

    def say(self, line: str) -> None:
        """Show nothing."""


class Progress:
    """Where rooms report the stages of their work.

    Args:
        renderer: that shows them.
        now: the clock, in seconds.
    """

    def __init__(self, renderer: Renderer, now: Callable[[], float] = time.perf_counter) -> None:
        self._renderer, self._now = renderer, now

    @contextlib.contextmanager
    def stage(self, name: str, unit: Unit = "pictures") -> Iterator[Stage]:
        """Show a stage while the block lasts.

        Args:
            name: a verb and what it is done to.
            unit: what it counts, where it does.
        """
        stage = Stage(name, unit, self._renderer, self._now)
        self._renderer.begin(stage)
        try:
            yield stage
        finally:
            self._renderer.end(stage)


silent = Progress(Silent())
"""Progress that nobody sees."""

unseen = Stage("", "pictures", Silent(), time.perf_counter)
"""A stage that nobody sees."""
