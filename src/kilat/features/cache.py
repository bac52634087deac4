"""Feature vectors kept between runs: one SQLite file, keyed by content, backbone and preprocessing.

SQLite's journal makes it safe under kills and concurrent runs; every vector has a checksum besides, so that a damaged
disk gives a miss, never a wrong vector. A cache that cannot be used (full disk, no permission) costs the saving, not
the run. When it outgrows its limit the vectors that were used longest ago go first.
"""

import contextlib
import os
import sqlite3
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kilat.errors import RunError
from kilat.locale import _
from kilat.runtime.array_types import Floats
from kilat.runtime.files import cache_home

DEFAULT_LIMIT = 8 << 30
"""Bytes that all that is kept between runs may take, unless ``KILAT_CACHE_LIMIT`` (in bytes) is set."""

_RESULTS_SHARE = 8
"""Results that follow from features get one part of so many."""

_VERSION = 3
"""Of the schema, in SQLite's ``user_version``."""
_SCHEMA = """
CREATE TABLE pictures (
    namespace BLOB NOT NULL, content BLOB NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    vector BLOB NOT NULL, image_stats BLOB NOT NULL, checksum INTEGER NOT NULL, used_at INTEGER NOT NULL,
    UNIQUE (namespace, content)
)
"""
_SELECT = "SELECT content, width, height, vector, image_stats, checksum, used_at FROM pictures"
_ROW_BYTES = "length(vector) + length(image_stats) + 128"
_ROWS_PER_QUERY = 500
_DAY = 86_400
_PATIENCE = 30.0


@dataclass(frozen=True)
class CachedFeatures:
    """What the cache keeps of a picture: its full size, its feature vector, and its image stats as bytes."""

    width: int
    height: int
    vector: Floats
    image_stats: bytes = b""


class FeatureCache:
    """The feature vectors of one namespace, that is of one backbone with one preprocessing.

    Args:
        namespace: digest of backbone and preprocessing.
        folder: of the file; None for ``cache_home()``.
        patience: seconds to wait for another process that writes.

    Attributes:
        path: of the file.
        trouble: why the cache cannot be used; empty where it can.
    """

    def __init__(self, namespace: bytes, folder: Path | None = None, *, patience: float = _PATIENCE) -> None:
        self.namespace = namespace
        self.path = (folder or cache_home()) / "features.sqlite"
        self.limit = limit() - limit_of_results()
        self.trouble = ""
        self.long_unused: list[bytes] = []
        self.connection: sqlite3.Connection | None = None
        try:
            self.connection = connect(self.path, patience)
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def get(self, contents: Sequence[bytes]) -> dict[bytes, CachedFeatures]:
        """Return what is kept of these contents (digests); missing and damaged ones are left out."""
        found: dict[bytes, CachedFeatures] = {}
        if self.connection is None:
            return found
        for start in range(0, len(contents), _ROWS_PER_QUERY):
            some = contents[start : start + _ROWS_PER_QUERY]
            marks = ",".join("?" * len(some))
            query = f"{_SELECT} WHERE namespace = ? AND content IN ({marks})"
            try:
                rows = self.connection.execute(query, (self.namespace, *some)).fetchall()
            except sqlite3.Error as error:
                self._give_up(error)
                break
            for content, width, height, vector, stats, checksum, used_at in rows:
                sound = isinstance(vector, bytes) and isinstance(stats, bytes)
                if sound and _checksum(vector, stats, width, height) == checksum:
                    found[content] = CachedFeatures(width, height, np.frombuffer(vector, np.float32), stats)
                    if used_at < time.time() - _DAY:
                        self.long_unused.append(content)
        return found

    def put(self, items: Iterable[tuple[bytes, CachedFeatures]]) -> None:
        """Keep some vectors, by the digests of their contents, in one transaction."""
        now = int(time.time())
        rows = []
        for content, item in items:
            data, stats = item.vector.tobytes(), item.image_stats
            checksum = _checksum(data, stats, item.width, item.height)
            rows.append((self.namespace, content, item.width, item.height, data, stats, checksum, now))
        self._write("INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def close(self) -> None:
        """Write down which vectors were used, shrink the cache to its limit, and close it."""
        # The time of use only tells what to drop first, so one that is less than a day old is left as it is.
        now = int(time.time())
        query = "UPDATE pictures SET used_at = ? WHERE namespace = ? AND content = ?"
        self._write(query, [(now, self.namespace, content) for content in self.long_unused])
        if self.connection is not None:
            with contextlib.suppress(sqlite3.Error):
                shrink(self.connection, self.limit)
            self.connection.close()
            self.connection = None

    def _give_up(self, error: Exception) -> None:
        self.trouble = str(error)
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        if _is_damage(error):
            _remove(self.path)

    def _write(self, query: str, rows: Sequence[tuple[object, ...]]) -> None:
        if self.connection is None or not rows:
            return
        try:
            with self.connection:
                self.connection.executemany(query, rows)
        except sqlite3.Error as error:
            self._give_up(error)


def connect(path: Path, patience: float = _PATIENCE) -> sqlite3.Connection:
    """Open the file, and start a new one where it is no longer a database."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _connect(path, patience)
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        _remove(path)
        return _connect(path, patience)


def shrink(connection: sqlite3.Connection, allowed: int) -> None:
    """Drop the vectors that were used longest ago until the rest fits into so many bytes."""
    taken = _bytes(connection)
    if taken <= allowed:
        return
    (everything,) = connection.execute(f"SELECT total({_ROW_BYTES}) FROM pictures").fetchone()  # noqa: S608
    room = 0.9 * allowed * everything / taken  # pages are not filled to the brim, so the file is larger than its rows
    total, keep = 0, 0
    order = "FROM pictures ORDER BY used_at DESC, namespace, content"
    for (size,) in connection.execute(f"SELECT {_ROW_BYTES} {order}"):
        total += size
        if total > room:
            break
        keep += 1
    with connection:
        connection.execute(
            f"DELETE FROM pictures WHERE (namespace, content) IN "  # noqa: S608
            f"(SELECT namespace, content {order} LIMIT -1 OFFSET ?)",
            (keep,),
        )
    connection.executescript("PRAGMA incremental_vacuum")  # execute() would stop after the first page


def limit_of_results() -> int:
    """Return how many of the bytes are for results that follow from features (``runtime.result_cache``)."""
    return limit() // _RESULTS_SHARE


def limit() -> int:
    """Return how many bytes all that is kept between runs may take.

    Raises:
        RunError: ``KILAT_CACHE_LIMIT`` is not a number of bytes.
    """
    given = os.environ.get("KILAT_CACHE_LIMIT") or str(DEFAULT_LIMIT)
    if not given.isdecimal():
        raise RunError(
            _("KILAT_CACHE_LIMIT is '{value}', which is not a number of bytes.").format(value=given),
            hint=_("For 2 GB give 2000000000."),
        )
    return int(given)


def usage() -> tuple[Path, int, int]:
    """Return the folder of the cache, the bytes that its feature vectors take, and how many there are."""
    path = cache_home() / "features.sqlite"
    if not path.exists():
        return cache_home(), 0, 0
    try:
        with contextlib.closing(connect(path)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM pictures").fetchone()
            return cache_home(), _bytes(connection), count
    except sqlite3.Error as error:
        if not _is_damage(error):
            raise
        return cache_home(), path.stat().st_size, 0


def clear() -> int:
    """Delete all feature vectors, and return the bytes that they took."""
    folder, size, _count = usage()
    path = folder / "features.sqlite"
    if size:
        try:
            with contextlib.closing(connect(path)) as connection:
                with connection:
                    connection.execute("DELETE FROM pictures")
                connection.execute("VACUUM")
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise
            _remove(path)
    return size


def _connect(path: Path, patience: float) -> sqlite3.Connection:
    """Open the file, and wait for others that open it for the first time, which SQLite does not do by itself."""
    until = time.monotonic() + patience
    while True:
        connection = sqlite3.connect(path, timeout=patience)
        try:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            _create_table(connection)
            return connection
        except sqlite3.Error as error:
            connection.close()
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.02)


def _create_table(connection: sqlite3.Connection) -> None:
    """Create the table where there is none; tables of another version of the schema are dropped."""
    if connection.execute("PRAGMA user_version").fetchone() == (_VERSION,):
        return
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone() == (_VERSION,):
            return  # another process was faster
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            connection.execute(f'DROP TABLE "{name}"')
        connection.execute(_SCHEMA)
        connection.execute(f"PRAGMA user_version = {_VERSION}")


def _is_damage(error: Exception) -> bool:
    """Return whether the file is no longer a database, rather than busy, full or read-only."""
    return getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _remove(path: Path) -> None:
    for part in path.parent.glob(path.name + "*"):
        with contextlib.suppress(OSError):
            part.unlink()


def _checksum(vector: bytes, stats: bytes, width: int, height: int) -> int:
    return zlib.crc32(f"{width} {height} {len(vector)}".encode(), zlib.crc32(stats, zlib.crc32(vector)))


def _bytes(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    return int(page) * (int(pages) - int(free))
