"""Files that are kept between runs until they take too much: those that were used longest ago go first.

A folder of the cache may hold anything else besides. What is kilat's is known by its name, a digest of what it follows
from, and only that is counted or deleted.
"""

import contextlib
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

RESULTS = re.compile(r"[0-9a-f]{64}\.(result|[0-9a-f]{32})")
"""Names of results that follow from features, and of those that are being written."""

BACKBONES = re.compile(r"[0-9a-f]{64}\.(onnx|json)")
"""Names of pretrained networks as ONNX, and of what describes them."""


def usage(folder: Path, names: re.Pattern[str]) -> int:
    """Return the bytes that files of these names take in a folder."""
    return sum(size for _used, size, _path in _files(folder, names))


def clear(folder: Path, names: re.Pattern[str]) -> int:
    """Delete all files of these names in a folder, and return the bytes that they took."""
    size = usage(folder, names)
    shrink(folder, names, 0)
    return size - usage(folder, names)


def shrink(folder: Path, names: re.Pattern[str], allowed: int) -> None:
    """Delete the files that were used longest ago until the rest fits into so many bytes."""
    total = 0
    for _used, size, path in sorted(_files(folder, names), reverse=True):
        total += size
        if total > allowed:
            with contextlib.suppress(OSError):  # another process was faster, or has it open
                path.unlink()


def mark_used(path: Path) -> None:
    """Remember that a file was used now."""
    with contextlib.suppress(OSError):  # it may be somebody else's
        os.utime(path)


def _files(folder: Path, names: re.Pattern[str]) -> Sequence[tuple[float, int, Path]]:
    """Return when each file was used last, its size and its path."""
    files = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if names.fullmatch(entry.name):
                with contextlib.suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(found.st_mode):
                        files.append((found.st_mtime, found.st_size, Path(entry.path)))
    return files
