"""The SQLite file of the feature cache, which is opened, written and deleted only where it is one of kilat's.

Another program's database, a folder, a link, a pipe or a device under its name stays as it is. A file that is no
database is set aside under another name, since it may be anyone's; a damaged one of kilat's own is deleted.
"""

import contextlib
import os
import sqlite3
import stat
import time
from pathlib import Path

from kilat.locale import _
from kilat.runtime.regular_file import open_regular_file

PATIENCE = 10.0
"""Seconds to wait for another process that writes."""

_VERSION = 3
"""Of the schema, in SQLite's ``user_version``."""

_SCHEMA = """\
CREATE TABLE pictures (
    namespace BLOB NOT NULL, content BLOB NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    vector BLOB NOT NULL, image_stats BLOB NOT NULL, checksum INTEGER NOT NULL, used_at INTEGER NOT NULL,
    UNIQUE (namespace, content)
)"""
_EARLIER_TABLES = ("features", "pictures")
_EARLIER_COLUMNS = {"content", "vector"}
"""Of the one table that each earlier version had."""

_SIDE_FILES = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database."""

_LARGEST_PAGE = 65_536
_LARGEST_FILE = 1 << 50
_RETRY_SECONDS = 0.02


class NotOursError(Exception):
    """What lies in the place of the cache is not kilat's, so that it is left alone."""


def connect(path: Path, patience: float = PATIENCE) -> sqlite3.Connection:
    """Open the file, made where there is none, and wait for others that open it for the first time.

    Args:
        path: of the file; its folder is made where it is missing.
        patience: seconds to wait for another process, here and in later statements.

    Raises:
        NotOursError: it is there, and is not kilat's.
        OSError: its folder cannot be made.
        sqlite3.Error: it cannot be opened, or is damaged (``is_damage``).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for part in _parts(path):
        if os.path.lexists(part) and not stat.S_ISREG(part.lstat().st_mode):
            raise NotOursError(_("{path} is not a regular file").format(path=part))
    _require_own(path)
    until = time.monotonic() + patience
    while True:
        # SQLite waits for other processes by itself, but not where several open a file for the first time.
        connection = sqlite3.connect(path, timeout=max(0.0, until - time.monotonic()))
        try:
            _prepare(connection, path)
            connection.execute(f"PRAGMA busy_timeout = {int(1000 * patience)}")
            return connection
        except BaseException as error:
            connection.close()
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(_RETRY_SECONDS)


def is_damage(error: Exception) -> bool:
    """Return whether the file is no sound database, rather than busy, full or read-only."""
    return getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_damaged_cache(path: Path) -> bool:
    """Return whether a damaged file is one of kilat's, as its first page says."""
    with contextlib.suppress(OSError), open_regular_file(path, _LARGEST_FILE) as file:
        first = file.read(_LARGEST_PAGE)
        return first.startswith(b"SQLite format 3\0") and _SCHEMA.encode() in first
    return False


def delete_files(path: Path) -> None:
    """Delete the file, and what SQLite keeps beside it; nothing else that is called like it."""
    for part in _parts(path):
        with contextlib.suppress(OSError):
            part.unlink()


def set_aside(path: Path) -> Path:
    """Give another name to the file, and to what SQLite keeps beside it; return the new name.

    Raises:
        OSError: it cannot be renamed.
    """
    number = 1
    while True:
        aside = path.with_name(f"{path.name}.set-aside" + (f"-{number}" if number > 1 else ""))
        if not any(os.path.lexists(part) for part in _parts(aside)):
            break
        number += 1
    for part, new in zip(_parts(path), _parts(aside), strict=True):
        if os.path.lexists(part):
            part.rename(new)
    return aside


def _parts(path: Path) -> list[Path]:
    return [path, *(path.with_name(path.name + suffix) for suffix in _SIDE_FILES)]


def _require_own(path: Path) -> None:
    """Raise where the file is anything else, found out without SQLite's locks and journals, so that nothing changes.

    Raises:
        NotOursError: it is another program's database.
        sqlite3.DatabaseError: it is no database.
    """
    if not path.exists():
        return
    where = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    with contextlib.closing(sqlite3.connect(where, uri=True)) as connection:
        try:
            _schema_version(connection, path)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
                raise
            # It is damaged, or being written just now: opening it properly finds that out.


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Create the table where there is none, or that of an earlier version."""
    is_current = _schema_version(connection, path) == _VERSION
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    if is_current:
        return
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if _schema_version(connection, path) == _VERSION:
            return  # another process was faster
        for table in _EARLIER_TABLES:
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        connection.execute(_SCHEMA)
        connection.execute(f"PRAGMA user_version = {_VERSION}")


def _schema_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return which version of kilat's cache a database is; 0 for an empty one.

    Raises:
        NotOursError: it is none, or a later one.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    found = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL LIMIT 2").fetchall()
    if not found and version == 0:
        return 0
    if version == _VERSION and found == [("table", "pictures", _SCHEMA)]:
        return _VERSION
    if len(found) == 1 and found[0][0] == "table" and found[0][1] in _EARLIER_TABLES and version != _VERSION:
        columns = {name for _number, name, *_more in connection.execute(f"PRAGMA table_info({found[0][1]})")}
        if columns >= _EARLIER_COLUMNS:
            if version < _VERSION:
                return int(version)
            raise NotOursError(_("{path} was written by a later version of kilat").format(path=path))
    raise NotOursError(_("{path} is a database of another program").format(path=path))
