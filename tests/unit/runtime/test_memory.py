"""The memory that a process can still have: what the system calls free, within the limits of its control groups."""

from pathlib import Path

import pytest

from kilat.runtime import memory
from kilat.runtime.memory import available_memory, has_room


def system(root: Path, files: dict[str, str]) -> Path:
    """A file system with these files."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = "MemTotal:       16000000 kB\nMemFree:         100000 kB\nMemAvailable:    8000000 kB\n"


def test_what_the_system_calls_available(tmp_path: Path) -> None:
    assert available_memory(system(tmp_path, {"proc/meminfo": MEMINFO})) == 8_000_000 * 1024


@pytest.mark.parametrize(
    ("groups", "files"),
    [
        ("0::/job/step\n", {"sys/fs/cgroup/job/step/memory.max": "max\n", "sys/fs/cgroup/job/memory.max": "12345\n"}),
        ("0::/\n", {"sys/fs/cgroup/memory.max": "12345\n"}),
        (
            "11:memory:/job\n4:cpu,cpuacct:/job\n",
            {
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "12345\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
        ),
    ],
)
def test_the_smallest_limit_of_its_control_groups(tmp_path: Path, groups: str, files: dict[str, str]) -> None:
    root = system(tmp_path, {"proc/meminfo": MEMINFO, "proc/self/cgroup": groups, **files})
    assert available_memory(root) == 12345


def test_a_limit_above_what_is_free_changes_nothing(tmp_path: Path) -> None:
    files = {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": str(1 << 60)}
    assert available_memory(system(tmp_path, files)) == 8_000_000 * 1024


def test_a_system_that_says_nothing_still_gives_a_number(tmp_path: Path) -> None:
    assert available_memory(tmp_path) > 0
    assert available_memory() > 0


def test_a_quarter_of_it_may_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 4000)
    assert has_room(1000)
    assert not has_room(1001)
