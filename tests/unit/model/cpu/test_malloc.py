"""Keeping memory: where it can be asked for it is done, elsewhere nothing happens."""

import platform
import subprocess
import sys

from kilat.model.cpu.malloc import keep_memory

FAULTS = """
import resource, sys
from kilat.model.memory import keep_memory
if sys.argv[1] == "keep":
    keep_memory()
for _ in range(20):
    bytearray(b"x") * 40_000_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def faults(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True).stdout)


def test_with_glibc_pages_are_not_mapped_anew():
    if platform.libc_ver()[0] == "glibc":
        assert faults("keep") < faults("leave") / 2
    else:
        assert not keep_memory()


def test_without_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_memory() is False
