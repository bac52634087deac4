"""Pictures of one size in a grid, as one picture."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from kilat.runtime.array_types import Pixels

_WIDTH = 96  # of a picture in the grid, about
_MARGIN = 4
_GAP = 16  # between the first column and the others
_WHITE = 255


def picture_grid(columns: Sequence[Pixels]) -> Image.Image:
    """Return pictures side by side on white, the first column apart from the others.

    Args:
        columns: of pictures from top to bottom, each uint8 ``[k, height, width, channels]``. Small ones are enlarged by
            a whole factor, pixel by pixel.
    """
    factor = max(1, round(_WIDTH / max(columns[0].shape[1:3])))
    enlarged = [column.repeat(factor, 1).repeat(factor, 2) for column in columns]
    count, height, width, _ = enlarged[0].shape
    canvas = np.full((_MARGIN + count * (height + _MARGIN), _left(len(columns), width), 3), _WHITE, np.uint8)
    for number, column in enumerate(enlarged):
        left = _left(number, width)
        for row, picture in enumerate(column):
            top = _MARGIN + row * (height + _MARGIN)
            canvas[top : top + height, left : left + width] = picture
    return Image.fromarray(canvas)


def _left(column: int, width: int) -> int:
    """Return where a column begins; the gap comes after the first."""
    return _MARGIN + column * (width + _MARGIN) + (_GAP if column else 0)
