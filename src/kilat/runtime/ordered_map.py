"""Work on a stream of items in threads: results in order, and few items, and few bytes of them, in hand at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

from kilat.runtime.cores import available_cores

T = TypeVar("T")
R = TypeVar("R")

_BYTES_PER_CORE = 32 << 20


def ordered_map(
    pool: Executor, work: Callable[[T], R], items: Iterable[T], size: Callable[[T], int], ahead: int
) -> Iterator[R]:
    """Yield what some work gives for every item, in the order of the items, which are read as they are needed.

    At most ``ahead`` items and one more are in hand, and 32 MiB of them for each core; one that exceeds that goes
    alone. Work that has not begun when the results are no longer asked for, or an error has come, is not done.

    Args:
        pool: whose threads do the work.
        work: the function to call.
        items: what to call it with; an item is not kept once its work is done.
        size: returns the bytes of an item.
        ahead: how many items may wait for their turn or be worked on.
    """
    most = available_cores() * _BYTES_PER_CORE
    waiting: deque[tuple[Future[R], int]] = deque()
    in_hand = 0
    try:
        for item in items:
            waiting.append((pool.submit(work, item), taken := size(item)))
            in_hand += taken
            del item
            while len(waiting) > ahead or in_hand > most:
                future, taken = waiting.popleft()
                yield future.result()
                in_hand -= taken
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        for future, _size in waiting:
            future.cancel()
