"""Work is spread over cores in order, and matrix products get their threads back."""

import math
import os

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from kilat.runtime.cores import at_most_cores, available_cores, cpu_quota, parallel_map, single_threaded_blas


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


@pytest.mark.parametrize(
    ("group", "files", "wanted"),
    [
        ("0::/", {"cpu.max": "200000 100000\n"}, 2.0),
        ("0::/", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/job/step", {"job/step/cpu.max": "max 100000\n", "job/cpu.max": "50000 100000\n"}, 0.5),
        ("3:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1.5),
        ("3:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("3:cpuset:/", {"cpuset/cpu.max": "50000 100000\n"}, math.inf),
        ("0::/", {"cpu.max": "of another kind\n"}, math.inf),
        ("0::/", {}, math.inf),
    ],
)
def test_a_containers_share_of_the_cores(tmp_path, group, files, wanted) -> None:
    for name, text in {"proc/self/cgroup": group, **{f"sys/fs/cgroup/{name}": files[name] for name in files}}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    assert cpu_quota(tmp_path) == wanted


def test_a_block_may_have_fewer_cores():
    before = available_cores()
    with at_most_cores(1):
        assert available_cores() == 1
        with at_most_cores(before + 5):
            assert available_cores() == 1
    assert available_cores() == before
