"""A lock that ends with the process that holds it, and that says who that is."""

import os
import subprocess
import sys

import pytest

from kilat.runtime.file_lock import HeldError, file_lock, holder_of, open_locked

HOLD = """
import sys, time
from pathlib import Path
from kilat.runtime.file_lock import file_lock
with file_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other(tmp_path):
    """Another process, which holds the lock."""
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "lock"], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_who_holds_it_is_said_to_whoever_does_not_wait(tmp_path, other):
    path = tmp_path / "lock"
    assert holder_of(path).pid == other.pid
    with pytest.raises(HeldError, match=f"^process {other.pid}$"), file_lock(path, wait=False):
        pass
    assert open_locked(path) is None
    assert holder_of(path).pid == other.pid


def test_the_dead_hold_nothing(tmp_path, other):
    path = tmp_path / "lock"
    other.kill()
    other.wait()
    assert path.exists()
    assert holder_of(path) is None
    with file_lock(path, wait=False):
        assert holder_of(path).pid == os.getpid()
    assert not path.exists()
    assert holder_of(path) is None


def test_it_waits_for_whoever_holds_it(tmp_path, other):
    path = tmp_path / "lock"
    other.terminate()
    with file_lock(path):
        assert other.wait() != 0


def test_it_holds_within_a_process_as_well(tmp_path):
    path = tmp_path / "lock"
    with file_lock(path), pytest.raises(HeldError), file_lock(path, wait=False):
        pass
    with file_lock(path, wait=False):
        pass


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "second name"])
@pytest.mark.skipif(os.name != "posix", reason="pipes and links of POSIX")
def test_what_is_no_file_of_its_own_is_left_alone(tmp_path, kind):
    path, mine = tmp_path / "lock", tmp_path / "mine"
    mine.write_text("mine")
    make = {"link": lambda: path.symlink_to(mine), "pipe": lambda: os.mkfifo(path), "folder": path.mkdir}
    make.get(kind, lambda: path.hardlink_to(mine))()
    with pytest.raises(OSError), file_lock(path):
        pass
    assert holder_of(path) is None
    assert os.path.lexists(path)
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("content", [b"", b"x" * 5000, b"-5 \xff\x1b[2J", b"9" * 400])
def test_whatever_stands_in_it(tmp_path, content):
    path = tmp_path / "lock"
    with file_lock(path):
        path.write_bytes(content)
        assert holder_of(path) is not None
