"""A lock that processes share, and that ends with the process that holds it, however that ends."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold a lock while the block lasts, waiting for whoever holds it; where the system has no such locks, nothing.

    Args:
        path: of a file that stands for what is locked; it is made where it is missing.
    """
    with path.open("a") as file:
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
