"""Regular files, opened after their type and size were looked at: a pipe would wait, and a device might never end."""

import errno
import math
import os
import stat
from io import BufferedReader
from pathlib import Path

from kilat.locale import _

_WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOCTTY", 0)
_LEAST_PIECE = 1 << 16


class NotRegularFileError(OSError):
    """A pipe, a socket or a device, or a link to one, in the place of a file; ``strerror`` says so."""


class TooLargeFileError(OSError):
    """A file of more bytes than are read of its kind; ``strerror`` has both numbers."""


def open_regular_file(path: str | Path, most_bytes: float = math.inf) -> BufferedReader:
    """Open a file for reading, if it is a regular one of no more bytes than a limit, where there is one.

    What was opened is looked at once more, so that nothing can come into its place meanwhile. A file that grows may
    give more than the limit: read no more than that.

    Raises:
        NotRegularFileError: it is none.
        TooLargeFileError: it has more bytes.
        OSError: there is none, it is a folder, or it may not be read.
    """
    if "\0" in os.fspath(path):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    _require_regular(path, Path(path).stat(), most_bytes)  # first, for opening a device may already set something off
    handle = os.open(path, os.O_RDONLY | _WITHOUT_WAITING)
    try:
        found = os.fstat(handle)
        _require_regular(path, found, most_bytes)
        if not found.st_size and hasattr(os, "pread"):  # as on all systems with such files
            _require_readable(path, handle)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular_file(path: str | Path, most_bytes: int) -> bytes:
    """Return the content of a file, if it is a regular one of no more bytes than a limit.

    Raises:
        NotRegularFileError: it is none.
        TooLargeFileError: it has more bytes, whatever it said of itself.
        OSError: there is none, it is a folder, or it cannot be read.
    """
    pieces: list[bytes] = []
    size = 0
    with open_regular_file(path, most_bytes) as file:
        # In one piece where the file says its size; those of /proc say none.
        most = max(os.fstat(file.fileno()).st_size + 1, _LEAST_PIECE)
        while size <= most_bytes and (piece := file.read(most)):
            pieces.append(piece)
            size += len(piece)
    if size > most_bytes:
        raise _too_large(path, size, most_bytes)
    return b"".join(pieces)


def _require_regular(path: str | Path, found: os.stat_result, most_bytes: float) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(found.st_mode):
        raise NotRegularFileError(errno.EINVAL, _("it is a pipe, a socket or a device, not a file"), path)
    if found.st_size > most_bytes:
        raise _too_large(path, found.st_size, most_bytes)


def _require_readable(path: str | Path, handle: int) -> None:
    """Refuse a file of the system that calls itself regular and waits for something to happen, such as /proc/kmsg."""
    try:
        os.pread(handle, 1, 0)
    except OSError as error:
        raise NotRegularFileError(errno.EINVAL, _("it is a pipe, a socket or a device, not a file"), path) from error


def _too_large(path: str | Path, size: int, most_bytes: float) -> TooLargeFileError:
    message = _("it has {size:,} bytes; at most {limit:,} are read").format(size=size, limit=most_bytes)
    return TooLargeFileError(errno.EFBIG, message, path)
