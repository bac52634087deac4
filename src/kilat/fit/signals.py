"""Ctrl-C and SIGTERM while training: noted, so that it can save before it goes."""

import signal
import threading
from types import FrameType
from typing import Any, Self

from kilat.errors import RunError
from kilat.locale import _


class Stopped(RunError):
    """Training was told to stop and is saved. ``exit_code`` is 128 and the signal's number, as shells have it."""

    kind = "stopped"

    def __init__(self, number: int) -> None:
        name = signal.Signals(number).name
        super().__init__(
            _("Stopped by {signal}; everything up to here is saved.").format(signal=name),
            hint=_("Go on with --resume and the folder of the run."),
        )
        self.exit_code = 128 + number


class Listening:
    """While it lasts, the first Ctrl-C or SIGTERM is only noted in ``number``; a second one acts at once.

    A block that ends well although one was noted ends in ``Stopped``: it was told, and nobody heeded it.
    """

    def __init__(self) -> None:
        self.number = 0
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python lets nobody listen
            self.before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stop_listening()
        if self.number and kind is None:
            raise Stopped(self.number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self._stop_listening()

    def _stop_listening(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}
