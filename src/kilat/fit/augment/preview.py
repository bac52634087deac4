"""A few pictures and what augmentation makes of them, side by side."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from kilat.data.picture_grid import picture_grid
from kilat.fit.augment.augmenter import Augmenter
from kilat.recipe import Augment


def preview_sheet(pixels: NDArray[np.uint8], augment: Augment, *, seed: int, variants: int = 8) -> Image.Image:
    """Return a sheet with one row a picture: the original, a gap, then what augmentation makes of it.

    Args:
        pixels: uint8 ``[k, height, width, channels]``, k at least 1. MixUp and CutMix mix these with each other.
        augment: the recipe's section.
        seed: of the draws; equal seeds give equal sheets.
        variants: how many augmented pictures are in a row.
    """
    augmenter, generator = Augmenter(augment), torch.Generator().manual_seed(seed)
    batch, targets = torch.from_numpy(np.ascontiguousarray(pixels)), torch.eye(len(pixels))
    columns = [pixels]
    for _ in range(variants):
        planes, _targets = augmenter(batch, targets, generator)
        columns.append(planes.permute(0, 2, 3, 1).round().to(torch.uint8).numpy())
    return picture_grid(columns)
