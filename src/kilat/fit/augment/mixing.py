"""Erasing parts of pictures and mixing pictures: Cutout, Random Erasing, MixUp, CutMix.

Planes are float32 ``[n, channels, height, width]``, targets float32 ``[n, classes]`` whose rows add up to 1.
"""

import torch
from torch import Tensor

from kilat.fit.augment import random
from kilat.fit.augment.geometry import draw_rectangles
from kilat.fit.augment.random import Draws

MEAN_GREY = 127.5
_AREA = (0.02, 0.33)
_ASPECTS = (0.3, 3.3)


def cutout(planes: Tensor, side: int, generator: Draws) -> Tensor:
    """Cutout (arXiv 1708.04552): a square around a random pixel becomes mean grey; it may reach over the border."""
    sides = random.integers(len(planes), side, side, generator)
    return planes.masked_fill(_draw_boxes(planes, sides, sides, generator).to(planes.device), MEAN_GREY)


def erasing(planes: Tensor, share: float, generator: Draws) -> Tensor:
    """Random Erasing (arXiv 1708.04896): in a share of the pictures a rectangle inside them becomes mean grey.

    Its area is 2% to 33% of the picture's, its height over its width 0.3 to 3.3, in whole pixels, as in torchvision's
    ``RandomErasing``. A single grey is what timm calls ``const``.
    """
    n, (height, width) = len(planes), planes.shape[2:]
    is_hit = random.uniform(n, 0.0, 1.0, generator) < share
    # A side that is rounded to the picture's own does not fit.
    drawn = draw_rectangles(n, (height, width), _AREA, _ASPECTS, (height - 0.5, width - 0.5), generator)
    sides = drawn.round().long() * is_hit[:, None]
    rows, columns = (
        _is_within((random.uniform(n, 0.0, 1.0, generator) * (size - side + 1)).long(), side, size)
        for size, side in zip((height, width), sides.unbind(1), strict=True)
    )
    erased = (rows[:, :, None] & columns[:, None, :])[:, None]
    return planes.masked_fill(erased.to(planes.device), MEAN_GREY)


def mixup(planes: Tensor, targets: Tensor, alpha: float, generator: Draws) -> tuple[Tensor, Tensor]:
    """MixUp (arXiv 1710.09412): every picture is blended with another of the batch, each by its own share."""
    share = random.beta(len(planes), alpha, generator)
    partner = random.permutation(len(planes), generator).to(planes.device)
    weight = share.to(planes.device)[:, None, None, None]
    return torch.lerp(planes[partner], planes, weight), _mix_targets(targets, partner, share)


def cutmix(planes: Tensor, targets: Tensor, alpha: float, generator: Draws) -> tuple[Tensor, Tensor]:
    """CutMix (arXiv 1905.04899): a box of every picture shows another of the batch; targets follow the areas."""
    height, width = planes.shape[2:]
    side = (1 - random.beta(len(planes), alpha, generator)).sqrt()
    boxes = _draw_boxes(planes, (side * height).long(), (side * width).long(), generator)
    partner = random.permutation(len(planes), generator).to(planes.device)
    share = 1 - boxes.float().mean((1, 2, 3))
    return torch.where(boxes.to(planes.device), planes[partner], planes), _mix_targets(targets, partner, share)


def _mix_targets(targets: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    return torch.lerp(targets[partner.to(targets.device)], targets, share.to(targets.device)[:, None])


def _draw_boxes(planes: Tensor, heights: Tensor, widths: Tensor, generator: Draws) -> Tensor:
    """Return which pixels lie in a box around a random one, bool ``[n, 1, height, width]``."""
    rows, columns = (
        _is_within(random.integers(len(sides), 0, size - 1, generator) - sides // 2, sides, size)
        for size, sides in zip(planes.shape[2:], (heights, widths), strict=True)
    )
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def _is_within(first: Tensor, sides: Tensor, size: int) -> Tensor:
    """Return which of ``size`` positions are among ``sides`` from the first on, bool ``[n, size]``."""
    positions = torch.arange(size, device=first.device)
    return (positions >= first[:, None]) & (positions < (first + sides)[:, None])
