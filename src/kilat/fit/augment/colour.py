"""Changes of the pixels' values, each picture by its own factor, for brightness, contrast and the policies.

Planes are float32 ``[n, channels, height, width]`` in 0..255 with 1 or 3 channels; factors are float32 ``[n, 1, 1, 1]``
on the same device.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from kilat.model.image_model import LUMA


def blend(planes: Tensor, other: Tensor | float, factor: Tensor) -> Tensor:
    """Return ``other`` for the factor 0, the planes for 1, and beyond them above 1; clipped to 0..255."""
    return (other + (planes - other) * factor).clamp_(0, 255)


def grey(planes: Tensor) -> Tensor:
    """Return the grey level of every pixel, ``[n, 1, height, width]``."""
    if planes.shape[1] == 1:
        return planes
    red, green, blue = planes.unbind(1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue)[:, None]


def brightness(planes: Tensor, factor: Tensor) -> Tensor:
    """Multiply all values by the factor."""
    return (planes * factor).clamp_(0, 255)


def contrast(planes: Tensor, factor: Tensor) -> Tensor:
    """Multiply differences from the picture's mean grey level, one number a picture, by the factor."""
    return blend(planes, grey(planes).mean((1, 2, 3), keepdim=True), factor)


def saturation(planes: Tensor, factor: Tensor) -> Tensor:
    """Multiply differences from the pixel's own grey level by the factor."""
    return blend(planes, grey(planes), factor)


def sharpness(planes: Tensor, factor: Tensor) -> Tensor:
    """Multiply differences from the smoothed picture by the factor; border pixels stay, as in Pillow's ``SMOOTH``."""
    if min(planes.shape[2:]) < 3:
        return planes
    smooth = planes.clone()
    inner = planes[:, :, 1:-1, 1:-1]
    smooth[:, :, 1:-1, 1:-1] = (9 * F.avg_pool2d(planes, 3, stride=1) + 4 * inner) / 13
    return blend(planes, smooth, factor)


def posterize(planes: Tensor, bits: Tensor) -> Tensor:
    """Keep the upper ``bits`` of eight, integers ``[n, 1, 1, 1]``."""
    step = torch.exp2(8 - bits)
    return (planes.round() / step).floor() * step


def solarize(planes: Tensor, threshold: Tensor) -> Tensor:
    """Invert values from the threshold upwards."""
    return torch.where(planes >= threshold, 255 - planes, planes)


def autocontrast(planes: Tensor) -> Tensor:
    """Stretch every channel to 0..255; a channel of one value stays."""
    low, high = planes.amin((2, 3), keepdim=True), planes.amax((2, 3), keepdim=True)
    is_flat = high <= low
    stretched = (planes - low) * (255 / (high - low).masked_fill(is_flat, 255))
    return torch.where(is_flat, planes, stretched)


def equalize(planes: Tensor) -> Tensor:
    """Make all values of every channel about equally frequent, as Pillow's ``ImageOps.equalize``."""
    levels = planes.round().long().flatten(2).flatten(0, 1)  # one row a channel
    rows = torch.arange(len(levels), device=planes.device)[:, None]
    counts = torch.bincount((256 * rows + levels).flatten(), minlength=256 * len(levels)).view(-1, 256)
    step = (levels.shape[1] - counts.gather(1, levels.amax(1, keepdim=True))) // 255
    below = counts.cumsum(1) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp(0, 255)
    spread = torch.where(step > 0, table.gather(1, levels), levels)
    return spread.view(planes.shape).float()
