"""Processor cores: how many there are, and work spread over them."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")


def threads() -> int:
    """How many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parallel_map(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Does some work on every item, a thread per core, and gives the results in the order of the items."""
    with ThreadPoolExecutor(threads(), thread_name_prefix="kilat-work") as pool:
        return list(pool.map(work, items))


def single_threaded_blas() -> AbstractContextManager[object]:
    """Keeps matrix products on the core that asks for them, while the block lasts.

    Their own threads wait for each other by spinning: beside another busy program, two seconds became 27. Work that is
    handed out by ``parallel_map`` uses the same cores and waits for nothing.
    """
    from threadpoolctl import threadpool_limits

    return cast(AbstractContextManager[object], threadpool_limits(1, user_api="blas"))
