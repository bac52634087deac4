"""RandAugment and TrivialAugment: operations drawn for every picture, each applied to all pictures that drew it.

The operations, their strengths and signs are those of ``RandAugment`` and ``TrivialAugmentWide`` in torchvision. Two
things differ: positions between pixels are interpolated, and what is shown beyond the edges is what the recipe says.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from kilat.fit.augment import colour, random
from kilat.fit.augment.geometry import Outside, warp
from kilat.recipe.augment import RandAugment

LEVELS = 30


class Operation(NamedTuple):
    """One operation of the policies.

    Args:
        apply: called with planes ``[k, channels, height, width]``, strengths ``[k]`` on the CPU, and the fill.
        most: the strength at level 30 in RandAugment; translations as a share of the side.
        widest: the strength at level 30 in TrivialAugment; translations in pixels.
        is_signed: whether half of the pictures get the opposite.
    """

    apply: Callable[[Tensor, Tensor, Outside], Tensor]
    most: float = 0.0
    widest: float = 0.0
    is_signed: bool = False


def randaugment(planes: Tensor, policy: RandAugment, outside: Outside, generator: Generator) -> Tensor:
    """RandAugment (arXiv 1909.13719): several operations after one another, all of the same level."""
    height, width = planes.shape[2:]
    sides = {"translate_x": width, "translate_y": height}
    most = torch.tensor([operation.most * sides.get(name, 1) for name, operation in OPERATIONS.items()])
    level = torch.full((len(planes),), policy.magnitude / LEVELS)
    for _ in range(policy.operations):
        planes = _apply_drawn(planes, most, level, outside, generator)
    return planes


def trivialaugment(planes: Tensor, outside: Outside, generator: Generator) -> Tensor:
    """TrivialAugment with the wide space (arXiv 2103.10158): one operation, its level drawn as well."""
    widest = torch.tensor([operation.widest for operation in OPERATIONS.values()])
    level = random.integers(len(planes), 0, LEVELS, generator) / LEVELS
    return _apply_drawn(planes, widest, level, outside, generator)


def _apply_drawn(planes: Tensor, most: Tensor, level: Tensor, outside: Outside, generator: Generator) -> Tensor:
    """Draw and apply one operation a picture.

    Args:
        planes: float32 ``[n, channels, height, width]``.
        most: the full strength of each operation.
        level: the share of it for each picture, ``[n]``.
        outside: what is shown beyond the edges.
        generator: on the CPU.
    """
    drawn = random.integers(len(planes), 0, len(OPERATIONS) - 1, generator)
    sign = random.signs(len(planes), generator)
    changed = planes.clone()
    for index, operation in enumerate(OPERATIONS.values()):
        which = (drawn == index).nonzero().flatten()
        if len(which):
            strength = (level * most[index] * (sign if operation.is_signed else 1))[which]
            where = which.to(planes.device)
            changed[where] = operation.apply(planes[where], strength, outside)
    return changed


def _shear_x(planes: Tensor, strength: Tensor, outside: Outside) -> Tensor:
    # About the upper left corner, as AutoAugment's authors did it.
    return warp(planes, _maps(strength, (0, 1), strength * planes.shape[2] / 2, 0), outside)


def _shear_y(planes: Tensor, strength: Tensor, outside: Outside) -> Tensor:
    return warp(planes, _maps(strength, (1, 0), strength * planes.shape[3] / 2, 1), outside)


def _translate_x(planes: Tensor, strength: Tensor, outside: Outside) -> Tensor:
    return warp(planes, _maps(torch.zeros_like(strength), (0, 1), -strength.trunc(), 0), outside)


def _translate_y(planes: Tensor, strength: Tensor, outside: Outside) -> Tensor:
    return warp(planes, _maps(torch.zeros_like(strength), (0, 1), -strength.trunc(), 1), outside)


def _rotate(planes: Tensor, strength: Tensor, outside: Outside) -> Tensor:
    cos, sin, none = strength.deg2rad().cos(), strength.deg2rad().sin(), torch.zeros_like(strength)
    maps = torch.stack([torch.stack([cos, -sin, none], 1), torch.stack([sin, cos, none], 1)], 1)
    return warp(planes, maps, outside)


def _maps(slant: Tensor, entry: tuple[int, int], shift: Tensor, axis: int) -> Tensor:
    """Return maps with a slant at this entry of the matrix and a shift on this axis, and no other change."""
    maps = torch.eye(2, 3).repeat(len(slant), 1, 1)
    maps[:, entry[0], entry[1]] = slant
    maps[:, axis, 2] = shift
    return maps


def _by_factor(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor, Outside], Tensor]:
    """Return an operation whose strength is added to the factor 1."""
    return lambda planes, strength, _: change(planes, _each(1 + strength, planes))


def _posterize(planes: Tensor, strength: Tensor, _: Outside) -> Tensor:
    return colour.posterize(planes, _each(8 - strength.round(), planes))


def _solarize(planes: Tensor, strength: Tensor, _: Outside) -> Tensor:
    return colour.solarize(planes, _each(255 - strength, planes))


def _each(values: Tensor, planes: Tensor) -> Tensor:
    return values.to(planes.device).view(-1, 1, 1, 1)


OPERATIONS = {
    "identity": Operation(lambda planes, *_: planes),
    "shear_x": Operation(_shear_x, 0.3, 0.99, is_signed=True),
    "shear_y": Operation(_shear_y, 0.3, 0.99, is_signed=True),
    "translate_x": Operation(_translate_x, 150 / 331, 32, is_signed=True),
    "translate_y": Operation(_translate_y, 150 / 331, 32, is_signed=True),
    "rotate": Operation(_rotate, 30, 135, is_signed=True),
    "brightness": Operation(_by_factor(colour.brightness), 0.9, 0.99, is_signed=True),
    "saturation": Operation(_by_factor(colour.saturation), 0.9, 0.99, is_signed=True),
    "contrast": Operation(_by_factor(colour.contrast), 0.9, 0.99, is_signed=True),
    "sharpness": Operation(_by_factor(colour.sharpness), 0.9, 0.99, is_signed=True),
    "posterize": Operation(_posterize, 4, 6),
    "solarize": Operation(_solarize, 255, 255),
    "autocontrast": Operation(lambda planes, *_: colour.autocontrast(planes)),
    "equalize": Operation(lambda planes, *_: colour.equalize(planes)),
}
