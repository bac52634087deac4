"""The first layer of a network as a whitening of patches, fitted on training pictures."""

import math

import numpy as np
import torch
from torch.nn import functional

from kilat.fit.loader import Pictures, Rows
from kilat.model.image_model import PixelNetwork
from kilat.model.modules import Whiten

_PATCHES = 2_000_000
"""How many are enough: far more than a covariance of a few dozen values needs."""

_BATCH = 64


def fit_whitening(layer: Whiten, model: PixelNetwork, pictures: Pictures, rows: Rows) -> None:
    """Fit a layer that whitens patches on those of some training pictures, as they are after normalisation.

    Args:
        layer: the first one of the network.
        model: the network with the normalisation before it.
        pictures: that are loaded.
        rows: the training pictures, ``[n]``; where there are many, pictures evenly among them are taken.
    """
    count = min(len(rows), -(-_PATCHES // math.prod(layer.window.output_size)))
    chosen = np.sort(rows)[np.linspace(0, len(rows) - 1, count).astype(np.intp)]
    values = layer.in_channels * math.prod(layer.window.kernel)
    total, sums = 0, torch.zeros(values, dtype=torch.float64)
    products = torch.zeros(values, values, dtype=torch.float64)
    for pixels in pictures.batches([chosen[start : start + _BATCH] for start in range(0, count, _BATCH)]):
        planes = model.normalised(pixels.cpu().permute(0, 3, 1, 2).float())
        patches = functional.unfold(planes, layer.window.kernel).transpose(1, 2).flatten(0, 1).double()
        total += len(patches)
        sums += patches.sum(0)
        products += patches.T @ patches
    mean = sums / total
    layer.fit(mean, products / total - torch.outer(mean, mean))
