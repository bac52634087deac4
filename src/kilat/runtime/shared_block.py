"""Settings of the whole process that several threads need at once: set by the first, restored by the last."""

import contextlib
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Self


class SharedBlock:
    """A context of the whole process whose blocks may overlap, in several threads too.

    It is entered where the first block begins and left where the last one ends, so that every block has its settings,
    and none is left behind.

    Args:
        make: returns a fresh context.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[object]]) -> None:
        self._make = make
        self._lock, self._blocks = threading.Lock(), 0
        self._context = contextlib.ExitStack()

    def __call__(self) -> Self:
        """Return what begins a block, so that it can be written like other contexts."""
        return self

    def __enter__(self) -> None:
        with self._lock:
            if not self._blocks:
                self._context.enter_context(self._make())
            self._blocks += 1

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._blocks -= 1
            if not self._blocks:
                self._context.close()
