"""Pictures that are not upright: found where the set has an up, silence where it has none."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from kilat.check.orientation import RELIABLE, turned
from kilat.data.image_stats import IMAGE_STATS, image_stats


def facts_of_all(pictures):
    facts = np.zeros(len(pictures), IMAGE_STATS)
    for row, pixels in enumerate(pictures):
        facts[row] = image_stats(pixels, Image.fromarray(pixels).convert("RGB"), pixels.shape[1::-1])
    return facts


@pytest.fixture(scope="module")
def digits():
    return [np.rint(image * 255 / 16).astype(np.uint8) for image in load_digits().images]


def test_turned_digits_are_found_with_the_angle_that_mends_them(digits):
    generator = np.random.default_rng(0)
    planted = dict(zip(generator.choice(len(digits), 36, replace=False).tolist(), [1, 2, 3] * 12, strict=True))
    pictures = [np.rot90(image, planted.get(row, 0)).copy() for row, image in enumerate(digits)]
    found, degrees, share = turned(facts_of_all(pictures))
    right = [
        planted.get(row) == (-angle // 90) % 4 for row, angle in zip(found.tolist(), degrees.tolist(), strict=True)
    ]
    assert share > RELIABLE
    assert sum(right) >= 0.5 * len(planted)
    assert np.mean(right) >= 0.9


def test_a_set_without_an_up_stays_silent():
    ring = np.random.default_rng(0).integers(0, 256, (300, 16, 16), np.uint8)
    found, degrees, share = turned(facts_of_all(list(ring)))
    assert len(found) == len(degrees) == 0
    assert share < 0.5


def test_few_pictures_teach_nothing(digits):
    found, _degrees, share = turned(facts_of_all(digits[:50]))
    assert len(found) == 0
    assert np.isnan(share)


def test_the_same_pictures_get_the_same_answer(digits):
    facts = facts_of_all([np.rot90(image, row % 50 == 0).copy() for row, image in enumerate(digits[:400])])
    first, second = turned(facts), turned(facts)
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
