"""Pixels of a picture as an array: what NumPy gives, for shapes of any kind."""

import numpy as np
import pytest
from PIL import Image

from kilat.data.pixel_array import pixel_array


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (512, 512), (1_000, 700), (600_001, 2), (2, 400_003)])
def test_they_are_those_of_numpy(size: tuple[int, int]) -> None:
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = pixel_array(Image.fromarray(pixels))
    assert found.shape == (height, width, 3)
    assert (found == pixels).all()
