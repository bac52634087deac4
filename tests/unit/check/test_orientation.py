"""Pictures that are not upright: found where the set has an up, and nothing where it has none."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from kilat.check.orientation import RELIABLE, find_rotated
from kilat.data.image_stats import IMAGE_STATS, image_stats


def stats_of_all(pictures):
    stats = np.zeros(len(pictures), IMAGE_STATS)
    for row, pixels in enumerate(pictures):
        stats[row] = image_stats([pixels], [Image.fromarray(pixels).convert("RGB")], pixels.shape[1::-1])[0]
    return stats


@pytest.fixture(scope="module")
def digits():
    return [np.rint(image * 255 / 16).astype(np.uint8) for image in load_digits().images]


def test_rotated_digits_are_found_with_the_angle_that_puts_them_right(digits):
    generator = np.random.default_rng(0)
    planted = dict(zip(generator.choice(len(digits), 36, replace=False).tolist(), [1, 2, 3] * 12, strict=True))
    pictures = [np.rot90(image, planted.get(row, 0)).copy() for row, image in enumerate(digits)]
    found, degrees, share = find_rotated(stats_of_all(pictures))
    right = [
        planted.get(row) == (-angle // 90) % 4 for row, angle in zip(found.tolist(), degrees.tolist(), strict=True)
    ]
    assert share > RELIABLE
    assert sum(right) >= 0.5 * len(planted)
    assert np.mean(right) >= 0.9


def test_nothing_is_found_in_a_set_without_an_up():
    ring = np.random.default_rng(0).integers(0, 256, (300, 16, 16), np.uint8)
    found, degrees, share = find_rotated(stats_of_all(list(ring)))
    assert len(found) == len(degrees) == 0
    assert share < 0.5


def test_nothing_is_found_among_few_pictures(digits):
    found, _degrees, share = find_rotated(stats_of_all(digits[:50]))
    assert len(found) == 0
    assert np.isnan(share)


def test_the_result_is_deterministic(digits):
    stats = stats_of_all([np.rot90(image, row % 50 == 0).copy() for row, image in enumerate(digits[:400])])
    first, second = find_rotated(stats), find_rotated(stats)
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
