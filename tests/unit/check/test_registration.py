"""Crops are found where they were cut, gains do not matter, and other pictures do not correlate."""

import numpy as np
import pytest
from PIL import Image

from kilat.check.registration import band_pass, register


def scene(seed, side=256):
    """A smooth random picture with some edges."""
    dice = np.random.default_rng(seed)
    image = Image.fromarray(dice.integers(0, 256, (12, 12)).astype(np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    pixels = np.asarray(image).copy()
    for _ in range(6):
        top, left = dice.integers(0, side - 60, 2)
        pixels[top : top + 60, left : left + 40] = dice.integers(256)
    return Image.fromarray(pixels)


def thumbnail(image):
    return np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR, reducing_gap=2.0))


def thumbnails(images):
    return np.stack([thumbnail(image) for image in images])


SCENES = [scene(seed) for seed in range(12)]


def test_a_picture_is_registered_to_itself_by_the_identity():
    correlation, parameters = register(thumbnails(SCENES), thumbnails(SCENES))
    np.testing.assert_allclose(correlation, 1, atol=1e-5)
    np.testing.assert_allclose(parameters, np.tile([1, 0, 1, 0], (12, 1)), atol=1e-4)


@pytest.mark.parametrize("box", [(20, 5, 250, 240), (0, 0, 232, 232), (24, 24, 256, 256), (10, 0, 246, 256)])
def test_a_crop_is_found_where_it_was_cut_from_both_sides(box):
    left, top, right, bottom = box
    whole, cut = thumbnails(SCENES), thumbnails([image.crop(box) for image in SCENES])
    correlation, parameters = register(cut, whole)
    assert np.median(correlation) > 0.985
    expected = [(right - left) / 256, (left + right) / 512 - 0.5, (bottom - top) / 256, (top + bottom) / 512 - 0.5]
    np.testing.assert_allclose(np.median(parameters, axis=0), expected, atol=0.01)
    backwards, _ = register(whole, cut)
    assert np.median(backwards) > 0.98


def test_brightness_and_contrast_do_not_matter():
    dimmed = (thumbnails(SCENES) * 0.7 + 20).astype(np.uint8)
    assert register(thumbnails(SCENES), dimmed)[0].min() > 0.99


def test_other_pictures_correlate_in_no_position():
    pictures = thumbnails(SCENES)
    one, other = np.triu_indices(12, 1)
    assert register(pictures[one], pictures[other])[0].max() < 0.8


def test_bright_above_and_dark_below_is_no_similarity():
    """Gradients that half of all landscapes have in common correlate nearly perfectly, unless they are filtered out."""
    sky = np.linspace(230, 30, 32)[:, None]
    dice = np.random.default_rng(0)
    one, other = (np.clip(sky + 12 * dice.normal(size=(32, 32)), 0, 255).astype(np.uint8) for _ in range(2))
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.95
    assert register(one[None], other[None])[0][0] < 0.9


def test_the_band_pass_removes_the_mean_and_keeps_middle_frequencies():
    waves = np.cos(2 * np.pi * np.arange(32) / 8)
    pictures = np.stack([np.full((32, 32), 100.0), 100 + 50 * np.outer(waves, waves)]).astype(np.float32)
    passed = band_pass(pictures)
    np.testing.assert_allclose(passed[0], 0, atol=1e-3)
    assert passed[1].std() > 0.6 * pictures[1].std()


def test_pairs_that_are_not_compared_closely_are_still_different():
    pictures = thumbnails(SCENES)
    full, early = register(pictures, pictures[::-1])[0], register(pictures, pictures[::-1], 0.03)[0]
    assert (1 - early > 0.03).all()
    assert (1 - full > 0.03).all()


def test_there_may_be_no_pairs():
    nothing = np.zeros((0, 32, 32), np.uint8)
    correlation, parameters = register(nothing, nothing)
    assert (correlation.shape, parameters.shape) == ((0,), (0, 4))
