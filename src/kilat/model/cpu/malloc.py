"""How the process asks the system for memory while a network is trained on a CPU."""

import ctypes
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # malloc.h of glibc
_INT_MAX = 2**31 - 1
_KEEP = {_MMAP_MAX: 0, _TRIM_THRESHOLD: _INT_MAX}
# glibc has no way to ask for the settings that were in force. These are its own for a process that has freed a large
# block: it raises the threshold to the size of the largest mapped block that was freed, at most 32 MiB, and trims at
# twice as much (malloc/malloc.c, mallopt(3)).
_RESTORE = {_MMAP_MAX: 65_536, _MMAP_THRESHOLD: 32 * 2**20, _TRIM_THRESHOLD: 64 * 2**20}

_lock = threading.Lock()
_open_blocks = 0


@contextmanager
def keep_freed_memory() -> Iterator[bool]:
    """Let glibc keep freed memory for the next tensor, in the whole process, while the block lasts.

    By default glibc maps every large tensor anew and returns it to the system at once, so that every training step has
    all its pages cleared and mapped again; that costs a tenth of the time for small networks, and a third and more for
    large pictures. Afterwards freed memory goes back to the system. Blocks may overlap, in several threads too: the
    last one to end restores. Other C libraries are left alone.

    Yields:
        Whether glibc does so.
    """
    global _open_blocks  # noqa: PLW0603 - the settings are the process's
    if platform.libc_ver()[0] != "glibc":
        yield False
        return
    library = ctypes.CDLL(None)
    with _lock:
        _open_blocks += 1
        is_set = all(library.mallopt(name, value) == 1 for name, value in _KEEP.items())
    try:
        yield is_set
    finally:
        with _lock:
            _open_blocks -= 1
            if not _open_blocks:
                for name, value in _RESTORE.items():
                    library.mallopt(name, value)
                library.malloc_trim(0)
