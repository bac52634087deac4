"""A budget of bytes that the threads of a process share: whoever needs more than is free waits for the others."""

import threading
from collections import deque
from collections.abc import Callable

import numpy as np

from kilat.runtime.memory import decoding_memory

SMALL = 8 << 20
"""Bytes that are not worth counting: a thread of every core may take as many at once."""


class LeftToParent(Exception):
    """Nothing is wrong: this worker process leaves something to the process that started it."""


def bytes_of(content: object) -> int:
    """Return how many bytes the file or the pixels of a picture take; 0 of what stands in the place of a picture."""
    return content.nbytes if isinstance(content, np.ndarray) else len(content) if isinstance(content, bytes) else 0


class ByteBudget:
    """Bytes that threads take before they fill them, in the order in which they ask.

    What exceeds the whole budget goes alone: it waits until all is free. A thread that holds some already is not kept
    waiting, so that no two wait for each other.

    Args:
        limit: returns how many there are.

    Attributes:
        is_worker: whether this process leaves what exceeds its share to the one that started it.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        self.is_worker = False
        self._limit = limit
        self._taken = 0
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._own = threading.local()

    @property
    def limit(self) -> int:
        """How many bytes there are."""
        return self._limit()

    def hold(self) -> "_Hold":
        """Return a context: what this thread takes inside is given back at its end; inside another one it does nothing.

        It is entered for every picture, so it is no generator, which would take twice as long.
        """
        return _Hold(self, self._own)

    def give_back(self) -> None:
        """Give back what this thread took in its block of ``hold``."""
        if getattr(self._own, "size", 0):
            with self._changed:
                self._taken -= self._own.size
                self._changed.notify_all()
            self._own.size = 0

    def take(self, size: int) -> None:
        """Take some bytes, to be given back at the end of the block of ``hold``; wait until so many are free.

        Outside of such a block nothing is taken.

        Raises:
            LeftToParent: this is a worker process, and they exceed its share.
        """
        if size <= SMALL or not hasattr(self._own, "size"):
            return
        limit = self.limit
        if self.is_worker and size > limit:
            raise LeftToParent
        with self._changed:
            if not self._own.size:
                me = object()
                self._waiting.append(me)
                try:
                    self._changed.wait_for(
                        lambda: self._waiting[0] is me and (self._taken + size <= limit or not self._taken)
                    )
                finally:  # also where the wait is interrupted
                    self._waiting.remove(me)
                    self._changed.notify_all()
            self._taken += size
            self._own.size += size

    def exchange(self, size: int) -> None:
        """Give back what this thread took in its block of ``hold``, and take so many bytes instead.

        Raises:
            LeftToParent: as of ``take``; then nothing is held.
        """
        self.give_back()
        self.take(size)

    def restrict(self, limit: int, leaves_large: bool = False) -> None:
        """Allow so many bytes from now on, such as in one of several processes.

        Args:
            limit: how many.
            leaves_large: whether taking more raises ``LeftToParent``.
        """
        self._limit, self.is_worker = (lambda: limit), leaves_large


class _Hold:
    """A block of a thread that holds bytes."""

    __slots__ = ("_budget", "_is_outermost", "_own")

    def __init__(self, budget: ByteBudget, own: threading.local) -> None:
        self._budget, self._own = budget, own

    def __enter__(self) -> None:
        self._is_outermost = not hasattr(self._own, "size")
        if self._is_outermost:
            self._own.size = 0

    def __exit__(self, *_error: object) -> None:
        if self._is_outermost:
            self._budget.give_back()
            del self._own.size


decoded_bytes = ByteBudget(decoding_memory)
"""The budget of decoded pictures: their pixels, and the copies that are made of them."""
