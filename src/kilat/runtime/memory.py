"""Memory: how much of it this process can still have."""

import contextlib
import os
import re
from pathlib import Path

from kilat.runtime.control_groups import own_groups

_SHARE = 4
_UNKNOWN = 8 << 30


def has_room(size: int) -> bool:
    """Return whether so many bytes take at most a quarter of the memory that this process can still have."""
    return size <= available_memory() // _SHARE


def available_memory(root: Path = Path("/")) -> int:
    """Return the bytes that this process can still have: those that are free, within the limits of its control groups.

    Args:
        root: of the file system with ``proc`` and ``sys``.
    """
    return min([_free(root), *_group_limits(root)])


def _free(root: Path) -> int:
    with contextlib.suppress(OSError):
        text = (root / "proc/meminfo").read_text("ascii")
        if found := re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE):
            return int(found[1]) * 1024
    with contextlib.suppress(AttributeError, OSError, ValueError):  # macOS tells what is built in
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _UNKNOWN


def _group_limits(root: Path) -> list[int]:
    """Return the limits of the control groups of this process."""
    limits = []
    for group in own_groups("memory", root):
        for name in ("memory.max", "memory.limit_in_bytes"):  # of version 2 and of version 1
            with contextlib.suppress(OSError, ValueError):  # "max" is no limit
                limits.append(int((group / name).read_text("ascii")))
    return limits
