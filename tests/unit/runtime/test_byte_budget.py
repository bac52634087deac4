"""The budget of bytes that threads share: never exceeded but by one alone, in order, and without a deadlock."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from kilat.runtime.byte_budget import SMALL, ByteBudget, LeftToParent, bytes_of

PIECE = 2 * SMALL


def most_at_once(budget: ByteBudget, sizes: list[int], threads: int = 4) -> int:
    """Return the most bytes that threads had together, which take these sizes one after the other."""
    lock, taken, most = threading.Lock(), 0, 0

    def work(size: int) -> None:
        nonlocal taken, most
        with budget.hold():
            budget.take(size)
            with lock:
                taken += size
                most = max(most, taken)
            with lock:
                taken -= size

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, sizes))
    return most


def test_threads_share_what_there_is() -> None:
    assert most_at_once(ByteBudget(lambda: 3 * PIECE), [PIECE] * 200) <= 3 * PIECE


def test_what_exceeds_all_of_it_goes_alone() -> None:
    budget = ByteBudget(lambda: PIECE)
    assert most_at_once(budget, [PIECE, 5 * PIECE, PIECE] * 40) == 5 * PIECE


def test_who_holds_some_is_not_kept_waiting_for_more() -> None:
    budget = ByteBudget(lambda: PIECE)
    with budget.hold():
        budget.take(PIECE)
        with budget.hold():  # does nothing: what is taken here is given back where the outer block ends
            budget.take(PIECE)
        waiting = threading.Thread(target=most_at_once, args=(budget, [PIECE], 1))
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join()


def test_small_ones_are_not_counted() -> None:
    budget = ByteBudget(lambda: 1)
    with budget.hold(), ThreadPoolExecutor(1) as pool:
        budget.take(PIECE)
        assert pool.submit(most_at_once, budget, [SMALL] * 3, 1).result() == SMALL


def test_a_worker_process_leaves_what_exceeds_its_share() -> None:
    budget = ByteBudget(lambda: 10 * PIECE)
    budget.restrict(PIECE, leaves_large=True)
    with budget.hold():
        budget.take(PIECE)
    with budget.hold(), pytest.raises(LeftToParent):
        budget.take(PIECE + 1)


def test_it_is_given_back_whatever_happens_in_the_block() -> None:
    budget = ByteBudget(lambda: PIECE)

    def fail() -> None:
        with budget.hold():
            budget.take(PIECE)
            raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            fail()


def test_bytes_of_what_stands_for_a_picture() -> None:
    assert [bytes_of(one) for one in (b"abc", np.zeros((2, 3, 3), np.uint8), None, ValueError())] == [3, 18, 0, 0]
