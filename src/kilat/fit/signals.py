"""Ctrl-C and SIGTERM while training: recorded, so that training can save before it ends."""

import signal
import threading
from types import FrameType
from typing import Any, Self

from kilat.errors import RunError
from kilat.locale import _


class Stopped(RunError):
    """Training was told to stop, and is saved. ``exit_code`` is 128 and the signal's number, as shells have it."""

    kind = "stopped"

    def __init__(self, number: int) -> None:
        name = signal.Signals(number).name
        super().__init__(
            _("Stopped by {signal}; everything up to here is saved.").format(signal=name),
            hint=_("Go on with --resume and the folder of the run."),
        )
        self.exit_code = 128 + number


class DeferredSignals:
    """Inside the block, the first Ctrl-C or SIGTERM is only recorded in ``received``; a second one acts at once.

    Handlers are installed from the main thread alone, since Python allows no other, and only in the place of handlers
    that Python can restore. A block that ends well although a signal was recorded raises ``Stopped``: nobody handled
    it.
    """

    def __init__(self) -> None:
        self.received = 0
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not None:  # a handler from outside of Python could not be restored
                    self._handlers[number] = signal.signal(number, self._record)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._restore()
        if self.received and kind is None:
            raise Stopped(self.received)

    def _record(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}
