"""The pass over the pictures: all are accounted for, and features depend neither on the others nor on the cores."""

import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kilat.data.catalog import Catalog, Source
from kilat.data.decode import decode
from kilat.data.image_stats import IMAGE_STATS, image_stats
from kilat.data.source import ArraySource, PathsSource, open_source
from kilat.features import lite
from kilat.features.backbone import Backbone
from kilat.features.cache import CachedFeatures, FeatureCache
from kilat.features.extract import cache_namespace, extract_features, suggested_size
from kilat.features.processing import OnnxRunner
from kilat.features.resize_graph import Resizer
from kilat.runtime.array_types import Floats, Pixels


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return lite.build(32)


@pytest.fixture(scope="module")
def runner(backbone: Backbone) -> OnnxRunner:
    return OnnxRunner(backbone)


@pytest.fixture
def cache(tmp_path: Path, backbone: Backbone) -> Iterator[FeatureCache]:
    opened = FeatureCache(cache_namespace(backbone, "crop"), tmp_path / "cache")
    yield opened
    opened.close()


class Counting:
    """A runner that counts the pictures it was given."""

    portable = False

    def __init__(self, runner: OnnxRunner) -> None:
        self.runner, self.batch, self.count = runner, runner.batch, 0

    def __call__(self, pixels: Pixels) -> Floats:
        self.count += len(pixels)
        return self.runner(pixels)


def pictures(count: int, side: int = 12) -> list[Pixels]:
    """Different ones, with some structure."""
    made = []
    for number in range(count):
        dice = np.random.default_rng(number)
        coarse = dice.integers(0, 256, (3, 4, 3), dtype=np.uint8)
        made.append(np.asarray(Image.fromarray(coarse).resize((side + number % 5, side), Image.Resampling.BILINEAR)))
    return made


def encoded(pixels: Pixels, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def arrays(some: Sequence[Pixels]) -> ArraySource:
    return ArraySource(some, ["a"] * len(some), "x")


def extract(source: Source, backbone: Backbone, **options: Any) -> tuple[Floats, Catalog]:
    """The features, and the catalog with all that was found out."""
    catalog = Catalog.from_entries(source.entries)
    before = catalog.table.copy()
    extraction = extract_features(source, catalog.used, backbone, **{"resize": "crop", "cache": None, **options})
    assert catalog.table.equals(before)
    catalog.record_pictures(extraction)
    return extraction.features, catalog


class TestEveryPicture:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        good, files = [encoded(one) for one in pictures(6)], dict[str, bytes]()
        files |= {f"a/{i}.png": content for i, content in enumerate(good[:3])}
        files |= {f"b/{i}.png": content for i, content in enumerate(good[3:])}
        files |= {
            "a/empty.jpg": b"",
            "a/text.jpg": b"no picture",
            "a/cut.png": good[0][:-40],
            "a/cut again.png": good[0][:-40],
            "b/copy.png": good[3],
            "b/wide.jpg": encoded(pictures(1, 600)[0], "JPEG"),
            "loose.png": good[1],
        }
        for name, content in files.items():
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return tmp_path / "data"

    def test_every_picture_is_accounted_for(self, folder: Path, backbone: Backbone, runner: OnnxRunner) -> None:
        source = open_source(folder)
        features, catalog = extract(source, backbone)
        table = catalog.table.set_index("path")
        assert features.shape == (len(source.entries), backbone.width) == (13, backbone.width)
        assert features.dtype == np.float32
        refused = {path: (code, detail) for path, _, code, detail in catalog.refused.itertuples(index=False)}
        assert set(refused) == {"a/empty.jpg", "a/text.jpg", "a/cut.png", "a/cut again.png", "loose.png"}
        assert refused["a/empty.jpg"] == ("empty_file", "")
        assert refused["a/text.jpg"] == ("not_an_image", "")
        assert refused["a/cut.png"] == refused["a/cut again.png"] == ("truncated", "image file is truncated")
        assert refused["loose.png"] == ("no_class_folder", "")
        resizer = Resizer(32, "crop")
        for row, path in enumerate(table.index):
            if path in refused:
                assert not features[row].any()
                continue
            content = (folder / path).read_bytes()
            image, size = decode(content, shrink_to=32)
            np.testing.assert_array_equal(features[row], runner(resizer(np.asarray(image))[None])[0])
            assert (table.loc[path, "width"], table.loc[path, "height"]) == size
            assert table.loc[path, "digest"] == hashlib.sha256(content).hexdigest()
            assert catalog.image_stats[row].tobytes() == image_stats([content], [image], size).tobytes()
        assert table.loc["b/wide.jpg", ["width", "height"]].tolist() == [600, 600]
        is_refused = np.isin(table.index, list(refused))
        assert catalog.image_stats[is_refused].tobytes() == bytes(5 * IMAGE_STATS.itemsize)
        assert table.loc["loose.png", "digest"] == ""

    def test_equal_contents_are_extracted_once(self, folder: Path, backbone: Backbone, runner: OnnxRunner) -> None:
        counting = Counting(runner)
        features, catalog = extract(open_source(folder), backbone, runner=counting)
        assert counting.count == 7
        rows = {path: row for row, path in enumerate(catalog.table["path"])}
        np.testing.assert_array_equal(features[rows["b/copy.png"]], features[rows["b/0.png"]])
        assert catalog.table.loc[rows["b/copy.png"], "width"] == catalog.table.loc[rows["b/0.png"], "width"]
        assert catalog.image_stats[rows["b/copy.png"]] == catalog.image_stats[rows["b/0.png"]]

    def test_image_stats_come_from_the_cache_too(self, folder: Path, backbone: Backbone, cache: FeatureCache) -> None:
        stats = [extract(open_source(folder), backbone, cache=given)[1].image_stats for given in (None, cache, cache)]
        assert stats[0].dtype == IMAGE_STATS
        assert stats[0].tobytes() == stats[1].tobytes() == stats[2].tobytes()

    def test_frames_are_counted_in_the_first_pass_and_known_from_the_cache(
        self, tmp_path: Path, backbone: Backbone, cache: FeatureCache
    ) -> None:
        first, *others = (Image.fromarray(one) for one in pictures(4))
        first.save(tmp_path / "4.gif", save_all=True, append_images=others)
        first.save(tmp_path / "3.tif", save_all=True, append_images=others[:2])
        first.save(tmp_path / "1.png")
        source = PathsSource([tmp_path / name for name in ("4.gif", "3.tif", "1.png")], ["a", "b", "c"])
        for given in (None, cache, cache):
            assert extract(source, backbone, cache=given)[1].frames.tolist() == [4, 3, 1]

    def test_pictures_that_are_not_wanted_are_not_read(self, tmp_path: Path, backbone: Backbone) -> None:
        paths = [tmp_path / "a.png", tmp_path / "gone.png"]
        paths[0].write_bytes(encoded(pictures(1)[0]))
        source = PathsSource(paths, ["a", "b"])
        extraction = extract_features(source, np.array([True, False]), backbone, resize="crop", cache=None)
        assert extraction.refusals == {}
        assert extraction.digests[1] == ""
        assert extraction.features.any(axis=1).tolist() == [True, False]

    def test_progress_comes_to_the_end(self, folder: Path, backbone: Backbone) -> None:
        reported: list[tuple[int, int]] = []
        extract(open_source(folder), backbone, advance=lambda done, total: reported.append((done, total)))
        assert reported == [(number, 13) for number in range(1, 14)]

    def test_progress_comes_to_the_end_when_all_is_cached(
        self, folder: Path, backbone: Backbone, cache: FeatureCache
    ) -> None:
        extract(open_source(folder), backbone, cache=cache)
        reported: list[tuple[int, int]] = []
        extract(open_source(folder), backbone, cache=cache, advance=lambda done, total: reported.append((done, total)))
        assert reported == [(number, 13) for number in range(1, 14)]

    def test_no_pictures_at_all(self, backbone: Backbone) -> None:
        features, catalog = extract(arrays([]), backbone)
        assert features.shape == (0, backbone.width)
        assert len(catalog.table) == 0

    def test_all_pictures_refused(self, backbone: Backbone) -> None:
        features, catalog = extract(PathsSource(["/gone/1.png", "/gone/2.png"], ["a", "b"]), backbone)
        assert not features.any()
        assert catalog.refused["code"].tolist() == ["file_not_found"] * 2


class TestTheSameFeatures:
    @pytest.mark.parametrize(("size", "count"), [(32, 120), (96, 24), (224, 8)])
    @pytest.mark.parametrize("precision", ["int8", "fp32"])
    def test_whatever_other_pictures_there_are(self, tmp_path: Path, size: int, count: int, precision: str) -> None:
        """All at once, twice, backwards, and together with what the cache has already: bit for bit."""
        backbone = lite.build(size, precision)
        some = pictures(count, size // 2)
        together, _ = extract(arrays(some), backbone)
        again, _ = extract(arrays(some), backbone)
        assert together.tobytes() == again.tobytes()
        backwards, _ = extract(arrays(some[::-1]), backbone)
        assert backwards[::-1].tobytes() == together.tobytes()
        cache = FeatureCache(b"namespace", tmp_path)
        alone, _ = extract(arrays(some[3:4]), backbone, cache=cache)
        np.testing.assert_array_equal(alone[0], together[3])
        extract(arrays(some[1::3]), backbone, cache=cache)
        partly, _ = extract(arrays(some), backbone, cache=cache)
        cached, catalog = extract(arrays(some), backbone, cache=cache)
        cache.close()
        assert partly.tobytes() == cached.tobytes() == together.tobytes()
        assert (catalog.table["height"] == size // 2).all()
        assert np.unique(together, axis=0).shape[0] == count

    @pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux to take cores away")
    def test_however_many_cores(self, tmp_path: Path) -> None:
        files = []
        for number, one in enumerate(pictures(60, 40)):
            files.append(tmp_path / f"{number}.jpg")
            files[-1].write_bytes(encoded(one, "JPEG"))
        code = (
            "import os, sys, hashlib; cores = sorted(os.sched_getaffinity(0))[: int(sys.argv[1])]\n"
            "os.sched_setaffinity(0, cores)\n"
            "import numpy as np; from kilat.data.source import PathsSource\n"
            "from kilat.runtime.cores import available_cores\n"
            "from kilat.features import lite; from kilat.features.extract import extract_features\n"
            "source = PathsSource(sys.argv[2:], ['a'] * len(sys.argv[2:]))\n"
            "for precision in ('int8', 'fp32'):\n"
            "    backbone, used = lite.build(64, precision), np.ones(len(source.entries), bool)\n"
            "    features = extract_features(source, used, backbone, resize='pad', cache=None).features\n"
            "    print(features.shape, hashlib.sha256(features.tobytes()).hexdigest())\n"
            "assert available_cores() == len(cores)"
        )
        outputs = [
            subprocess.run(
                [sys.executable, "-c", code, cores, *map(str, files)], capture_output=True, text=True, check=True
            ).stdout
            for cores in ("1", "64")
        ]
        assert outputs[0] == outputs[1]
        assert len(outputs[0].splitlines()) == 2


class TestCached:
    def test_what_is_cached_is_not_extracted(self, backbone: Backbone, runner: OnnxRunner, cache: FeatureCache) -> None:
        counting = Counting(runner)
        extract(arrays(pictures(70)), backbone, cache=cache, runner=counting)
        extract(arrays(pictures(100)), backbone, cache=cache, runner=counting)
        extract(arrays(pictures(100)), backbone, cache=cache, runner=counting)
        assert counting.count == 100

    def test_a_vector_of_another_length_is_extracted_again(
        self, backbone: Backbone, runner: OnnxRunner, cache: FeatureCache
    ) -> None:
        (one,) = pictures(1)
        right, catalog = extract(arrays([one]), backbone, runner=runner)
        digest = bytes.fromhex(catalog.table["digest"].iloc[0])
        cache.put([(digest, CachedFeatures(12, 12, np.ones(5, np.float32)))])
        got, _ = extract(arrays([one]), backbone, runner=runner, cache=cache)
        np.testing.assert_array_equal(got, right)

    def test_with_image_stats_of_another_kind_it_is_extracted_again(
        self, backbone: Backbone, runner: OnnxRunner, cache: FeatureCache
    ) -> None:
        (one,) = pictures(1)
        right, catalog = extract(arrays([one]), backbone, runner=runner)
        digest = bytes.fromhex(catalog.table["digest"].iloc[0])
        cache.put([(digest, CachedFeatures(12, 12, np.ones(backbone.width, np.float32), b"short"))])
        got, again = extract(arrays([one]), backbone, runner=runner, cache=cache)
        np.testing.assert_array_equal(got, right)
        assert again.image_stats.tobytes() == catalog.image_stats.tobytes()

    def test_refused_pictures_are_not_cached(self, tmp_path: Path, backbone: Backbone, cache: FeatureCache) -> None:
        (tmp_path / "a.png").write_bytes(b"no picture")
        source = PathsSource([tmp_path / "a.png"], ["a"])
        for _ in range(2):
            features, catalog = extract(source, backbone, cache=cache)
            assert not features.any()
            assert catalog.refused["code"].tolist() == ["not_an_image"]

    def test_an_interrupted_pass_keeps_what_it_extracted(
        self, backbone: Backbone, runner: OnnxRunner, cache: FeatureCache
    ) -> None:
        some = pictures(500)
        right, _ = extract(arrays(some), backbone, runner=runner)

        def stop(done: int, total: int) -> None:
            if done == 300:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            extract(arrays(some), backbone, runner=runner, cache=cache, advance=stop)
        counting = Counting(runner)
        after, _ = extract(arrays(some), backbone, runner=counting, cache=cache)
        assert 0 < counting.count <= 250
        assert after.tobytes() == right.tobytes()

    def test_every_choice_that_changes_the_features_has_a_namespace_of_its_own(self, backbone: Backbone) -> None:
        others = [lite.build(64), lite.build(32, "fp32")]
        namespaces = [
            cache_namespace(backbone, "crop"),
            cache_namespace(backbone, "pad"),
            cache_namespace(backbone, "squash"),
            cache_namespace(backbone, "crop", "cuda"),
            *(cache_namespace(other, "crop") for other in others),
        ]
        assert len(set(namespaces)) == len(namespaces) == 6
        assert cache_namespace(lite.build(32), "crop") == namespaces[0]


class TestSuggestedSize:
    @pytest.mark.parametrize(
        ("height", "width", "size"),
        [
            (1, 1, 32),
            (8, 8, 32),
            (16, 16, 64),
            (28, 28, 128),
            (32, 32, 128),
            (32, 500, 128),
            (56, 56, 224),
            (64, 64, 224),
            (277, 373, 224),
        ],
    )
    def test_four_times_the_shorter_side_in_steps_of_32(self, height: int, width: int, size: int) -> None:
        chosen = suggested_size(arrays([np.zeros((height, width, 3), np.uint8)] * 3))
        assert chosen == size if height != 28 else chosen in (96, 128)

    def test_most_pictures_decide(self) -> None:
        small, large = np.zeros((8, 8), np.uint8), np.zeros((300, 300), np.uint8)
        assert suggested_size(arrays([small] * 60 + [large] * 40)) == 32
        assert suggested_size(arrays([small] * 40 + [large] * 60)) == 224
        assert suggested_size(arrays([small] * 600 + [large] * 400)) == 32

    def test_what_cannot_be_read_does_not_count(self, tmp_path: Path) -> None:
        for name, content in {"a/1.png": encoded(pictures(1, 8)[0]), "b/1.jpg": b"text", "b/2.jpg": b""}.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(content)
        assert suggested_size(open_source(tmp_path)) == 32
        assert suggested_size(PathsSource(["/gone.png"], ["a"])) == 224
