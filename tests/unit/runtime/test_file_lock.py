"""A lock that ends with the process that holds it."""

import subprocess
import sys

import pytest

from kilat.runtime.file_lock import file_lock

fcntl = pytest.importorskip("fcntl", reason="there are no such locks here")
HOLD = """
import sys, time
from pathlib import Path
from kilat.runtime.file_lock import file_lock
with file_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_it_waits_for_whoever_holds_it_and_not_for_the_dead(tmp_path):
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with path.open("a") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        other.kill()
        other.wait()
        with file_lock(path):
            pass
