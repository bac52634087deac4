"""Ctrl-C and SIGTERM: recorded while a network is trained, so that it can save before it ends; else an interruption."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn, Self

from kilat.errors import RunError
from kilat.locale import _


class Stopped(RunError):
    """A run was told to stop. ``exit_code`` is 128 and the signal's number, as shells have it.

    Args:
        number: of the signal.
        message: by default that everything is saved.
        hint: how to go on.
    """

    kind = "stopped"

    def __init__(self, number: int, message: str = "", *, hint: str = "") -> None:
        saved = _("Stopped by {signal}; everything up to here is saved.")
        super().__init__(message or saved.format(signal=signal.Signals(number).name), hint=hint)
        self.number = number
        self.exit_code = 128 + number


class Terminated(KeyboardInterrupt):
    """SIGTERM, as the interruption that Ctrl-C is."""


@contextlib.contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM interrupt the block as Ctrl-C does, so that it cleans up; from the main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _terminate(*_arguments: object) -> NoReturn:
    raise Terminated


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
