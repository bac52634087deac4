"""Feature vectors kept between runs: one SQLite file, keyed by content, backbone and preprocessing.

SQLite's journal makes it safe under kills and concurrent runs; every vector has a checksum besides, so that a damaged
disk gives a miss, never a wrong vector. A cache that cannot be used (full disk, no permission, another program's file
in its place) costs the saving, not the run. When it outgrows its limit the vectors that were used longest ago go first.
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
from kilat.features.cache_file import (
    PATIENCE,
    NotOursError,
    connect,
    delete_files,
    is_damage,
    is_damaged_cache,
    set_aside,
)
from kilat.locale import _
from kilat.locale.excerpt import shortened
from kilat.locale.notes import Note
from kilat.locale.system_errors import file_reason, system_reason
from kilat.runtime.array_types import Floats
from kilat.runtime.files import cache_home

DEFAULT_LIMIT = 8 << 30
"""Bytes that all that is kept between runs may take, unless ``KILAT_CACHE_LIMIT`` (in bytes) is set."""

_MOST_DIGITS = 18
"""Of the limit: no disk has more bytes."""

_RESULTS_SHARE = 8
"""Results that follow from features get one part of so many."""

_MOST_BYTES = 1 << 18
"""Of a picture's vector, or of its stats: what takes more is neither kept nor read, whoever wrote it."""

_SELECT = """
    SELECT content, width, height, vector, image_stats, checksum, used_at FROM pictures
    WHERE namespace = ?1 AND typeof(vector) = 'blob' AND length(vector) <= ?2
    AND typeof(image_stats) = 'blob' AND length(image_stats) <= ?2
"""
_ROW_BYTES = "length(vector) + length(image_stats) + 128"
_ROWS_PER_QUERY = 500
_OVERSHOOT = 64 << 20
"""Bytes beyond its limit that a run may come to before it shrinks the cache, which it does at its end in any case."""
_DAY = 86_400


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
        notes: on that, and on what lay in its place and was not usable.
    """

    def __init__(self, namespace: bytes, folder: Path | None = None, *, patience: float = PATIENCE) -> None:
        self.namespace = namespace
        self.path = (folder or cache_home()) / "features.sqlite"
        self.limit = limit() - limit_of_results()
        self.trouble = ""
        self.notes: list[Note] = []
        self.long_unused: list[bytes] = []
        self.connection: sqlite3.Connection | None = None
        self._file: os.stat_result | None = None
        try:
            self.connection = self._open(patience)
        except (OSError, sqlite3.Error, NotOursError) as error:
            self._give_up(error)

    def get(self, contents: Sequence[bytes]) -> dict[bytes, CachedFeatures]:
        """Return what is kept of these contents (digests); missing and damaged ones are left out."""
        found: dict[bytes, CachedFeatures] = {}
        if self.connection is None:
            return found
        for start in range(0, len(contents), _ROWS_PER_QUERY):
            some = contents[start : start + _ROWS_PER_QUERY]
            query = f"{_SELECT} AND content IN ({','.join('?' * len(some))})"
            try:
                rows = self.connection.execute(query, (self.namespace, _MOST_BYTES, *some)).fetchall()
            except sqlite3.Error as error:
                self._give_up(error)
                break
            for content, width, height, vector, stats, checksum, used_at in rows:
                is_size = isinstance(width, int) and isinstance(height, int) and min(width, height) > 0
                if is_size and len(vector) % 4 == 0 and _checksum(vector, stats, width, height) == checksum:
                    found[content] = CachedFeatures(width, height, np.frombuffer(vector, np.float32), stats)
                    if not isinstance(used_at, int) or used_at < time.time() - _DAY:
                        self.long_unused.append(content)
        return found

    def put(self, items: Iterable[tuple[bytes, CachedFeatures]]) -> None:
        """Keep some vectors, by the digests of their contents, in one transaction."""
        now = int(time.time())
        rows = []
        for content, item in items:
            data, stats = item.vector.tobytes(), item.image_stats
            if max(len(data), len(stats)) <= _MOST_BYTES:
                checksum = _checksum(data, stats, item.width, item.height)
                rows.append((self.namespace, content, item.width, item.height, data, stats, checksum, now))
        self._write("INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        self._shrink(self.limit + _OVERSHOOT)

    def close(self) -> None:
        """Write down which vectors were used, shrink the cache to its limit, and close it."""
        # The time of use only tells what to drop first, so one that is less than a day old is left as it is.
        now = int(time.time())
        query = "UPDATE pictures SET used_at = ? WHERE namespace = ? AND content = ?"
        self._write(query, [(now, self.namespace, content) for content in self.long_unused])
        self._shrink(self.limit)
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def _open(self, patience: float) -> sqlite3.Connection:
        with contextlib.suppress(OSError):
            self._file = self.path.lstat()
        try:
            return connect(self.path, patience)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self._make_way()
            return connect(self.path, patience)

    def _make_way(self) -> None:
        """Take a file that is no sound database out of the way, unless another process was faster.

        Raises:
            OSError: it cannot be renamed.
        """
        if self._file is None or not os.path.samestat(self._file, self.path.lstat()):
            return
        if is_damaged_cache(self.path):
            delete_files(self.path)
            self.notes.append(Note("feature_cache_damaged"))
        else:
            aside = set_aside(self.path)
            self.notes.append(Note("feature_cache_set_aside", {"path": str(self.path), "aside": aside.name}))

    def _give_up(self, error: Exception) -> None:
        self.trouble = _reason(error)
        self.notes.append(Note("feature_cache", {"reason": self.trouble}))
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        if is_damage(error):
            with contextlib.suppress(OSError):
                self._make_way()

    def _write(self, query: str, rows: Sequence[tuple[object, ...]]) -> None:
        if self.connection is None or not rows:
            return
        try:
            with self.connection:
                self.connection.executemany(query, rows)
        except sqlite3.Error as error:
            self._give_up(error)

    def _shrink(self, allowed: int) -> None:
        if self.connection is not None:
            with contextlib.suppress(
                sqlite3.Error
            ):  # another process writes, or the disk is full: the next run does it
                if _bytes(self.connection) > allowed:
                    shrink(self.connection, self.limit)


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
    if not given.isdecimal() or len(given) > _MOST_DIGITS:
        raise RunError(
            _("KILAT_CACHE_LIMIT is '{value}', which is not a number of bytes.").format(value=shortened(given)),
            hint=_("For 2 GB give 2000000000."),
        )
    return int(given)


def usage() -> tuple[Path, int, int]:
    """Return the folder of the cache, the bytes that its feature vectors take, and how many there are.

    Raises:
        RunError: what lies in its place is not kilat's, or it cannot be read.
    """
    path = cache_home() / "features.sqlite"
    if not os.path.lexists(path):
        return cache_home(), 0, 0
    try:
        with contextlib.closing(connect(path)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM pictures").fetchone()
            return cache_home(), _bytes(connection), count
    except (OSError, sqlite3.Error, NotOursError) as error:
        if not is_damage(error):
            raise _unusable(error) from error
        return cache_home(), path.stat().st_size if is_damaged_cache(path) else 0, 0


def clear() -> int:
    """Delete all feature vectors, and return the bytes that they took.

    Raises:
        RunError: what lies in the place of the cache is not kilat's, or it cannot be written to.
    """
    folder, size, _count = usage()
    path = folder / "features.sqlite"
    if not size:
        return 0
    try:
        with contextlib.closing(connect(path)) as connection:
            with connection:
                connection.execute("DELETE FROM pictures")
            connection.execute("VACUUM")
    except (OSError, sqlite3.Error, NotOursError) as error:
        if not is_damage(error):
            raise _unusable(error) from error
        if is_damaged_cache(path):
            delete_files(path)
    return size


def _unusable(error: Exception) -> RunError:
    return RunError(_("The feature cache cannot be used: {reason}.").format(reason=_reason(error)))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return file_reason(error)
    return str(error) if isinstance(error, NotOursError) else system_reason(str(error))


def _checksum(vector: bytes, stats: bytes, width: int, height: int) -> int:
    return zlib.crc32(f"{width} {height} {len(vector)}".encode(), zlib.crc32(stats, zlib.crc32(vector)))


def _bytes(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    return int(page) * (int(pages) - int(free))
