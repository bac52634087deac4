"""Memory: how much of it this process can still have."""

import contextlib
import os
import re
from functools import lru_cache
from pathlib import Path

from kilat.errors import KilatError
from kilat.locale import _
from kilat.runtime.control_groups import own_groups

DECODING_VARIABLE = "KILAT_DECODE_MEMORY"
"""The environment variable that allows more, or less, than `decoding_memory` does by itself."""

_SHARE = 4
MOST_FOR_DECODING = 1 << 30
"""Bytes that pictures may take while they are decoded, where nothing else is said and there is memory enough."""
_UNKNOWN = 8 << 30
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?([KMGT]?)B?", re.IGNORECASE)


def has_room(size: int) -> bool:
    """Return whether so many bytes take at most a quarter of the memory that this process can still have."""
    return size <= available_memory() // _SHARE


def available_memory(root: Path = Path("/")) -> int:
    """Return the bytes that this process can still have: those that are free, within the limits of its control groups.

    Args:
        root: of the file system with ``proc`` and ``sys``.
    """
    return min([_of_meminfo("MemAvailable", root), *_group_limits(root)])


def decoding_memory(root: Path = Path("/")) -> int:
    """Return how many bytes pictures may take while they are decoded, all workers together.

    That is what ``$KILAT_DECODE_MEMORY`` says, such as 4GB; by default a quarter of the memory that this process could
    have, at most 1 GiB. What is free at the moment does not count, so that the same pictures are used every time.

    Args:
        root: of the file system with ``proc`` and ``sys``.

    Raises:
        KilatError: the variable is not a number of bytes.
    """
    given = os.environ.get(DECODING_VARIABLE)
    return number_of_bytes(given, DECODING_VARIABLE) if given else _own_share(root)


def number_of_bytes(text: str, what: str) -> int:
    """Return a number of bytes that was written as 4GB, 500 MB or 2000000000.

    Args:
        text: what was written.
        what: was written so, for the message.

    Raises:
        KilatError: it is none, or not above zero.
    """
    found = _SIZE.fullmatch(text.strip())
    size = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if not size:
        raise KilatError(
            _("{what} is '{value}', which is not a number of bytes.").format(what=what, value=text),
            hint=_("For 2 GB give 2GB."),
        )
    return size


def readable_bytes(size: int) -> str:
    """Return a number of bytes in the largest unit of which there is one, such as 3.6 GB."""
    unit = "GB" if size >= _UNITS["G"] else "MB"
    return f"{size / _UNITS[unit[0]]:,.1f} {unit}"


@lru_cache
def _own_share(root: Path) -> int:
    return min(min([_of_meminfo("MemTotal", root), *_group_limits(root)]) // _SHARE, MOST_FOR_DECODING)


def _of_meminfo(line: str, root: Path) -> int:
    with contextlib.suppress(OSError):
        text = (root / "proc/meminfo").read_text("ascii")
        if found := re.search(rf"^{line}:\s+(\d+) kB", text, re.MULTILINE):
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
