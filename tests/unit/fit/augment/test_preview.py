"""The sheet that shows what augmentation does."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra torch is not installed")

from kilat.fit.augment.preview import preview_sheet
from kilat.recipe import Augment


def pictures(count=3, size=32, channels=3):
    return np.random.default_rng(0).integers(0, 200, (count, size, size, channels), dtype=np.uint8)


def tiles(image, count, columns, side):
    """The tiles of a sheet, found by its white lines."""
    is_ink = (np.asarray(image) < 255).any(2)
    across, down = (np.flatnonzero(np.diff(is_ink.any(axis).astype(int)) == 1) + 1 for axis in (0, 1))
    assert (len(down), len(across)) == (count, columns)
    array = np.asarray(image)
    return [[array[y : y + side, x : x + side] for x in across] for y in down], across


@pytest.mark.parametrize(("size", "side"), [(32, 96), (28, 84), (96, 96), (100, 100), (8, 96)])
def test_originals_come_first_and_are_enlarged_by_whole_factors(size, side):
    pixels = pictures(2, size)
    rows, across = tiles(preview_sheet(pixels, Augment(rotation=20), seed=0, variants=3), 2, 4, side)
    for row, picture in zip(rows, pixels, strict=True):
        assert np.array_equal(row[0], picture.repeat(side // size, 0).repeat(side // size, 1))
        assert all(not np.array_equal(row[0], variant) for variant in row[1:])
    gaps = np.diff(across) - side
    assert gaps[0] > gaps[1] == gaps[2] > 0


def test_nothing_chosen_shows_the_same_picture_again():
    rows, _ = tiles(preview_sheet(pictures(2, 32), Augment(), seed=0), 2, 9, 96)
    assert all(np.array_equal(row[0], variant) for row in rows for variant in row)


def test_grey_pictures_are_shown_grey():
    image = preview_sheet(pictures(1, 28, 1), Augment(brightness=0.2), seed=0)
    array = np.asarray(image)
    assert image.mode == "RGB"
    assert (array == array[..., :1]).all()


def test_equal_seeds_give_equal_sheets():
    first, again, other = (
        preview_sheet(pictures(), Augment(mixup=0.4, crop=4), seed=seed).tobytes() for seed in (1, 1, 2)
    )
    assert first == again != other
