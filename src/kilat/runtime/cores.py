"""Processor cores: how many there are, and work spread over them."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TypeVar, cast

from kilat.runtime.shared_block import SharedBlock

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


def _one_blas_thread() -> AbstractContextManager[object]:
    from threadpoolctl import threadpool_limits

    return cast(AbstractContextManager[object], threadpool_limits(1, user_api="blas"))


single_threaded_blas = SharedBlock(_one_blas_thread)
"""Keeps matrix products on the core that calls them while the block lasts, in all threads.

Their own threads wait for each other by spinning: beside another busy program, two seconds became 27. Work that is
handed out by ``parallel_map`` uses the same cores and waits for nothing.
"""
