"""Processor cores: how many there are, and work spread over them."""

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import TypeVar, cast

from kilat.runtime.control_groups import own_groups
from kilat.runtime.shared_block import SharedBlock

T = TypeVar("T")
R = TypeVar("R")

_most = math.inf
"""The cores that ``at_most_cores`` allows."""


def available_cores() -> int:
    """Return how many processor cores this process may use: those it is bound to, or a container's share of them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return math.floor(min(cores, math.ceil(min(cpu_quota(), cores)), _most))


@contextlib.contextmanager
def at_most_cores(count: int) -> Iterator[None]:
    """Let this process count so many cores at most while the block lasts, such as where others like it run beside it.

    What was computed with other numbers of cores may differ in its last digits.
    """
    global _most  # noqa: PLW0603 - a setting of the whole process
    before, _most = _most, min(_most, count)
    try:
        yield
    finally:
        _most = before


@lru_cache
def cpu_quota(root: Path = Path("/")) -> float:
    """Return the time of how many cores the control groups of this process allow; infinite for no limit.

    Args:
        root: of the file system with ``proc`` and ``sys``.
    """
    quotas = [math.inf]
    for group in own_groups("cpu", root):
        for names in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):  # of version 2 and of version 1
            with contextlib.suppress(OSError, ValueError):
                quota, period = (int(one) for name in names for one in (group / name).read_text("ascii").split())
                quotas += [quota / period] if quota > 0 < period else []  # no limit is -1, or "max"
    return min(quotas)


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
