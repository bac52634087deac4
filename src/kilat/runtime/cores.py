"""Processor cores: how many there are, and work spread over them."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def available_cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parallel_map(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Return what a function gives for every item, in the order of the items, computed in a thread per core."""
    with ThreadPoolExecutor(available_cores(), thread_name_prefix="kilat-work") as pool:
        return list(pool.map(work, items))


class _BlasLimit:
    """A limit that is set when its first block begins and lifted when its last one ends."""

    def __init__(self) -> None:
        self._lock, self._blocks = threading.Lock(), 0
        self._limits: Any = None

    @contextlib.contextmanager
    def block(self) -> Iterator[None]:
        from threadpoolctl import threadpool_limits

        with self._lock:
            if not self._blocks:
                self._limits = threadpool_limits(1, user_api="blas")
            self._blocks += 1
        try:
            yield
        finally:
            with self._lock:
                self._blocks -= 1
                if not self._blocks:
                    self._limits.restore_original_limits()


_blas_limit = _BlasLimit()


def single_threaded_blas() -> AbstractContextManager[None]:
    """Keep matrix products on the core that calls them while the block lasts, in all threads.

    Their own threads wait for each other by spinning: beside another busy program, two seconds became 27. Work that is
    handed out by ``parallel_map`` uses the same cores and waits for nothing. Blocks may overlap, in several threads
    too: the last one to end gives the matrix products their threads back.
    """
    return _blas_limit.block()
