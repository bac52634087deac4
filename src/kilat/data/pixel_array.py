"""The pixels of a decoded picture as an array, with no more than one copy of them."""

import numpy as np
from PIL import Image

from kilat.runtime.array_types import Pixels

_BAND = 1 << 18
"""How many pixels are copied at once, few enough to stay in a core's cache. Pillow itself makes two copies of all."""


def pixel_array(image: Image.Image) -> Pixels:
    """Return the pixels of an RGB picture, uint8 ``[height, width, 3]``; perhaps read-only."""
    width, height = image.size
    if width * height <= _BAND:
        return np.asarray(image)
    pixels = np.empty((height, width, 3), np.uint8)
    across = min(width, _BAND)
    down = max(1, _BAND // across)
    for top in range(0, height, down):
        for left in range(0, width, across):
            right, bottom = min(left + across, width), min(top + down, height)
            pixels[top:bottom, left:right] = np.asarray(image.crop((left, top, right, bottom)))
    return pixels
