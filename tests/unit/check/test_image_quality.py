"""Pictures far from their set and bad by themselves are found; none is where the set is so as a whole."""

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from kilat.check import image_quality
from kilat.data.image_stats import IMAGE_STATS, image_stats


def photo(seed: int) -> Image.Image:
    generator = np.random.default_rng(seed)
    smooth = Image.fromarray(generator.integers(0, 256, (6, 8, 3), np.uint8)).resize(
        (128, 96), Image.Resampling.BICUBIC
    )
    grain = generator.integers(-25, 25, (96, 128, 1))
    return Image.fromarray(np.clip(np.asarray(smooth, np.int64) + grain, 0, 255).astype(np.uint8))


def stats_of_all(images: list[Image.Image]):
    stats = np.zeros(len(images), IMAGE_STATS)
    for row, image in enumerate(images):
        stats[row] = image_stats([np.asarray(image)], [image.convert("RGB")], image.size)[0]
    return stats


def catalog(n: int, **columns) -> pd.DataFrame:
    label = np.array(["a", "b"])[np.arange(n) % 2]
    return pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(n)],
            "label": label,
            "status": "used",
            "code": "",
            "detail": "",
            "digest": "",
        }
        | columns
    )


PHOTOS = [photo(seed) for seed in range(60)]
STATS_OF_PHOTOS = stats_of_all(PHOTOS)


def words(sentence: str) -> list[str]:
    return re.findall(r"\w+", sentence.lower())


def dimmed(image: Image.Image, gain: float, lift: float = 0) -> Image.Image:
    return Image.fromarray((np.asarray(image) * gain + lift).astype(np.uint8))


ODD = {
    "uniform": lambda image: Image.new("RGB", image.size, (90, 120, 60)),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(9)),
    "underexposed": lambda image: dimmed(image, 0.25),
    "overexposed": lambda image: dimmed(image, 0.25, 190),
    "tiny": lambda image: image.resize((24, 18)),
    "extreme_aspect": lambda image: image.resize((600, 96)),
    "grey": lambda image: image.convert("L").convert("RGB"),
}


def test_nothing_is_found_among_plain_pictures():
    assert image_quality.find(catalog(60), STATS_OF_PHOTOS) == []


@pytest.mark.parametrize("kind", ODD)
def test_altered_pictures_among_plain_ones_are_found(kind):
    stats = STATS_OF_PHOTOS.copy()
    stats[[7, 31]] = stats_of_all([ODD[kind](PHOTOS[7]), ODD[kind](PHOTOS[31])])
    (finding,) = image_quality.find(catalog(60), stats)
    assert finding.kind == kind
    assert {row for group in finding.groups for row in group} == {7, 31}
    assert finding.title().startswith("2 pictures are ")
    assert {"they", "them"} & set(words(finding.advice()))
    assert kind == "grey" or len(finding.captions()) == len(finding.groups)


@pytest.mark.parametrize("kind", ODD)
def test_one_picture_is_named_in_the_singular(kind):
    stats = STATS_OF_PHOTOS.copy()
    stats[5:6] = stats_of_all([ODD[kind](PHOTOS[5])])
    (finding,) = image_quality.find(catalog(60), stats)
    assert finding.title().startswith("5.png is ")
    assert "it" in words(finding.advice())
    assert finding.groups == ((5,),)


@pytest.mark.parametrize("kind", ODD)
def test_nothing_is_found_where_all_pictures_are_so(kind):
    assert image_quality.find(catalog(60), stats_of_all([ODD[kind](image) for image in PHOTOS])) == []


def test_pictures_far_from_their_neighbours_are_outliers():
    distances = np.random.default_rng(0).lognormal(0, 0.2, 60)
    distances[[3, 9]], distances[11] = (10, 20), np.nan
    (finding,) = image_quality.find(catalog(60), STATS_OF_PHOTOS, distances)
    assert (finding.kind, finding.groups) == ("outlier", ((9,), (3,)))
    assert image_quality.find(catalog(60), STATS_OF_PHOTOS, np.full(60, np.nan)) == []


def test_pictures_stored_rotated_are_noted():
    stats = STATS_OF_PHOTOS.copy()
    stats["orientation"] = 1
    stats["orientation"][4] = 6
    (finding,) = image_quality.find(catalog(60), stats)
    assert (finding.kind, finding.severity, finding.groups) == ("exif_rotated", "note", ((4,),))


def test_nothing_is_found_where_all_pictures_are_refused():
    assert image_quality.find(catalog(3, status="refused"), np.zeros(3, IMAGE_STATS)) == []
