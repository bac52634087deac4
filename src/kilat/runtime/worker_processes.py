"""Worker processes: the same work as in a thread, without the interpreter's lock between the workers.

They are loky's (the processes behind joblib), because those start from anywhere: a notebook, ``python -``, a script
without ``if __name__ == "__main__"``, macOS and Windows.
"""

import contextlib
import faulthandler
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any, Generic, TypeVar

from kilat.runtime.byte_budget import decoded_bytes
from kilat.runtime.cores import available_cores
from kilat.runtime.memory import available_memory

T = TypeVar("T")
R = TypeVar("R")

MEMORY = 512 << 20
"""Bytes that a worker may come to need: an interpreter with its libraries, a network and the pictures in its hands."""

_DECODED = 160 << 20
"""How many of them decoded pictures may take in any case, with the copies that are made of them."""

_PARENT_SECONDS = 1.0

_FEWEST_CORES = 4
_START_AFTER = 0.5
_WORTH_STARTING = 6.0
"""Worker processes take a second or two of every core to start. From four cores on, and where that many seconds of
work are left after the first half second, they win it back."""


class WorkerProcesses(Generic[T, R]):
    """Processes that do one kind of work; they start in the background.

    A worker ignores Ctrl-C, which ends it through its parent, and ends by itself where its parent has been killed.
    Where one dies, all end, and half as many take their place: the next may have more memory.

    Args:
        work: the function to call; it is pickled, and sent to each worker once.
        count: how many processes.
        patience: seconds after which a worker that still works on one item ends itself; None for no limit.
        leaves_large: whether the work hands pictures back that exceed a worker's share of ``decoded_bytes``; otherwise
            they wait there until they can go alone.

    Attributes:
        died: whether a worker did, such as for lack of memory.
    """

    def __init__(
        self, work: Callable[[T], R], count: int, *, patience: float | None = None, leaves_large: bool = False
    ) -> None:
        self.died = False
        self._work, self._patience, self._leaves_large = work, patience, leaves_large
        self._lock = threading.Lock()
        self._start(count)

    @property
    def ready(self) -> bool:
        """Whether the first of them has started."""
        return self._count > 0 and self._started.done()

    def wait(self) -> None:
        """Wait until the first of them has started."""
        with contextlib.suppress(BrokenProcessPool):
            self._started.result()

    def __call__(self, item: T) -> R:
        """Return what the work gives for an item, computed by a worker; safe to call from several threads.

        Raises:
            BrokenProcessPool: a worker died, or they were closed.
            Exception: what the work raised.
        """
        from joblib.externals.loky.process_executor import ShutdownExecutorError

        pool = self._pool
        try:
            result: R = pool.submit(_do, item).result()
        except (BrokenProcessPool, ShutdownExecutorError) as error:
            self._start_fewer(pool)
            raise BrokenProcessPool(str(error)) from error
        return result

    def submit(self, item: T) -> "Future[R]":
        """Return at once what will come to be what the work gives for an item; it raises what a call would."""
        future: Future[R] = self._pool.submit(_do, item)
        return future

    def close(self) -> None:
        """End all processes at once."""
        with self._lock:
            self._count = 0
        self._pool.shutdown(wait=True, kill_workers=True)

    def _start(self, count: int) -> None:
        from joblib.externals.loky import ProcessPoolExecutor

        budget = max(decoded_bytes.limit // count, _DECODED), self._leaves_large
        settings = (self._work, os.getpid(), budget, self._patience)
        with _interrupts_held_back():
            self._pool = ProcessPoolExecutor(count, initializer=_begin, initargs=settings)
            self._started: Future[None] = self._pool.submit(_nothing)
        self._count = count

    def _start_fewer(self, broken: Any) -> None:
        """Replace the processes of a pool in which one died, unless another thread did, or they were closed."""
        with self._lock:
            if self._pool is not broken or not self._count:
                return
            self.died = True
            self._count //= 2
            if self._count:
                self._start(self._count)


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

_watched: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
"""Returns what watches over a piece of work."""


def _begin(work: Callable[[Any], Any], parent: int, budget: tuple[int, bool], patience: float | None) -> None:
    global _work, _watched  # noqa: PLW0603 - a process has one kind of work
    _work = work
    decoded_bytes.restrict(*budget)
    if patience is not None:
        _watched = partial(_ended_after, patience, os.open(os.devnull, os.O_WRONLY))
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


@contextlib.contextmanager
def _ended_after(seconds: float, nowhere: int) -> Iterator[None]:
    """End this process where the block takes longer, whatever holds the interpreter's lock."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _do(item: Any) -> Any:
    with _watched():
        return _work(item)
