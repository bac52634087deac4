"""The pass that keeps pixels: every picture accounted for as in any pass, every byte as the fitter gives it."""

import hashlib
import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kilat.data.catalog import Catalog
from kilat.data.decode import decode
from kilat.data.source import ArraySource, PathsSource, open_source
from kilat.features import lite, pixels
from kilat.features.extract import extract_features
from kilat.features.pixels import fits_in_memory, natural_size, read_pixels
from kilat.features.resize_graph import Resizer


def encoded(values, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(values).save(file, kind)
    return file.getvalue()


def noise(count, height, width):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    good = [encoded(one) for one in noise(6, 20, 26)]
    files = {f"{'ab'[i % 2]}/{i}.png": content for i, content in enumerate(good)}
    files |= {"a/wide.jpg": encoded(noise(1, 90, 400)[0], "JPEG"), "b/twin.png": good[0], "loose.png": good[1]}
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


class TestLookAtPixels:
    @pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
    def test_every_picture_is_decoded_and_fitted(self, folder, resize):
        source = open_source(folder)
        catalog = Catalog.from_entries(source.entries)
        kept = read_pixels(source, catalog, size=16, resize=resize, keep=True)
        assert kept.shape == (13, 16, 16, 3)
        assert kept.dtype == np.uint8
        fit = Resizer(16, resize)
        for row, path in enumerate(catalog.table["path"]):
            if not catalog.used[row]:
                assert not kept[row].any()
                continue
            content = (folder / path).read_bytes()
            image, size = decode(content, shrink_to=16)
            np.testing.assert_array_equal(kept[row], fit(np.asarray(image)))
            assert tuple(catalog.table.loc[row, ["width", "height"]]) == size
            assert catalog.table.loc[row, "digest"] == hashlib.sha256(content).hexdigest()

    @pytest.mark.parametrize("keep", [True, False])
    def test_the_catalog_says_the_same_as_after_looking_through_a_backbone(self, folder, keep):
        source, backbone = open_source(folder), lite.build(32)
        seen, kept = Catalog.from_entries(source.entries), Catalog.from_entries(source.entries)
        extract_features(source, seen, backbone, resize="crop", cache=None)
        result = read_pixels(source, kept, size=32, resize="crop", keep=keep)
        assert (result is None) == (not keep)
        assert kept.table.equals(seen.table)
        assert (~kept.used).sum() == 5

    def test_progress_comes_to_the_end(self, folder):
        source, told = open_source(folder), []
        read_pixels(
            source, Catalog.from_entries(source.entries), size=16, resize="pad", keep=False,
            advance=lambda done, total: told.append((done, total)),
        )  # fmt: skip
        assert told == [(number, 13) for number in range(1, 14)]

    def test_nobody_at_all(self):
        source = ArraySource([], [], "x")
        kept = read_pixels(source, Catalog.from_entries([]), size=16, resize="pad", keep=True)
        assert kept.shape == (0, 16, 16, 3)

    def test_a_value_takes_a_byte(self):
        source = ArraySource(noise(500, 64, 64), ["a"] * 500, "x")
        catalog = Catalog.from_entries(source.entries)
        tracemalloc.start()
        try:
            kept = read_pixels(source, catalog, size=64, resize="crop", keep=True)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert kept.nbytes == 500 * 64 * 64 * 3
        assert peak < 2.5 * kept.nbytes


class TestNaturalSize:
    @pytest.mark.parametrize(
        ("height", "width", "size"), [(8, 9, 16), (28, 28, 28), (32, 500, 32), (64, 48, 48), (480, 640, 224)]
    )
    def test_the_median_shorter_side_within_bounds(self, height, width, size):
        assert natural_size(ArraySource(noise(3, height, width), ["a"] * 3, "x")) == size

    def test_most_pictures_decide(self):
        some = [*noise(60, 24, 24), *noise(40, 90, 90)]
        assert natural_size(ArraySource(some, ["a"] * 100, "x")) == 24

    def test_nothing_to_measure(self):
        assert natural_size(PathsSource(["/gone.png"], ["a"])) == 224


class TestFitsInMemory:
    def test_a_few_do_and_a_planet_of_them_does_not(self):
        assert fits_in_memory(1000, 32)
        assert not fits_in_memory(10**12, 224)

    def test_a_quarter_is_the_most(self, monkeypatch):
        monkeypatch.setattr(pixels, "_free", lambda: 4 * 32 * 32 * 3 * 100)
        monkeypatch.setattr(pixels, "_group_limits", list)
        assert fits_in_memory(100, 32)
        assert not fits_in_memory(101, 32)
        monkeypatch.setattr(pixels, "_group_limits", lambda: [4 * 32 * 32 * 3 * 50])
        assert fits_in_memory(50, 32)
        assert not fits_in_memory(51, 32)
