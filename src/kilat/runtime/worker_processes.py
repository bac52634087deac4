"""Worker processes: the same work as in a thread, without the interpreter's lock between the workers.

They are loky's (the processes behind joblib), because those start from anywhere: a notebook, ``python -``, a script
without ``if __name__ == "__main__"``, macOS and Windows.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Generic, TypeVar

from kilat.runtime.cores import available_cores
from kilat.runtime.memory import available_memory

T = TypeVar("T")
R = TypeVar("R")

MEMORY = 512 << 20
"""Bytes that a worker may come to need: an interpreter with its libraries, a network and the pictures in its hands."""

_PARENT_SECONDS = 1.0

_FEWEST_CORES = 4
_START_AFTER = 0.5
_WORTH_STARTING = 6.0
"""Worker processes take a second or two of every core to start. From four cores on, and where that many seconds of
work are left after the first half second, they win it back."""


class WorkerProcesses(Generic[T, R]):
    """Processes that do one kind of work; they start in the background.

    A worker ignores Ctrl-C, which ends it through its parent, and ends by itself where its parent has been killed.

    Args:
        work: the function to call; it is pickled, and sent to each worker once.
        count: how many processes.

    Attributes:
        broken: whether a worker died, such as for lack of memory; then there are none any more.
    """

    def __init__(self, work: Callable[[T], R], count: int) -> None:
        from joblib.externals.loky import ProcessPoolExecutor

        self.broken = False
        with _interrupts_held_back():
            self._pool = ProcessPoolExecutor(count, initializer=_begin, initargs=(work, os.getpid()))
            self._started: Future[None] = self._pool.submit(_nothing)

    @property
    def ready(self) -> bool:
        """Whether the first of them has started, and none has died."""
        return self._started.done() and not self.broken

    def wait(self) -> None:
        """Wait until the first of them has started."""
        with contextlib.suppress(BrokenProcessPool):
            self._started.result()

    def __call__(self, item: T) -> R:
        """Return what the work gives for an item, computed by a worker; safe to call from several threads.

        Raises:
            BrokenProcessPool: a worker died.
            Exception: what the work raised.
        """
        try:
            return self.submit(item).result()
        except BrokenProcessPool:
            self.broken = True
            raise

    def submit(self, item: T) -> "Future[R]":
        """Return at once what will come to be what the work gives for an item; it raises what a call would."""
        future: Future[R] = self._pool.submit(_do, item)
        return future

    def close(self) -> None:
        """End all processes at once."""
        self._pool.shutdown(wait=True, kill_workers=True)


def worthwhile_processes(seconds: float, done: int, total: int) -> int:
    """Return how many worker processes to start for the rest of some work; 0 where they are not worth their start.

    There are as many as cores, or as there is memory for; half of the memory stays free.

    Args:
        seconds: that the work took so far.
        done: how much of it is done.
        total: how much there is.
    """
    left = seconds / max(1, done) * (total - done)
    if available_cores() < _FEWEST_CORES or seconds < _START_AFTER or left < _WORTH_STARTING:
        return 0
    return min(available_cores(), available_memory() // (2 * MEMORY))


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Hold Ctrl-C back, so that processes that are started meanwhile never get it, not even as they begin."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows, where the workers ignore it as soon as they run
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_work: Callable[[Any], Any]
"""What this process was started for, in a worker."""


def _begin(work: Callable[[Any], Any], parent: int) -> None:
    global _work  # noqa: PLW0603 - a process has one kind of work
    _work = work
    from joblib.externals.loky import process_executor

    # loky takes the memory of PyTorch, which the first work imports, for a leak, and would begin another process.
    process_executor._USE_PSUTIL = False  # noqa: SLF001 - there is no public name for it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    os._exit(1)


def _nothing() -> None:
    """Be the first task, which is done when a worker is there."""


def _do(item: Any) -> Any:
    return _work(item)
