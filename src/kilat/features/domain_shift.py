"""How far pictures are from those that a backbone was pretrained on, by the statistics that its batch norms keep.

Batch norms say which mean and which variance every channel had over the pictures of ImageNet; features hold those of
the pictures at hand. No picture of ImageNet is needed for the comparison, nor a further look at any picture.
"""

from collections.abc import Sequence

import numpy as np

from kilat.features import lite
from kilat.features.backbone import Block
from kilat.runtime.array_types import Floats


def domain_shift(features: Floats, blocks: Sequence[Block], name: str) -> float | None:
    """Return how far pictures are from ImageNet, 0 for the same statistics; None for a backbone without known ones.

    It is the Kullback-Leibler divergence, in nats, of a normal distribution with the mean and variance that a channel
    has over these pictures from the one with those over ImageNet: of every stage the median over its channels, of those
    the mean. EfficientNet-Lite0 gives 0.02 for flowers, 0.06 for CIFAR-10, 0.12 for Fashion-MNIST, 0.41 for digits.

    Args:
        features: of pictures, ``[n, width]``, of this backbone alone.
        blocks: their layout.
        name: of the backbone.
    """
    if name not in lite.NAMES:
        return None
    ends = np.cumsum([block.width for block in blocks])
    parts = {block.name: features[:, end - block.width : end] for block, end in zip(blocks, ends, strict=True)}
    divergences = []
    for stage, (mean, variance) in enumerate(lite.pretrained_statistics(name), 1):
        means = parts[f"stage{stage}.mean"].astype(np.float64)
        within = np.exp(parts[f"stage{stage}.log_variance"].astype(np.float64)).mean(0) - lite.LOG_FLOOR
        ratio = np.maximum(within + means.var(0), lite.LOG_FLOOR) / variance
        divergence = ((means.mean(0) - mean) ** 2 / variance + ratio - 1 - np.log(ratio)) / 2
        divergences.append(float(np.median(divergence)))
    return float(np.mean(divergences))
