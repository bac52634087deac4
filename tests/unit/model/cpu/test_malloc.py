"""Freed memory is kept for the next tensor while the block lasts, and goes back to the system afterwards."""

import platform
import subprocess
import sys

import pytest

from kilat.model.cpu.malloc import keep_freed_memory

MEASURE = """
import resource
from kilat.model.cpu.malloc import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        bytearray(b"x") * 40_000_000
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

print(faults())
with keep_freed_memory():
    with keep_freed_memory():
        pass
    print(faults())
    inside = resident()
print(inside - resident())
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_pages_are_kept_while_the_block_lasts_and_given_back_after_it():
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, check=True, text=True)
    before, inside, given_back, after = map(int, done.stdout.split())
    pages = 20 * 40_000_000 // 4096  # of 4 KiB, all of which are mapped anew without the block
    assert inside < pages / 2 < before
    assert given_back > 30_000_000  # of the last 40 MB
    assert after > pages / 2


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_it_says_whether_memory_is_kept():
    with keep_freed_memory() as is_kept:
        assert is_kept


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    with keep_freed_memory() as is_kept:
        assert not is_kept
