"""The pass that keeps pixels: every picture accounted for as in any pass, every byte as the resizer gives it."""

import hashlib
import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kilat.data.catalog import Catalog, Entry, Picture, Source
from kilat.data.decode import decode
from kilat.data.source import ArraySource, PathsSource, open_source
from kilat.features import lite
from kilat.features.extract import extract_features
from kilat.features.pixels import fits_in_memory, natural_size, read_pixels
from kilat.features.resize_graph import Resizer
from kilat.recipe import Resize
from kilat.runtime import memory
from kilat.runtime.cores import available_cores


def encoded(values: NDArray[np.uint8], kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, kind)
    return file.getvalue()


def noise(count: int, height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def all_of(source: Source) -> NDArray[np.bool_]:
    return np.array([not entry.refused for entry in source.entries], bool)


class Recording:
    """A source that notes which of its pictures are read."""

    def __init__(self, source: Source) -> None:
        self.source, self.name, self.skipped, self.notes = source, source.name, source.skipped, source.notes
        self.read_rows = list[int]()
        self.entries: list[Entry] = source.entries

    def read(self, index: int) -> Picture:
        self.read_rows.append(index)
        return self.source.read(index)

    def link(self, index: int) -> str | None:
        return self.source.link(index)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    good = [encoded(one) for one in noise(6, 20, 26)]
    files = {f"{'ab'[i % 2]}/{i}.png": content for i, content in enumerate(good)}
    files |= {"a/wide.jpg": encoded(noise(1, 90, 400)[0], "JPEG"), "b/copy.png": good[0], "loose.png": good[1]}
    files |= {
        "a/empty.jpg": b"",
        "b/text.jpg": b"no picture",
        "a/cut.png": good[0][:-40],
        "a/cut too.png": good[0][:-40],
    }
    for name, content in files.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "data"


class TestReadPixels:
    @pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
    def test_every_picture_is_decoded_and_resized(self, folder: Path, resize: Resize) -> None:
        source = open_source(folder)
        catalog = Catalog.from_entries(source.entries)
        found = read_pixels(source, catalog.used, size=16, resize=resize, keep=True)
        catalog.record_pictures(found)
        assert found.pixels is not None
        assert found.pixels.shape == (13, 16, 16, 3)
        assert found.pixels.dtype == np.uint8
        resizer = Resizer(16, resize)
        for row, path in enumerate(catalog.table["path"]):
            if not catalog.used[row]:
                assert not found.pixels[row].any()
                continue
            content = (folder / path).read_bytes()
            image, size = decode(content, shrink_to=16)
            np.testing.assert_array_equal(found.pixels[row], resizer(np.asarray(image)))
            assert tuple(catalog.table.loc[row, ["width", "height"]]) == size
            assert catalog.table.loc[row, "digest"] == hashlib.sha256(content).hexdigest()

    @pytest.mark.parametrize("keep", [True, False])
    def test_it_finds_out_the_same_as_extracting_features(self, folder: Path, keep: bool) -> None:
        source, backbone = open_source(folder), lite.build(32)
        extracted, decoded = Catalog.from_entries(source.entries), Catalog.from_entries(source.entries)
        extracted.record_pictures(extract_features(source, extracted.used, backbone, resize="crop", cache=None))
        found = read_pixels(source, decoded.used, size=32, resize="crop", keep=keep)
        decoded.record_pictures(found)
        assert (found.pixels is None) == (not keep)
        assert decoded.table.equals(extracted.table)
        assert decoded.image_stats.tobytes() == extracted.image_stats.tobytes()
        assert (~decoded.used).sum() == 5

    def test_progress_comes_to_the_end(self, folder: Path) -> None:
        source, reported = open_source(folder), list[tuple[int, int]]()
        read_pixels(
            source, all_of(source), size=16, resize="pad", keep=False,
            advance=lambda done, total, note="": reported.append((done, total)),
        )  # fmt: skip
        assert reported == [(number, 13) for number in range(1, 14)]

    def test_no_pictures_at_all(self) -> None:
        source = ArraySource([], [], "x")
        pixels = read_pixels(source, all_of(source), size=16, resize="pad", keep=True).pixels
        assert pixels is not None
        assert pixels.shape == (0, 16, 16, 3)

    def test_a_value_takes_a_byte(self) -> None:
        source = ArraySource(noise(500, 64, 64), ["a"] * 500, "x")
        tracemalloc.start()
        try:
            pixels = read_pixels(source, all_of(source), size=64, resize="crop", keep=True).pixels
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert pixels is not None
        assert pixels.nbytes == 500 * 64 * 64 * 3
        # The array itself and some pictures on their way, more on more cores: at most all, as squares and batches.
        assert peak < min(4, 2.5 + max(0, available_cores() - 2) / 4) * pixels.nbytes


class TestSecondPass:
    """A pass over pictures that were read before: only those that are used, and no statistics."""

    def test_only_used_pictures_are_read(self, folder: Path) -> None:
        source = Recording(open_source(folder))
        catalog = Catalog.from_entries(source.entries)
        catalog.record_pictures(read_pixels(source, catalog.used, size=16, resize="crop", keep=False))
        source.read_rows.clear()
        again = read_pixels(source, catalog.used, size=16, resize="crop", keep=True, image_stats=False)
        assert source.read_rows == np.flatnonzero(catalog.used).tolist()
        assert len(source.read_rows) == 8
        assert again.refusals == {}
        assert again.pixels is not None
        assert again.pixels.any(axis=(1, 2, 3)).tolist() == catalog.used.tolist()

    def test_nothing_is_measured_and_the_pixels_are_the_same(self, folder: Path) -> None:
        source = open_source(folder)
        first = read_pixels(source, all_of(source), size=16, resize="crop", keep=True)
        again = read_pixels(source, all_of(source), size=16, resize="crop", keep=True, image_stats=False)
        assert len(first.image_stats) == 13
        assert len(again.image_stats) == 0
        np.testing.assert_array_equal(again.pixels, first.pixels)
        assert (again.digests, again.refusals) == (first.digests, first.refusals)


class TestNaturalSize:
    @pytest.mark.parametrize(
        ("height", "width", "size"), [(8, 9, 16), (28, 28, 28), (32, 500, 32), (64, 48, 48), (480, 640, 224)]
    )
    def test_the_median_shorter_side_within_bounds(self, height: int, width: int, size: int) -> None:
        assert natural_size(ArraySource(noise(3, height, width), ["a"] * 3, "x")) == size

    def test_most_pictures_decide(self) -> None:
        some = [*noise(60, 24, 24), *noise(40, 90, 90)]
        assert natural_size(ArraySource(some, ["a"] * 100, "x")) == 24

    def test_nothing_to_measure(self) -> None:
        assert natural_size(PathsSource(["/gone.png"], ["a"])) == 224


class TestFitsInMemory:
    def test_a_few_fit_and_a_million_millions_do_not(self) -> None:
        assert fits_in_memory(1000, 32)
        assert not fits_in_memory(10**12, 224)

    def test_a_quarter_is_the_most(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "available_memory", lambda: 4 * 32 * 32 * 3 * 100)
        assert fits_in_memory(100, 32)
        assert not fits_in_memory(101, 32)
