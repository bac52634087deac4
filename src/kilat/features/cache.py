"""Feature vectors kept between runs: one SQLite file, keyed by content, backbone and preprocessing.

SQLite's journal makes it safe under kills and concurrent runs; every vector carries a checksum besides, so that a
damaged disk gives a miss, never a wrong vector. A cache that cannot be used (full disk, no permission) costs the
saving, not the run. When it outgrows its limit the vectors that were not asked for longest go first.
"""

import contextlib
import os
import sqlite3
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilat.errors import RunError
from kilat.locale import _
from kilat.runtime.files import cache_home

Floats = NDArray[np.float32]
DEFAULT_LIMIT = 8 << 30
"""Bytes that the cache may take; ``KILAT_CACHE_LIMIT`` (in bytes) says otherwise."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS looks (
    space BLOB NOT NULL, content BLOB NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    vector BLOB NOT NULL, facts BLOB NOT NULL, checksum INTEGER NOT NULL, used_at INTEGER NOT NULL,
    UNIQUE (space, content)
)
"""
_EARLIER = "DROP TABLE IF EXISTS features"  # it knew no facts
_SELECT = "SELECT content, width, height, vector, facts, checksum, used_at FROM looks"
_ROWS_PER_QUERY = 500
_DAY = 86_400
_BUSY_MILLISECONDS = 30_000


@dataclass(frozen=True)
class CachedFeatures:
    """What the cache knows of a picture: its full size, its feature vector (float32), and the facts of it, as bytes."""

    width: int
    height: int
    vector: Floats
    facts: bytes = b""


class FeatureCache:
    """The feature vectors of one space, that is of one backbone with one preprocessing.

    Args:
        space: digest of backbone and preprocessing.
        folder: where the file lies; None for ``cache_home()``.
    """

    def __init__(self, space: bytes, folder: Path | None = None) -> None:
        self.space = space
        self.path = (folder or cache_home()) / "features.sqlite"
        self.limit = limit()
        self.trouble = ""
        self.long_unused: list[bytes] = []
        self.connection: sqlite3.Connection | None = None
        self._open()

    def get(self, contents: Sequence[bytes]) -> dict[bytes, CachedFeatures]:
        """What is known of these contents (digests); those that are unknown or damaged are left out."""
        found: dict[bytes, CachedFeatures] = {}
        for start in range(0, len(contents), _ROWS_PER_QUERY):
            some = contents[start : start + _ROWS_PER_QUERY]
            marks = ",".join("?" * len(some))
            query = f"{_SELECT} WHERE space = ? AND content IN ({marks})"
            for content, width, height, vector, facts, checksum, used_at in self._execute(query, (self.space, *some)):
                sound = isinstance(vector, bytes) and isinstance(facts, bytes)
                if sound and _checksum(vector, facts, width, height) == checksum:
                    found[content] = CachedFeatures(width, height, np.frombuffer(vector, np.float32), facts)
                    if used_at < time.time() - _DAY:
                        self.long_unused.append(content)
        return found

    def put(self, items: Iterable[tuple[bytes, CachedFeatures]]) -> None:
        """Remembers some vectors in one transaction."""
        now = int(time.time())
        rows = [
            (self.space, content, width, height, data, seen.facts, _checksum(data, seen.facts, width, height), now)
            for content, seen in items
            for data, width, height in [(seen.vector.tobytes(), seen.width, seen.height)]
        ]
        self._write("INSERT OR REPLACE INTO looks VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def close(self) -> None:
        """Notes what was asked for, shrinks the cache to its limit, and closes it."""
        self._touch()
        if self.connection is not None:
            with contextlib.suppress(sqlite3.Error):
                shrink(self.connection, self.limit)
            self.connection.close()
            self.connection = None

    def _open(self) -> None:
        try:
            self.connection = connect(self.path)
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.trouble = f"The feature cache {self.path} is not used: {error}."
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        if _is_damage(error):
            _remove(self.path)

    def _execute(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        if self.connection is None:
            return []
        try:
            return self.connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            self._give_up(error)
            return []

    def _write(self, query: str, rows: Sequence[tuple[object, ...]]) -> None:
        if self.connection is None or not rows:
            return
        try:
            with self.connection:
                self.connection.executemany(query, rows)
        except sqlite3.Error as error:
            self._give_up(error)

    def _touch(self) -> None:
        """Notes what was used again after more than a day: it is only there to tell what to drop first."""
        now = int(time.time())
        query = "UPDATE looks SET used_at = ? WHERE space = ? AND content = ?"
        self._write(query, [(now, self.space, content) for content in self.long_unused])


def connect(path: Path) -> sqlite3.Connection:
    """Opens the file, and starts anew where it is no database any more."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        _remove(path)
        return _connect(path)


def shrink(connection: sqlite3.Connection, allowed: int) -> None:
    """Drops the vectors that were not used longest until the rest fits into so many bytes."""
    taken = _bytes(connection)
    if taken <= allowed:
        return
    (everything,) = connection.execute("SELECT total(length(vector) + length(facts) + 128) FROM looks").fetchone()
    room = 0.9 * allowed * everything / taken  # pages are not filled to the brim, so the file is larger than its rows
    total, keep = 0, 0
    order = "FROM looks ORDER BY used_at DESC, space, content"
    for (size,) in connection.execute(f"SELECT length(vector) + length(facts) + 128 {order}"):
        total += size
        if total > room:
            break
        keep += 1
    with connection:
        connection.execute(
            f"DELETE FROM looks WHERE (space, content) IN (SELECT space, content {order} LIMIT -1 OFFSET ?)",  # noqa: S608
            (keep,),
        )
    connection.executescript("PRAGMA incremental_vacuum")  # execute() would stop after the first page


def limit() -> int:
    """Bytes that the cache may take.

    Raises:
        RunError: the environment says something that is no number.
    """
    given = os.environ.get("KILAT_CACHE_LIMIT") or str(DEFAULT_LIMIT)
    if not given.isdecimal():
        raise RunError(
            _("KILAT_CACHE_LIMIT is '{given}', which is no number of bytes.").format(given=given),
            hint=_("For 2 GB: 2000000000."),
        )
    return int(given)


def usage() -> tuple[Path, int, int]:
    """The folder of the cache, the bytes that its feature vectors take, and how many there are."""
    path = cache_home() / "features.sqlite"
    if not path.exists():
        return cache_home(), 0, 0
    try:
        with contextlib.closing(connect(path)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM looks").fetchone()
            return cache_home(), _bytes(connection), count
    except sqlite3.Error as error:
        if not _is_damage(error):
            raise
        return cache_home(), path.stat().st_size, 0


def clear() -> int:
    """Forgets all feature vectors; returns the bytes that they took."""
    folder, size, _ = usage()
    path = folder / "features.sqlite"
    if size:
        try:
            with contextlib.closing(connect(path)) as connection:
                with connection:
                    connection.execute("DELETE FROM looks")
                connection.execute("VACUUM")
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise
            _remove(path)
    return size


def _connect(path: Path) -> sqlite3.Connection:
    """Opens the file; where several do so for the first time at once, SQLite does not wait for them by itself."""
    until = time.monotonic() + _BUSY_MILLISECONDS / 1000
    while True:
        connection = sqlite3.connect(path, timeout=_BUSY_MILLISECONDS / 1000)
        try:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(_EARLIER)
            connection.execute(_SCHEMA)
            return connection
        except sqlite3.Error as error:
            connection.close()
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.02)


def _is_damage(error: Exception) -> bool:
    """Whether the file is no database any more, rather than busy, full or not to be written to."""
    return getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _remove(path: Path) -> None:
    for part in path.parent.glob(path.name + "*"):
        with contextlib.suppress(OSError):
            part.unlink()


def _checksum(vector: bytes, facts: bytes, width: int, height: int) -> int:
    return zlib.crc32(f"{width} {height} {len(vector)}".encode(), zlib.crc32(facts, zlib.crc32(vector)))


def _bytes(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    return int(page) * (int(pages) - int(free))
