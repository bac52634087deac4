"""Work on a stream in threads: the order kept, few items and few bytes of them in hand, and an end that cancels."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from kilat.runtime.cores import at_most_cores
from kilat.runtime.ordered_map import ordered_map

MIB = 1 << 20


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


def most_in_hand(pool: ThreadPoolExecutor, sizes: list[int], ahead: int) -> tuple[int, int]:
    """Return the most items, and the most bytes of them, that had been read and not given back yet."""
    given, items, size = 0, 0, 0

    def read() -> Iterator[int]:
        nonlocal items, size
        for number in range(len(sizes)):
            yield number
            items, size = max(items, number + 1 - given), max(size, sum(sizes[given : number + 1]))

    for result in ordered_map(pool, lambda number: number, read(), sizes.__getitem__, ahead):
        assert result == given
        given += 1
    assert given == len(sizes)
    return items, size


def test_in_order_and_few_items_ahead(pool: ThreadPoolExecutor) -> None:
    items, _size = most_in_hand(pool, [1] * 100, 5)
    assert items <= 6


def test_few_bytes_ahead(pool: ThreadPoolExecutor) -> None:
    with at_most_cores(2):
        _items, size = most_in_hand(pool, [10 * MIB] * 40, 1_000)
        assert size <= 64 * MIB + 10 * MIB
        _items, size = most_in_hand(pool, [250 * MIB, 250 * MIB, 1, 1, 250 * MIB], 1_000)
        assert size <= 250 * MIB + 2


def test_an_error_comes_in_its_place_and_nothing_new_is_begun(pool: ThreadPoolExecutor) -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        return 1 // (3 - number)

    results = ordered_map(pool, work, range(1_000), lambda number: 0, 4)
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert max(begun) < 10


def test_who_stops_asking_ends_it(pool: ThreadPoolExecutor) -> None:
    begun: list[int] = []
    results = ordered_map(pool, begun.append, range(1_000), lambda number: 0, 4)
    next(results)
    results.close()
    assert len(begun) < 10
