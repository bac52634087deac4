"""How the threads of OpenMP wait is set, unless the user has set it."""

import os

import pytest

from kilat.runtime.cores import available_cores
from kilat.runtime.openmp import use_available_cores, wait_asleep


def test_threads_sleep_while_they_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    wait_asleep()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


@pytest.mark.parametrize(("name", "value"), [("OMP_WAIT_POLICY", "ACTIVE"), ("GOMP_SPINCOUNT", "5")])
def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    for other in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, value)
    wait_asleep()
    found = {other: os.environ.get(other) for other in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    assert found == {"OMP_WAIT_POLICY": None, "GOMP_SPINCOUNT": None, name: value}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system binds no process to cores")
def test_no_more_threads_than_cores_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        use_available_cores()
        assert available_cores() == 1
        assert os.environ.get("OMP_NUM_THREADS") == ("1" if (os.cpu_count() or 1) > 1 else None)
        monkeypatch.setenv("OMP_NUM_THREADS", "7")
        use_available_cores()
        assert os.environ["OMP_NUM_THREADS"] == "7"
    finally:
        os.sched_setaffinity(0, before)
