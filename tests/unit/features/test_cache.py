"""The cache gives back exactly what was put into it or nothing, whatever happens to its file and its writers."""

import functools
import os
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kilat.errors import RunError
from kilat.features import cache
from kilat.features.cache import CachedFeatures, FeatureCache
from kilat.features.cache_file import connect

NAMESPACE = b"a backbone"
IMAGE_STATS = b"stats of a picture" * 9

WRITER = """
import sys, pathlib, itertools, numpy as np
from kilat.features.cache import CachedFeatures, FeatureCache
from kilat.features.cache_file import connect
def vector(key): return np.random.default_rng(list(key)).random(700, np.float32)
def item(key): return CachedFeatures(len(key), key[-1] + 1, vector(key), b"stats of a picture" * 9)
store = FeatureCache(b"a backbone", pathlib.Path(sys.argv[1]))
print("ready", flush=True); sys.stdin.readline()
for batch in range(int(sys.argv[3])):
    keys = [f"{sys.argv[2]} {batch} {i}".encode() for i in range(8)]
    store.put([(key, item(key)) for key in keys])
    print(batch, flush=True)
print(store.trouble); store.close()
"""


def expected(key: bytes) -> CachedFeatures:
    return CachedFeatures(len(key), key[-1] + 1, np.random.default_rng(list(key)).random(700, np.float32), IMAGE_STATS)


def writer(folder: Path, name: str, batches: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, str(folder), name, str(batches)]
    made = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert made.stdout is not None
    assert made.stdout.readline() == "ready\n"
    return made


def keys(name: str, batches: int) -> list[bytes]:
    return [f"{name} {batch} {i}".encode() for batch in range(batches) for i in range(8)]


def check(found: dict[bytes, CachedFeatures]) -> None:
    for key, item in found.items():
        right = expected(key)
        assert (item.width, item.height, item.image_stats) == (right.width, right.height, right.image_stats)
        assert item.vector.tobytes() == right.vector.tobytes()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureCache]:
    opened = FeatureCache(NAMESPACE, tmp_path)
    yield opened
    opened.close()


def changed(folder: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / "features.sqlite")) as connection, connection:
        connection.execute(statement, values)


def damage(path: Path, share: float = 0.02) -> None:
    """Some bytes behind the first page changed."""
    content, dice = bytearray(path.read_bytes()), np.random.default_rng(0)
    for place in dice.integers(4096, len(content), int(len(content) * share)):
        content[place] ^= 0xFF
    path.write_bytes(content)


class TestKept:
    def test_exact_bytes(self, store: FeatureCache, tmp_path: Path) -> None:
        odd = np.array([0.1, -0.0, np.inf, np.nan, 1e-45], np.float32)
        store.put([(b"odd", CachedFeatures(3, 4, odd)), (b"one", expected(b"one"))])
        store.close()
        again = FeatureCache(NAMESPACE, tmp_path)
        found = again.get([b"odd", b"one", b"none"])
        again.close()
        assert set(found) == {b"odd", b"one"}
        assert found[b"odd"].vector.tobytes() == odd.tobytes()
        assert found[b"odd"].vector.dtype == np.float32
        assert (found[b"odd"].width, found[b"odd"].height) == (3, 4)
        check({b"one": found[b"one"]})

    def test_another_namespace_or_content_is_a_miss(self, store: FeatureCache, tmp_path: Path) -> None:
        store.put([(b"one", expected(b"one"))])
        other = FeatureCache(b"another backbone", tmp_path)
        assert other.get([b"one"]) == {}
        assert store.get([b"One"]) == store.get([]) == {}
        other.put([(b"one", CachedFeatures(9, 9, np.ones(2, np.float32)))])
        other.close()
        check(store.get([b"one"]))

    def test_the_last_of_a_content_counts(self, store: FeatureCache) -> None:
        store.put([(b"one", CachedFeatures(1, 1, np.zeros(3, np.float32)))])
        store.put([(b"one", expected(b"one"))])
        check(store.get([b"one"]))

    def test_many_at_once(self, store: FeatureCache) -> None:
        some = keys("many", 160)
        store.put((key, expected(key)) for key in some)
        found = store.get([*some, b"none"])
        assert len(found) == len(some) == 1280
        check(found)

    def test_nothing_to_put(self, store: FeatureCache) -> None:
        store.put([])
        assert store.trouble == ""


class TestDamage:
    @pytest.mark.parametrize(
        "change",
        [
            "vector = zeroblob(length(vector))",
            "vector = substr(vector, 1, length(vector) - 4)",
            "vector = substr(vector, 5)",
            "vector = 'text'",
            "vector = 5",
            "checksum = checksum + 1",
            "width = width + 1",
            "height = 0",
            "image_stats = zeroblob(length(image_stats))",
            "image_stats = substr(image_stats, 1, length(image_stats) - 1)",
            "image_stats = 'text'",
            "image_stats = 5",
            "vector = image_stats, image_stats = vector",
            "vector = substr(vector, 1, 2796), image_stats = cast(substr(vector, 2797) || image_stats as blob)",
        ],
    )
    def test_a_changed_entry_is_a_miss_and_can_be_put_again(
        self, store: FeatureCache, tmp_path: Path, change: str
    ) -> None:
        store.put([(key, expected(key)) for key in (b"one", b"two")])
        changed(tmp_path, f"UPDATE pictures SET {change} WHERE content = ?", b"one")
        found = store.get([b"one", b"two"])
        assert set(found) == {b"two"}
        check(found)
        store.put([(b"one", expected(b"one"))])
        check(store.get([b"one"]))
        assert store.trouble == ""

    def test_every_single_bit_counts(self, store: FeatureCache, tmp_path: Path) -> None:
        dice = np.random.default_rng(0)
        for bit in dice.integers(0, 700 * 32, 60):
            vector = bytearray(expected(b"one").vector.tobytes())
            store.put([(b"one", expected(b"one"))])
            vector[bit // 8] ^= 1 << bit % 8
            changed(tmp_path, "UPDATE pictures SET vector = ?", bytes(vector))
            assert store.get([b"one"]) == {}

    def test_every_single_bit_of_the_image_stats_counts(self, store: FeatureCache, tmp_path: Path) -> None:
        for bit in np.random.default_rng(1).integers(0, len(IMAGE_STATS) * 8, 30):
            stats = bytearray(IMAGE_STATS)
            store.put([(b"one", expected(b"one"))])
            stats[bit // 8] ^= 1 << bit % 8
            changed(tmp_path, "UPDATE pictures SET image_stats = ?", bytes(stats))
            assert store.get([b"one"]) == {}

    @pytest.mark.parametrize("table", ["features", "pictures"])
    def test_tables_of_other_versions_are_dropped(self, tmp_path: Path, table: str) -> None:
        with closing(sqlite3.connect(tmp_path / "features.sqlite")) as connection, connection:
            connection.execute(f"CREATE TABLE {table} (space BLOB, content BLOB, vector BLOB)")
            connection.execute(f"INSERT INTO {table} VALUES (?, ?, zeroblob(100000))", (NAMESPACE, b"one"))
        fresh = FeatureCache(NAMESPACE, tmp_path)
        assert fresh.get([b"one"]) == {}
        fresh.put([(b"one", expected(b"one"))])
        check(fresh.get([b"one"]))
        assert fresh.trouble == ""
        fresh.close()
        with closing(sqlite3.connect(tmp_path / "features.sqlite")) as connection:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert names == {"pictures"}

    def test_a_damaged_file_never_gives_a_wrong_vector_and_is_replaced_in_the_next_run(
        self, store: FeatureCache, tmp_path: Path
    ) -> None:
        some = keys("some", 40)
        store.put((key, expected(key)) for key in some)
        store.close()
        damage(store.path)
        first = FeatureCache(NAMESPACE, tmp_path)
        check(first.get(some))
        first.put([(b"one", expected(b"one"))])
        first.close()
        second = FeatureCache(NAMESPACE, tmp_path)
        second.put([(b"two", expected(b"two"))])
        check(second.get([*some, b"one", b"two"]))
        assert b"two" in second.get([b"two"])
        assert second.trouble == ""
        second.close()

    @pytest.mark.parametrize(
        "content", [b"not a database at all, but long enough to be one" * 99, b"SQLite format 3\0"]
    )
    def test_a_file_that_is_not_a_database_is_set_aside(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "features.sqlite").write_bytes(content)
        (tmp_path / "features.sqlite.set-aside").write_text("of another time")
        (tmp_path / "features.sqlite.backup").write_text("mine")
        fresh = FeatureCache(NAMESPACE, tmp_path)
        fresh.put([(b"one", expected(b"one"))])
        check(fresh.get([b"one"]))
        assert fresh.trouble == ""
        assert "was renamed to features.sqlite.set-aside-2, and a new cache" in fresh.notes[0].sentence()
        fresh.close()
        assert (tmp_path / "features.sqlite.set-aside-2").read_bytes() == content
        assert (tmp_path / "features.sqlite.set-aside").read_text() == "of another time"
        assert (tmp_path / "features.sqlite.backup").read_text() == "mine"

    def test_with_it_goes_what_sqlite_would_take_for_its_own(self, tmp_path: Path) -> None:
        (tmp_path / "features.sqlite").write_text("no database, but mine")
        (tmp_path / "features.sqlite-wal").write_text("mine as well")
        FeatureCache(NAMESPACE, tmp_path).close()
        assert (tmp_path / "features.sqlite.set-aside").read_text() == "no database, but mine"
        assert (tmp_path / "features.sqlite.set-aside-wal").read_text() == "mine as well"

    @pytest.mark.parametrize(
        ("vector", "change"),
        [
            (np.ones(1 << 17, np.float32), ""),  # larger than any that is kept
            (np.ones(3, np.float32), "width = -1"),
            (np.ones(3, np.float32), "width = 'wide'"),
            (np.ones(3, np.float32), "used_at = 'never'"),
            (np.ones(3, np.uint8), ""),
        ],
    )
    def test_rows_that_nobody_would_write(
        self, store: FeatureCache, tmp_path: Path, vector: NDArray[Any], change: str
    ) -> None:
        store.put([(b"odd", CachedFeatures(3, 4, np.ones(3, np.float32))), (b"one", expected(b"one"))])
        data = vector.tobytes()
        if change:
            changed(tmp_path, f"UPDATE pictures SET {change} WHERE content = ?", b"odd")
        checksum = zlib.crc32(f"{-1 if '-1' in change else 3} 4 {len(data)}".encode(), zlib.crc32(data))
        changed(tmp_path, "UPDATE pictures SET vector = ?, checksum = ? WHERE content = ?", data, checksum, b"odd")
        found = store.get([b"odd", b"one"])
        assert set(found) == ({b"odd", b"one"} if "used_at" in change else {b"one"})
        store.close()
        assert store.trouble == ""

    def test_an_empty_file_is_a_fresh_cache(self, tmp_path: Path) -> None:
        (tmp_path / "features.sqlite").touch()
        fresh = FeatureCache(NAMESPACE, tmp_path)
        fresh.put([(b"one", expected(b"one"))])
        assert b"one" in fresh.get([b"one"])
        fresh.close()


class TestUnusable:
    """The run goes on without it, and the trouble is named."""

    @staticmethod
    def goes_on(useless: FeatureCache) -> None:
        assert useless.get([b"one"]) == {}
        useless.put([(b"one", expected(b"one"))])
        assert useless.get([b"one"]) == {}
        assert useless.trouble
        useless.close()

    def test_the_folder_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        self.goes_on(FeatureCache(NAMESPACE, tmp_path / "file"))
        self.goes_on(FeatureCache(NAMESPACE, tmp_path / "file" / "deeper"))
        assert (tmp_path / "file").read_text() == ""

    @pytest.mark.skipif(os.name != "posix", reason="pipes and links of POSIX")
    @pytest.mark.parametrize("name", ["features.sqlite", "features.sqlite-wal", "features.sqlite-shm"])
    @pytest.mark.parametrize("kind", ["folder", "pipe", "link to a file", "link to a device", "link to nothing"])
    def test_what_is_no_file_stays(self, tmp_path: Path, kind: str, name: str) -> None:
        place, mine = tmp_path / "cache" / name, tmp_path / "mine"
        place.parent.mkdir()
        mine.write_text("mine")
        if kind == "folder":
            place.mkdir()
        elif kind == "pipe":
            os.mkfifo(place)
        else:
            place.symlink_to(
                {"file": mine, "device": "/dev/zero"}.get(kind.rsplit(maxsplit=1)[-1], tmp_path / "nothing")
            )
        before = place.lstat()
        useless = FeatureCache(NAMESPACE, place.parent)
        assert useless.trouble == f"{place} is not a regular file"
        self.goes_on(useless)
        assert os.path.samestat(place.lstat(), before)
        assert mine.read_text() == "mine"
        assert not (tmp_path / "nothing").exists()

    @pytest.mark.parametrize(
        "statements",
        [
            "CREATE TABLE photos (id, path)",
            "CREATE TABLE pictures (id, path); PRAGMA user_version = 3",
            "CREATE TABLE pictures (content, vector); CREATE TABLE mine (a); PRAGMA user_version = 2",
            "CREATE VIEW pictures AS SELECT 1 AS content, 2 AS vector; PRAGMA user_version = 2",
            "CREATE TABLE pictures (content, vector, later); PRAGMA user_version = 4",
            "PRAGMA journal_mode = WAL; CREATE TABLE photos (id, path)",
            "PRAGMA application_id = 7; PRAGMA user_version = 3",
        ],
    )
    def test_a_database_of_another_program_or_a_later_version_stays(self, tmp_path: Path, statements: str) -> None:
        file = tmp_path / "features.sqlite"
        with closing(sqlite3.connect(file)) as connection:
            connection.executescript(statements)
        before = file.read_bytes()
        useless = FeatureCache(NAMESPACE, tmp_path)
        assert "of another program" in useless.trouble or "later version" in useless.trouble
        self.goes_on(useless)
        assert file.read_bytes() == before
        assert [path.name for path in tmp_path.iterdir()] == ["features.sqlite"]

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
    def test_the_folder_may_not_be_written_to(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        self.goes_on(FeatureCache(NAMESPACE, tmp_path))
        tmp_path.chmod(0o700)

    def test_another_program_holds_it_for_ever(self, store: FeatureCache) -> None:
        store.put([(b"one", expected(b"one"))])
        with closing(sqlite3.connect(store.path)) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = FeatureCache(NAMESPACE, store.path.parent, patience=0)
            assert waiting.get([b"two"]) == {}
            waiting.put([(b"two", expected(b"two"))])
            assert "locked" in waiting.trouble
            waiting.close()
        check(store.get([b"one"]))

    @pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
    def test_a_disk_that_is_full(self, tmp_path: Path) -> None:
        code = (
            "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n" + WRITER
        )
        command = [sys.executable, "-c", code, str(tmp_path), "full", "30"]
        done = subprocess.run(command, input="\n", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "disk" in done.stdout.splitlines()[-1]
        again = FeatureCache(NAMESPACE, tmp_path)
        check(again.get(keys("full", 30)))
        again.put([(b"one", expected(b"one"))])
        assert b"one" in again.get([b"one"])
        again.close()


class TestSeveralAtOnce:
    def test_processes_that_begin_together(self, tmp_path: Path) -> None:
        for attempt in range(3):
            folder = tmp_path / str(attempt)
            command = [sys.executable, "-c", WRITER.replace('print("ready", flush=True); sys.stdin.readline()\n', "")]
            both = [
                subprocess.Popen([*command, str(folder), name, "30"], stdout=subprocess.PIPE, text=True)
                for name in ("a", "b", "c")
            ]
            outputs = [one.communicate()[0].splitlines() for one in both]
            assert [one.returncode for one in both] == [0, 0, 0]
            assert [lines[-1] for lines in outputs] == ["", "", ""]
            store = FeatureCache(NAMESPACE, folder)
            found = store.get([key for name in ("a", "b", "c") for key in keys(name, 30)])
            store.close()
            assert len(found) == 3 * 30 * 8
            check(found)

    def test_what_one_puts_the_other_gets(self, store: FeatureCache, tmp_path: Path) -> None:
        other = FeatureCache(NAMESPACE, tmp_path)
        other.put([(b"one", expected(b"one"))])
        check(store.get([b"one"]))
        assert b"one" in store.get([b"one"])
        other.close()

    @pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
    def test_a_writer_killed_at_any_moment(self, tmp_path: Path) -> None:
        dice = np.random.default_rng(7)
        for attempt in range(7):
            name = f"killed {attempt}"
            with writer(tmp_path, name, 10_000) as victim:
                assert victim.stdin is not None
                assert victim.stdout is not None
                victim.stdin.write("\n")
                victim.stdin.flush()
                done = int(victim.stdout.readline())
                time.sleep(dice.uniform(0, 0.04))
                victim.send_signal(signal.SIGKILL)
                done = max([done, *map(int, victim.stdout.read().splitlines()[:-1])])
            store = FeatureCache(NAMESPACE, tmp_path)
            assert store.trouble == ""
            found = store.get(keys(name, done + 9))
            assert set(keys(name, done + 1)) <= set(found)
            assert len(found) % 8 == 0
            check(found)
            store.put([(b"after", expected(b"after"))])
            assert b"after" in store.get([b"after"])
            store.close()
        with closing(connect(tmp_path / "features.sqlite")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


class TestLimit:
    def test_what_was_used_longest_ago_goes_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        some = keys("some", 50)
        store = FeatureCache(NAMESPACE, tmp_path)
        store.put((key, expected(key)) for key in some)
        store.close()
        changed(tmp_path, "UPDATE pictures SET used_at = 1000 + rowid")
        monkeypatch.setenv("KILAT_CACHE_LIMIT", "571424")  # an eighth of it is for results
        store = FeatureCache(NAMESPACE, tmp_path)
        assert len(store.get(some[:20])) == 20  # used now, so they stay
        store.close()
        assert store.path.stat().st_size <= 500_000
        store = FeatureCache(NAMESPACE, tmp_path)
        left = store.get(some)
        store.close()
        check(left)
        assert set(some[:20]) < set(left)
        assert set(left) == {*some[:20], *some[-(len(left) - 20) :]}
        assert 100 < len(left) < 180

    def test_below_the_limit_everything_stays(self, store: FeatureCache, tmp_path: Path) -> None:
        store.put((key, expected(key)) for key in keys("some", 20))
        store.close()
        again = FeatureCache(NAMESPACE, tmp_path)
        assert len(again.get(keys("some", 20))) == 160
        again.close()

    def test_no_room_at_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KILAT_CACHE_LIMIT", "0")
        store = FeatureCache(NAMESPACE, tmp_path)
        store.put([(b"one", expected(b"one"))])
        assert b"one" in store.get([b"one"])
        store.close()
        again = FeatureCache(NAMESPACE, tmp_path)
        assert again.get([b"one"]) == {}
        again.close()

    @pytest.mark.parametrize("given", ["8GB", "-1", "1e9", "9" * 5000])
    def test_a_limit_that_is_not_a_number_is_refused_at_the_start(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
    ) -> None:
        monkeypatch.setenv("KILAT_CACHE_LIMIT", given)
        with pytest.raises(RunError, match=f"KILAT_CACHE_LIMIT is '{given[:9]}.*', which is not a number of bytes"):
            FeatureCache(NAMESPACE, tmp_path)


class TestHome:
    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("KILAT_CACHE", str(tmp_path / "mine"))
        return tmp_path / "mine"

    def test_the_environment_sets_the_folder(self, home: Path) -> None:
        store = FeatureCache(NAMESPACE)
        assert store.path == home / "features.sqlite"
        store.put([(b"one", expected(b"one"))])
        store.close()
        assert [path.name for path in home.iterdir()] == ["features.sqlite"]

    def test_usage_and_clearing(self, home: Path) -> None:
        assert cache.usage() == (home, 0, 0)
        assert cache.clear() == 0
        assert not home.exists()
        store = FeatureCache(NAMESPACE)
        store.put((key, expected(key)) for key in keys("some", 10))
        store.close()
        folder, size, count = cache.usage()
        assert (folder, count) == (home, 80)
        assert 80 * 2800 < size <= store.path.stat().st_size
        assert cache.clear() == size
        assert cache.usage()[2] == 0
        assert store.path.stat().st_size < 30_000
        empty = FeatureCache(NAMESPACE)
        assert empty.get(keys("some", 10)) == {}
        empty.close()

    def test_clearing_while_a_run_uses_it(self) -> None:
        store = FeatureCache(NAMESPACE)
        store.put([(b"one", expected(b"one"))])
        assert cache.clear() > 0
        assert store.get([b"one"]) == {}
        store.put([(b"two", expected(b"two"))])
        check(store.get([b"two"]))
        assert store.trouble == ""
        store.close()

    def test_clearing_leaves_what_is_not_kilats(self, home: Path) -> None:
        home.mkdir()
        (home / "features.sqlite").write_text("mine")
        assert cache.usage() == (home, 0, 0)
        assert cache.clear() == 0
        assert (home / "features.sqlite").read_text() == "mine"
        (home / "features.sqlite").unlink()
        changed(home, "CREATE TABLE photos (id, path)")
        for verb in (cache.usage, cache.clear):
            with pytest.raises(RunError, match=r"features\.sqlite is a database of another program\."):
                verb()

    def test_another_program_that_locks_it_is_a_sentence(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        FeatureCache(NAMESPACE).close()
        monkeypatch.setattr("kilat.features.cache.connect", functools.partial(connect, patience=0))
        with closing(sqlite3.connect(home / "features.sqlite")) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN IMMEDIATE")
            other.execute("DELETE FROM pictures")
            with pytest.raises(RunError, match=r"cannot be used: database is locked\."):
                cache.clear()

    def test_a_damaged_cache_can_be_measured_and_cleared(self, home: Path) -> None:
        store = FeatureCache(NAMESPACE)
        store.put((key, expected(key)) for key in keys("some", 40))
        store.close()
        damage(store.path, 0.3)
        assert cache.usage()[1] > 0
        assert cache.clear() > 0
        assert cache.usage()[2] == 0
        again = FeatureCache(NAMESPACE)
        again.put([(b"one", expected(b"one"))])
        check(again.get([b"one"]))
        assert again.trouble == ""
        again.close()
