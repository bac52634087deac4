"""The memory that a process can still have: what the system calls free, within the limits of its control groups."""

from pathlib import Path

import pytest

from kilat.errors import KilatError
from kilat.runtime import memory
from kilat.runtime.memory import available_memory, decoding_memory, has_room, readable_bytes


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


class TestDecoding:
    def test_a_quarter_of_all_memory_at_most_a_gibibyte(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("KILAT_DECODE_MEMORY", raising=False)
        small = MEMINFO.replace("16000000", "2000000")
        assert decoding_memory(system(tmp_path / "large", {"proc/meminfo": MEMINFO})) == 1 << 30
        assert decoding_memory(system(tmp_path / "small", {"proc/meminfo": small})) == 500_000 * 1024
        job = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "400000000\n"}
        assert decoding_memory(system(tmp_path / "job", {"proc/meminfo": MEMINFO} | job)) == 100_000_000

    @pytest.mark.parametrize(
        ("given", "size"),
        [("4GB", 4 * 10**9), ("1.5 gb", 1_500_000_000), ("300M", 300 * 10**6), ("2000000000", 2 * 10**9)],
    )
    def test_what_is_allowed_by_a_variable(self, given: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KILAT_DECODE_MEMORY", given)
        assert decoding_memory() == size

    @pytest.mark.parametrize("given", ["lots", "0", "-3GB", "4 GiB of it", "1e9", "9" * 40])
    def test_what_is_no_number_of_bytes_is_named(self, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KILAT_DECODE_MEMORY", given)
        with pytest.raises(KilatError, match=r"^KILAT_DECODE_MEMORY is '.*', which is not a number of bytes"):
            decoding_memory()

    def test_sizes_as_they_are_shown(self) -> None:
        assert [readable_bytes(size) for size in (3_600_000_000, 999_999_999, 1_234)] == [
            "3.6 GB",
            "1,000.0 MB",
            "0.0 MB",
        ]
