"""A sheet of a few pictures and what augmentation makes of them, side by side."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from kilat.fit.augment.augmenter import Augmenter
from kilat.recipe import Augment

_WIDTH = 96  # of a picture on the sheet, about
_MARGIN = 4
_GAP = 16  # between an original and its variants
_WHITE = 255


def preview_sheet(pixels: NDArray[np.uint8], augment: Augment, *, seed: int, variants: int = 8) -> Image.Image:
    """Return a sheet with one row a picture: the original, a gap, then what augmentation makes of it.

    Args:
        pixels: uint8 ``[k, height, width, channels]``, k at least 1. MixUp and CutMix mix these with each other.
        augment: the recipe's section.
        seed: of the draws; equal seeds give equal sheets.
        variants: how many augmented pictures are in a row.

    Returns:
        An RGB picture on white; small pictures are enlarged by a whole factor, pixel by pixel.
    """
    factor = max(1, round(_WIDTH / max(pixels.shape[1:3])))
    columns = [
        column.repeat(factor, 1).repeat(factor, 2) for column in (pixels, *_variants(pixels, augment, seed, variants))
    ]
    count, height, width, _ = columns[0].shape
    canvas = np.full((_MARGIN + count * (height + _MARGIN), _left(len(columns), width), 3), _WHITE, np.uint8)
    for number, column in enumerate(columns):
        left = _left(number, width)
        for row, picture in enumerate(column):
            top = _MARGIN + row * (height + _MARGIN)
            canvas[top : top + height, left : left + width] = picture
    return Image.fromarray(canvas)


def _variants(pixels: NDArray[np.uint8], augment: Augment, seed: int, count: int) -> list[NDArray[np.uint8]]:
    augmenter, generator = Augmenter(augment), torch.Generator().manual_seed(seed)
    batch, targets = torch.from_numpy(np.ascontiguousarray(pixels)), torch.eye(len(pixels))
    variants = []
    for _ in range(count):
        planes, _targets = augmenter(batch, targets, generator)
        variants.append(planes.permute(0, 2, 3, 1).round().to(torch.uint8).numpy())
    return variants


def _left(column: int, width: int) -> int:
    """Return where a column begins; the gap comes after the first."""
    return _MARGIN + column * (width + _MARGIN) + (_GAP if column else 0)
