"""A result comes back as it was computed, for the same inputs alone, whatever happens to its file."""

import hashlib
import io
import os
import threading

import numpy as np
import pytest

from kilat.runtime import kept_files, result_cache
from kilat.runtime.result_cache import Result, ResultCache

INPUTS = {
    "pictures": np.arange(6, dtype=np.float32).reshape(2, 3),
    "labels": np.array([0, 1]),
    "none": np.zeros((0, 4), np.float32),
    "settings": {"l2": [0.1, 1e-7], "weight": None},
    "seed": 0,
}
RESULT = Result(
    {"loss": 0.1 + 0.2, "names": ["a", "b"], "nothing": None},
    {"coefficients": np.asfortranarray(np.random.default_rng(0).random((3, 4), np.float32)), "rows": np.arange(5)},
)


class Counter:
    """Computes ``RESULT``, and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Result:
        self.calls += 1
        return RESULT


def files(folder):
    return sorted(folder.iterdir()) if folder.exists() else []


def test_it_is_computed_once_and_comes_back_bit_for_bit(tmp_path):
    compute = Counter()
    first = ResultCache(tmp_path, 1 << 20).recall("head", INPUTS, compute)
    again = ResultCache(tmp_path, 1 << 20)
    second = again.recall("head", INPUTS, compute)
    assert compute.calls == 1
    assert second.document == first.document
    for name, values in first.arrays.items():
        found = second.arrays[name]
        assert (found.dtype, found.shape, found.strides) == (values.dtype, values.shape, values.strides)
        assert found.tobytes() == values.tobytes()
    assert again.notes() == []


@pytest.mark.parametrize(
    "changed",
    [
        {"pictures": np.nextafter(INPUTS["pictures"], np.float32(9))},
        {"pictures": INPUTS["pictures"].reshape(3, 2)},
        {"pictures": INPUTS["pictures"].astype(np.float64)},
        {"labels": np.array([1, 0])},
        {"none": np.zeros((0, 5), np.float32)},
        {"settings": {"l2": [0.1, 2e-7], "weight": None}},
        {"settings": {"l2": [0.1, 1e-7], "weight": "balanced"}},
        {"seed": 1},
        {"more": 1},
    ],
    ids=str,
)
def test_other_inputs_have_other_results(tmp_path, changed):
    compute, cache = Counter(), ResultCache(tmp_path, 1 << 20)
    cache.recall("head", INPUTS, compute)
    cache.recall("head", INPUTS | changed, compute)
    assert compute.calls == 2


def test_so_have_other_computations_and_other_versions_of_the_source(tmp_path):
    compute, cache = Counter(), ResultCache(tmp_path / "results", 1 << 20)
    cache.recall("head", INPUTS, compute)
    cache.recall("other", INPUTS, compute)
    assert compute.calls == 2
    source = tmp_path / "kilat"
    source.mkdir()
    (source / "one.py").write_text("x = 1")
    environment_digest = result_cache.environment_digest.__wrapped__
    digests = {environment_digest(source)}
    (source / "one.py").write_text("x = 2")
    digests.add(environment_digest(source))
    (source / "two.py").write_text("")
    digests.add(environment_digest(source))
    assert len(digests) == 3


@pytest.mark.parametrize("harm", ["cut", "one bit", "emptied", "text"])
def test_a_damaged_file_is_computed_again_and_said(tmp_path, harm):
    compute = Counter()
    ResultCache(tmp_path, 1 << 20).recall("head", INPUTS, compute)
    (path,) = files(tmp_path)
    data = bytearray(path.read_bytes())
    if harm == "one bit":
        data[data.index(RESULT.arrays["rows"].tobytes()) + 8] ^= 4
    path.write_bytes({"cut": data[: len(data) // 2], "one bit": data, "emptied": b"", "text": b"no"}[harm])
    cache = ResultCache(tmp_path, 1 << 20)
    assert cache.recall("head", INPUTS, compute).document == RESULT.document
    assert compute.calls == 2
    (note,) = cache.notes()
    assert path.name in note.sentence()
    healed = ResultCache(tmp_path, 1 << 20)
    healed.recall("head", INPUTS, compute)
    assert compute.calls == 2
    assert healed.notes() == []


@pytest.mark.parametrize("harm", ["no archive", "no document", "compressed", "a list"])
def test_a_forged_file_with_the_right_checksum_is_computed_again(tmp_path, harm):
    compute, content = Counter(), io.BytesIO()
    ResultCache(tmp_path, 1 << 20).recall("head", INPUTS, compute)
    (path,) = files(tmp_path)
    document = np.frombuffer(b"[1]" if harm == "a list" else b"{}", np.uint8)
    if harm == "no archive":
        content.write(b"PK" * 99)
    elif harm == "compressed":
        np.savez_compressed(content, document=document, rows=np.zeros(1 << 20))
    else:
        np.savez(content, **{"rows" if harm == "no document" else "document": document})
    path.write_bytes(hashlib.sha256(content.getvalue()).digest() + content.getvalue())
    cache = ResultCache(tmp_path, 1 << 20)
    assert cache.recall("head", INPUTS, compute) is RESULT
    assert f"{path.name} is damaged" in cache.notes()[0].sentence()


@pytest.mark.skipif(os.name != "posix", reason="pipes and links of POSIX")
@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_what_is_no_file_is_neither_read_nor_replaced(tmp_path, kind):
    compute = Counter()
    ResultCache(tmp_path / "results", 1 << 20).recall("head", INPUTS, compute)
    (path,) = files(tmp_path / "results")
    path.unlink()
    make = {"pipe": lambda: os.mkfifo(path), "link": lambda: path.symlink_to("/dev/zero"), "folder": path.mkdir}
    make[kind]()
    cache = ResultCache(tmp_path / "results", 1 << 20)
    for _ in range(2):
        assert cache.recall("head", INPUTS, compute) is RESULT
    assert os.path.lexists(path)
    assert not path.is_file()
    assert [note.code for note in cache.notes()] == ["result_cache"]


def test_other_files_in_its_folder_stay(tmp_path):
    mine = {
        name: tmp_path / name for name in ("paper.pdf", "a.result", "f" * 64, f"{'F' * 64}.result", f"{'f' * 64}.txt")
    }
    for file in mine.values():
        file.write_text("mine")
        os.utime(file, (1, 1))
    (tmp_path / ("e" * 64 + ".result")).symlink_to(mine["paper.pdf"])
    ResultCache(tmp_path, 0).recall("head", INPUTS, Counter())  # no room for anything
    ResultCache(tmp_path, 1 << 20).recall("head", INPUTS, Counter())
    assert kept_files.clear(tmp_path, kept_files.RESULTS) > 0
    assert kept_files.clear(tmp_path, kept_files.BACKBONES) == 0
    assert {path.name for path in tmp_path.iterdir()} == {*mine, "e" * 64 + ".result"}
    assert {file.read_text() for file in mine.values()} == {"mine"}


def test_a_folder_that_cannot_be_used_costs_the_saving_alone(tmp_path):
    (tmp_path / "file").write_text("")
    compute, cache = Counter(), ResultCache(tmp_path / "file" / "results", 1 << 20)
    for _ in range(2):
        assert cache.recall("head", INPUTS, compute) is RESULT
    assert compute.calls == 2
    assert [note.code for note in cache.notes()] == ["result_cache"]


def test_what_may_have_been_cut_short_is_not_kept(tmp_path):
    compute = Counter()
    ResultCache(tmp_path, 1 << 20, is_read_only=True).recall("head", INPUTS, compute)
    assert files(tmp_path) == []
    ResultCache(tmp_path, 1 << 20).recall("head", INPUTS, compute)
    ResultCache(tmp_path, 1 << 20, is_read_only=True).recall("head", INPUTS, compute)
    assert compute.calls == 2


def test_the_longest_unused_go_first_where_they_outgrow_their_limit(tmp_path):
    compute = Counter()
    cache = ResultCache(tmp_path, 1 << 20)
    for seed in range(3):
        cache.recall("head", INPUTS | {"seed": seed}, compute)
    for age, path in enumerate(files(tmp_path)):
        os.utime(path, (1000 - age, 1000 - age))
    cache.recall("head", INPUTS | {"seed": 1}, compute)  # used now
    size = files(tmp_path)[0].stat().st_size
    assert kept_files.usage(tmp_path, kept_files.RESULTS) == 3 * size
    kept_files.shrink(tmp_path, kept_files.RESULTS, 2 * size)
    assert kept_files.usage(tmp_path, kept_files.RESULTS) == 2 * size
    assert compute.calls == 3
    cache.recall("head", INPUTS | {"seed": 1}, compute)
    assert compute.calls == 3


def test_side_by_side_all_have_the_result(tmp_path):
    found = []

    def one() -> None:
        for seed in range(20):
            cache = ResultCache(tmp_path, 1 << 20)
            result = cache.recall("head", INPUTS | {"seed": seed}, lambda: RESULT)
            found.append((result.document == RESULT.document, cache.notes()))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(True, [])] * 80
    assert len(files(tmp_path)) == 20
