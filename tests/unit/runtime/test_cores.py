"""Work is spread over cores in order, and matrix products get their threads back."""

import os

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from kilat.runtime.cores import available_cores, parallel_map, single_threaded_blas


def blas_threads() -> list[int]:
    np.ones((2, 2)) @ np.ones((2, 2))  # so that its library is there
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_there_is_a_core_and_no_more_than_the_machine_has() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


def test_results_come_in_the_order_of_the_items() -> None:
    assert parallel_map(lambda number: number**2, range(200)) == [number**2 for number in range(200)]
    assert parallel_map(abs, []) == []


def test_an_error_in_the_work_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        parallel_map(lambda number: 1 / number, [1, 0])


def test_matrix_products_stay_on_one_core_within_the_block() -> None:
    before = blas_threads()
    with single_threaded_blas():
        assert set(blas_threads()) <= {1}
        with single_threaded_blas():
            assert set(blas_threads()) <= {1}
        assert set(blas_threads()) <= {1}
    assert blas_threads() == before
