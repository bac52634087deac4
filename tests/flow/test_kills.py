"""Killed, interrupted, crowded or out of disk at any moment: the next run works, and nothing wrong is left behind."""

import contextlib
import os
import resource
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kilat
from kilat.errors import RunError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX signals and limits")

KILLS = 8
PICTURES = 240
SMALL = ("--size", 32)  # the moments matter here, not the pictures
FILES = {
    "model.onnx", "report.html", "metrics.json", "recipe.yaml", "catalog.csv", "predictions.csv", "suspects.csv",
    "run.json", "report.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def many(make_photos: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("many") / "sights", seed=9, temple=PICTURES // 2, flower=PICTURES // 2)


def vectors(cache: Path) -> int:
    """How many feature vectors a cache holds by now."""
    file = cache / "features.sqlite"
    if not file.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM pictures").fetchone()[0])
        except sqlite3.OperationalError:  # its table is not there yet
            return 0


def wait_until(happened: Callable[[], bool], process: Any) -> None:
    while not happened():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.mark.slow  # it kills at a dozen moments; the others kill at one
def test_killed_at_any_moment_the_next_run_equals_an_undisturbed_one(many, start, tmp_path, assert_same_run):
    begun = time.monotonic()
    calm_cache = {"KILAT_CACHE": str(tmp_path / "calm-cache")}
    calm = start("train", many, *SMALL, "--runs", tmp_path / "calm", env=calm_cache)
    _printed, errors = calm.communicate(timeout=240)
    took = time.monotonic() - begun
    assert calm.returncode == 0, errors
    cache = {"KILAT_CACHE": str(tmp_path / "cache")}
    random = np.random.default_rng(3)
    for k in range(KILLS):
        process = start("train", many, *SMALL, "--runs", tmp_path / "runs", env=cache)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=took * (k + random.random()) / KILLS)
        process.kill()
    after = start("train", many, *SMALL, "--runs", tmp_path / "runs", "--name", "after", env=cache)
    _printed, errors = after.communicate(timeout=240)
    assert after.returncode == 0, errors
    assert {path.name for path in (tmp_path / "runs" / "after").iterdir()} == FILES
    assert_same_run(tmp_path / "calm" / "sights", tmp_path / "runs" / "after")
    assert vectors(tmp_path / "cache") == vectors(tmp_path / "calm-cache") == PICTURES


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_ended_while_features_are_extracted(many, start, tmp_path, own_cache, ending):
    process = start("train", many, "--runs", tmp_path / "runs", "--size", 128, "--set", "features.precision=fp32")
    wait_until(lambda: vectors(own_cache) > 0, process)
    process.send_signal(ending)
    printed, errors = process.communicate(timeout=120)
    assert printed == ""
    assert "Traceback" not in errors
    assert process.returncode == 128 + ending
    assert f"Stopped by {ending.name}. The features that were extracted are kept" in errors
    assert f"from there:\n  kilat train {many} --runs {tmp_path / 'runs'} --size 128" in errors
    assert not list((tmp_path / "runs").iterdir())
    assert 0 < vectors(own_cache) <= PICTURES
    run = kilat.train(many, runs=tmp_path / "runs", name="after", size=128, precision="fp32")
    assert {path.name for path in run.folder.iterdir()} == FILES
    assert run.metrics.data.used == PICTURES


def test_two_at_once_on_one_cache_and_one_runs_folder(photos, start, tmp_path, own_cache, assert_same_run):
    both = [start("train", photos, *SMALL, "--runs", tmp_path / "runs") for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"sights", "sights-2"}
    assert_same_run(tmp_path / "runs" / "sights", tmp_path / "runs" / "sights-2")


def test_a_damaged_cache_costs_the_saving_not_the_run(photos, tmp_path, own_cache, assert_same_run):
    first = kilat.train(photos, runs=tmp_path, size=32)
    file = own_cache / "features.sqlite"
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("UPDATE pictures SET vector = zeroblob(length(vector)) WHERE rowid % 3 = 0")
        connection.execute("UPDATE pictures SET vector = x'00' WHERE rowid % 3 = 1")
    assert_same_run(first.folder, kilat.train(photos, runs=tmp_path, size=32).folder)
    file.write_bytes(b"no database" * 1000)
    (own_cache / "features.sqlite.backup").write_text("mine")
    after = kilat.train(photos, runs=tmp_path, size=32)
    assert [note.code for note in after.metrics.notes] == ["feature_cache_set_aside"]
    assert "was renamed to features.sqlite.set-aside" in after.report.read_text("utf-8")
    for name in ("model.onnx", "catalog.csv", "predictions.csv"):
        assert (after.folder / name).read_bytes() == (first.folder / name).read_bytes(), name
    assert (own_cache / "features.sqlite.backup").read_text() == "mine"
    assert vectors(own_cache) == first.metrics.data.used


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_cache_disk_costs_the_saving_not_the_run(many, small_disk, tmp_path, monkeypatch):
    monkeypatch.setenv("KILAT_CACHE", str(small_disk))
    run = kilat.train(many, runs=tmp_path / "runs", size=32)
    assert run.metrics.data.used == PICTURES
    assert [note.code for note in run.metrics.notes] == ["feature_cache", "result_cache"]
    assert " cache was not used" in (run.folder / "report.html").read_text("utf-8")


def test_a_full_runs_disk_ends_in_a_sentence(photos, small_disk):
    with pytest.raises(RunError, match=r"model\.onnx cannot be written: no space left on device"):
        kilat.train(photos, runs=small_disk / "runs", size=32)
    assert not list((small_disk / "runs").iterdir())


def test_a_file_that_cannot_grow_ends_in_a_sentence(photos, start, tmp_path):
    """A limit on the size of files stands in for a full disk where none can be mounted."""
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += f"resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, {resource.RLIM_INFINITY}))"
    env = {"KILAT_CACHE": str(tmp_path / "cache")}
    process = start("train", photos, "--runs", tmp_path / "runs", "--size", 32, before=limit, env=env)
    _printed, errors = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "model.onnx cannot be written" in errors
    assert "Traceback" not in errors
    assert not list((tmp_path / "runs").iterdir())
