"""How many threads OpenMP starts and how they wait; said before a library that brings OpenMP is imported."""

import os

from kilat.runtime.cores import available_cores

_SPINS = "1000"
"""Some 20 µs on current processors: a thread that is only a little late still finds the others awake."""


def wait_asleep() -> None:
    """Have threads sleep while they wait for each other, after a few microseconds.

    By default they spin for milliseconds, after which they go on a little sooner. But where another program has one of
    the cores, two threads share the other one, and each spins away the time that the one that it waits for needs.

    What the user has set in the environment stays. OpenMP reads it when it is loaded, with PyTorch, so that this has no
    effect where PyTorch was imported before.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
        os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": _SPINS}


def use_available_cores() -> None:
    """Have OpenMP start no more threads than a container's share of the cores, which it does not see by itself.

    What the user has set in the environment stays. It has no effect where PyTorch was imported before.
    """
    if available_cores() < (os.cpu_count() or 1):
        os.environ.setdefault("OMP_NUM_THREADS", str(available_cores()))
