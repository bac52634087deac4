"""Locks that processes share, and that end with the process that holds them, however that ends.

They are the operating system's own (``flock``, on Windows ``msvcrt.locking``), not files that are there or not: what a
killed process leaves behind locks nothing. Network file systems pass them on to other machines; where a file system has
no locks, nothing is locked.
"""

import contextlib
import errno
import os
import platform
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from kilat.locale import _

_WITHOUT_WAITING = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}
_ATTEMPTS, _PAUSE = 10, 0.02
"""Whoever asks for the holder of a lock has it for a moment, so it is tried more than once."""
_MOST_BYTES = 400

if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # what is locked on Windows cannot be read

    def _lock(file: BinaryIO, *, shared: bool) -> None:  # noqa: ARG001 - Windows has no such locks
        file.seek(_FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)

else:
    import fcntl

    def _lock(file: BinaryIO, *, shared: bool) -> None:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


@dataclass(frozen=True)
class Holder:
    """A process that holds a lock, as far as the file says which one it is.

    Args:
        pid: its number; 0 where that is not known.
        host: the machine that it runs on.
    """

    pid: int = 0
    host: str = ""

    def __str__(self) -> str:
        if not self.pid:
            return _("another process")
        if self.host in ("", platform.node()):
            return _("process {pid}").format(pid=self.pid)
        return _("process {pid} on {host}").format(pid=self.pid, host=self.host)


class HeldError(Exception):
    """A lock is held by another process, or in another thread; ``holder`` says by which."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(str(holder))
        self.holder = holder


@contextlib.contextmanager
def file_lock(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock while the block lasts.

    Args:
        path: of a file that stands for what is locked; it is made, and deleted at the end.
        wait: for whoever holds it, however long that takes.

    Raises:
        HeldError: somebody holds it, and is not waited for.
        OSError: the file cannot be made, or something else has its name.
    """
    attempts = 1
    while (file := open_locked(path)) is None:
        if attempts >= _ATTEMPTS and not wait:
            raise HeldError(holder_of(path) or Holder())
        attempts += 1
        time.sleep(_PAUSE)
    try:
        with file:
            try:
                file.truncate(0)
                file.write(f"{os.getpid()} {platform.node()}\n".encode())
                file.flush()
                yield
            finally:
                _delete(path)  # while it is locked, so that it is nobody else's
    finally:
        if sys.platform == "win32":  # which deletes no open files, whoever has it open
            _delete(path)


def holder_of(path: Path) -> Holder | None:
    """Return who holds the lock that a file stands for; None where nobody does, or where that cannot be found out."""
    try:
        with _open(path, os.O_RDONLY) as file:
            if _is_locked(file, shared=True):
                return None
            pid, _blank, host = file.read(_MOST_BYTES).decode("ascii", "replace").strip().partition(" ")
    except OSError:
        return None
    return Holder(int(pid), host) if pid.isdecimal() else Holder()


def open_locked(path: Path) -> BinaryIO | None:
    """Open a file for writing, made where there is none, and lock it until it is closed; None where another has it.

    Its content stays as it is.

    Raises:
        OSError: it cannot be made, or what has its name is no file of its own, such as a link.
    """
    file = _open(path, os.O_RDWR | os.O_CREAT)
    with contextlib.suppress(FileNotFoundError):
        # Whoever had it may have deleted it since it was opened, and the next one may have made another.
        if _is_locked(file) and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
    file.close()
    return None


def _open(path: Path, flags: int) -> BinaryIO:
    file = os.fdopen(os.open(path, flags | _WITHOUT_WAITING, 0o666), "rb" if flags == os.O_RDONLY else "r+b")
    found = os.fstat(file.fileno())
    if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1:
        return file
    file.close()
    raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), path)


def _delete(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _is_locked(file: BinaryIO, *, shared: bool = False) -> bool:
    """Lock an open file if nobody else has; return whether it is locked now, or the file system has no locks."""
    try:
        _lock(file, shared=shared)
    except OSError as error:
        return error.errno in _NO_LOCKS
    return True
