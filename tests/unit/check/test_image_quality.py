"""Oddities: pictures far from their set and bad by themselves are named, and a set that is odd as a whole is not."""

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


def facts_of_all(images: list[Image.Image]):
    facts = np.zeros(len(images), IMAGE_STATS)
    for row, image in enumerate(images):
        facts[row] = image_stats(np.asarray(image), image.convert("RGB"), image.size)
    return facts


def catalog(n: int, **columns) -> pd.DataFrame:
    label = np.array(["a", "b"])[np.arange(n) % 2]
    return pd.DataFrame({"path": [f"{i}" for i in range(n)], "label": label, "status": "used", "digest": ""} | columns)


PHOTOS = [photo(seed) for seed in range(60)]
FACTS_OF_PHOTOS = facts_of_all(PHOTOS)


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


def test_nothing_is_said_of_plain_pictures():
    assert image_quality.find(catalog(60), FACTS_OF_PHOTOS) == []


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_picture_among_plain_ones_is_named(kind):
    facts = FACTS_OF_PHOTOS.copy()
    facts[[7, 31]] = facts_of_all([ODD[kind](PHOTOS[7]), ODD[kind](PHOTOS[31])])
    (finding,) = image_quality.find(catalog(60), facts)
    assert finding.kind == kind
    assert {row for group in finding.groups for row in group} == {7, 31}
    assert finding.title.startswith("2 pictures are ")
    assert len(finding.captions) == len(finding.groups)


@pytest.mark.parametrize("kind", ODD)
def test_one_picture_is_spoken_of_in_the_singular(kind):
    facts = FACTS_OF_PHOTOS.copy()
    facts[5:6] = facts_of_all([ODD[kind](PHOTOS[5])])
    (finding,) = image_quality.find(catalog(60), facts)
    assert finding.title.startswith("One picture is ")
    assert finding.groups == ((5,),)


@pytest.mark.parametrize("kind", ODD)
def test_a_set_that_is_odd_as_a_whole_is_not_odd(kind):
    assert image_quality.find(catalog(60), facts_of_all([ODD[kind](image) for image in PHOTOS])) == []


def test_pictures_far_from_their_neighbours_are_outliers():
    distances = np.random.default_rng(0).lognormal(0, 0.2, 60)
    distances[[3, 9]], distances[11] = (10, 20), np.nan
    (finding,) = image_quality.find(catalog(60), FACTS_OF_PHOTOS, distances)
    assert (finding.kind, finding.groups) == ("outlier", ((9,), (3,)))
    assert image_quality.find(catalog(60), FACTS_OF_PHOTOS, np.full(60, np.nan)) == []


def test_refused_pictures_stand_together_by_reason():
    status = ["used"] * 57 + ["refused: cut off at byte 12", "refused: empty file", "refused: cut off at byte 99"]
    (finding,) = image_quality.find(catalog(60, status=status), FACTS_OF_PHOTOS)
    assert finding.title == "3 pictures of 60 cannot be used."
    assert finding.groups == ((57, 59), (58,))
    assert finding.facts["reasons"] == {"cut off at byte …": 2, "empty file": 1}


def test_few_pictures_and_imbalance_are_counted():
    found = image_quality.find(catalog(60, label=["a"] * 57 + ["b"] * 3), FACTS_OF_PHOTOS)
    assert [finding.kind for finding in found] == ["imbalance", "few_pictures"]
    assert found[0].title == "“a” has 57 pictures, “b” 3: 19 times as many."
    assert found[1].facts["counts"] == {"b": 3}


def test_pictures_stored_turned_are_noted():
    facts = FACTS_OF_PHOTOS.copy()
    facts["orientation"] = 1
    facts["orientation"][4] = 6
    (finding,) = image_quality.find(catalog(60), facts)
    assert (finding.kind, finding.severity, finding.groups) == ("stored_turned", "note", ((4,),))


def test_nothing_stops_at_pictures_that_are_all_refused():
    (finding, *_rest) = image_quality.find(catalog(3, status="refused: empty file"), np.zeros(3, IMAGE_STATS))
    assert finding.title == "3 pictures of 3 cannot be used."
