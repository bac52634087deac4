"""Work in native code that Ctrl-C can interrupt: Python acts on a signal only where its main thread runs Python."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def interruptible(work: Callable[[], T]) -> T:
    """Return what some work gives, which a thread of its own does while the main thread waits.

    Ctrl-C then ends the wait at once. The work goes on until its native code comes back, and what it gives is dropped.

    Raises:
        KeyboardInterrupt: there was one.
        Exception: what the work raised.
    """
    if threading.current_thread() is not threading.main_thread():  # where no signal arrives
        return work()
    done: Future[T] = Future()

    def do() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised by whoever waits
            done.set_exception(error)

    threading.Thread(target=do, name="kilat-native", daemon=True).start()
    return done.result()
