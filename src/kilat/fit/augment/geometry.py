"""Geometric augmentation: one affine map a picture, sampled once; flips and crops of whole pixels stay exact."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from kilat.fit.augment import random
from kilat.fit.augment.random import Draws
from kilat.recipe import Augment

_TRIES = 10
_CROP_ASPECTS = (3 / 4, 4 / 3)
_PADDING = {"nearest": "border", "reflect": "reflection", "constant": "zeros", "wrap": "border"}


class Outside(NamedTuple):
    """What is shown beyond the edges of a picture: ``fill`` and ``fill_value`` of ``kilat.recipe.Augment``."""

    fill: str
    value: float


def move(pixels: Tensor, choices: Augment, generator: Draws, mirrored: Tensor | None = None) -> Tensor:
    """Apply crops, rotation, shifts, shear, zoom and flips, drawn for every picture.

    Args:
        pixels: uint8 ``[n, height, width, channels]``.
        choices: what is drawn, and its bounds.
        generator: on the CPU.
        mirrored: which pictures a horizontal flip mirrors, bool ``[n]`` on the CPU; drawn where it is None.

    Returns:
        float32 ``[n, channels, height, width]``. Where only whole pixels move, the values are those of the pixels.
    """
    n, height, width, _channels = pixels.shape
    outside = Outside(choices.fill, choices.fill_value)
    offsets = [random.integers(n, -choices.crop, choices.crop, generator) for _axis in "xy"]
    moves = choices.rotation, choices.width_shift, choices.height_shift, choices.shear
    is_interpolated = any(moves) or choices.zoom != (1.0, 1.0) or choices.resized_crop is not None
    maps = _draw_maps(n, (height, width), choices, generator) if is_interpolated else None
    flips = [
        random.signs(n, generator) if chosen else torch.ones(n, device=generator.device)
        for chosen in (choices.horizontal_flip and mirrored is None, choices.vertical_flip)
    ]
    if choices.horizontal_flip and mirrored is not None:
        flips[0] = 1 - 2 * mirrored.float()
    if maps is not None:
        maps[:, :, 2] += torch.stack(offsets, 1)
        maps[:, :, :2] *= torch.stack(flips, 1)[:, None]
        return warp(pixels.permute(0, 3, 1, 2).float(), maps, outside)
    if choices.crop or choices.horizontal_flip or choices.vertical_flip:
        return _move_whole_pixels(pixels, offsets, flips, outside)
    return pixels.permute(0, 3, 1, 2).float()


def warp(planes: Tensor, maps: Tensor, outside: Outside) -> Tensor:
    """Sample every picture through its own affine map, bilinearly.

    Args:
        planes: float32 ``[n, channels, height, width]``.
        maps: float32 ``[n, 2, 3]`` on the CPU, from a position in the new picture to one in the old picture; both are
            ``(x, y)`` in pixels, right and down from the picture's centre.
        outside: what is shown beyond the edges; like ``nearest``, ``reflect``, ``grid-constant`` and ``grid-wrap`` of
            SciPy's ``ndimage.affine_transform``.

    Returns:
        float32 ``[n, channels, height, width]``.
    """
    grid = _sampling_grid(planes, maps.to(planes.device))
    if outside.fill == "wrap":  # the first row and column are repeated at the end, and positions brought inside
        size = _constants((planes.shape[3], planes.shape[2]), grid)
        positions = ((grid + 1) * size / 2 - 0.5).remainder(size)
        planes, grid = F.pad(planes, (0, 1, 0, 1), mode="circular"), (2 * positions + 1) / (size + 1) - 1
    offset = outside.value if outside.fill == "constant" else 0
    shifted = planes - offset if offset else planes
    sampled = F.grid_sample(shifted, grid, mode="bilinear", padding_mode=_PADDING[outside.fill], align_corners=False)
    return sampled + offset if offset else sampled


def affine_maps(rotation: Tensor, shear: Tensor, right: Tensor, down: Tensor, zoom_x: Tensor, zoom_y: Tensor) -> Tensor:
    """Return maps for ``warp``, float32 ``[n, 2, 3]``: rotation, shift, shear and zoom about the picture's centre.

    They are the product of Keras's ``apply_affine_transform`` (``keras.src.legacy.preprocessing.image``). A zoom above
    1 shows more of the picture. Keras 3 shifts the height along the width and the other way round; here ``right`` is
    along the width.

    Args:
        rotation: degrees, ``[n]``, as is every other argument.
        shear: degrees.
        right: pixels along the width.
        down: pixels along the height.
        zoom_x: factor along the width.
        zoom_y: factor along the height.
    """
    angle = rotation.deg2rad()
    slant = angle + shear.deg2rad()
    cos, sin = angle.cos(), angle.sin()
    rows = [
        torch.stack([cos * zoom_x, -slant.sin() * zoom_y, cos * right - sin * down], 1),
        torch.stack([sin * zoom_x, slant.cos() * zoom_y, sin * right + cos * down], 1),
    ]
    return torch.stack(rows, 1)


def draw_affine_maps(n: int, size: tuple[int, int], choices: Augment, generator: Draws) -> Tensor:
    """Draw rotation, shifts, shear and zoom of pictures; return their maps, float32 ``[n, 2, 3]``.

    Args:
        n: how many pictures.
        size: their height and width.
        choices: the bounds.
        generator: on the CPU.
    """
    height, width = size
    rotation = random.symmetric(n, choices.rotation, generator)
    right = random.symmetric(n, choices.width_shift * width, generator)
    down = random.symmetric(n, choices.height_shift * height, generator)
    shear = random.symmetric(n, choices.shear, generator)
    zoom_x, zoom_y = (random.uniform(n, *choices.zoom, generator) for _axis in "xy")
    return affine_maps(rotation, shear, right, down, zoom_x, zoom_y)


def crop_maps(share: Tensor, middle: Tensor, maps: Tensor | None = None) -> Tensor:
    """Return maps, float32 ``[n, 2, 3]``, that enlarge a crop to the whole picture and then do what other maps do.

    Args:
        share: the crop's share of each side, ``[n, 2]`` as ``(x, y)``.
        middle: of the crop, in pixels from the picture's centre, ``[n, 2]``.
        maps: what is done with the enlarged crop; nothing by default.
    """
    maps = torch.eye(2, 3, device=share.device).repeat(len(share), 1, 1) if maps is None else maps.clone()
    maps *= share[:, :, None]
    maps[:, :, 2] += middle
    return maps


def draw_resized_crops(
    n: int, size: tuple[int, int], area: tuple[float, float], generator: Draws
) -> tuple[Tensor, Tensor]:
    """Draw random resized crops, as torchvision's ``RandomResizedCrop`` does.

    Positions are not rounded to whole pixels, and chosen so that no sampled position lies beyond the outermost pixels:
    what is outside of a picture never shows.

    Args:
        n: how many pictures.
        size: their height and width.
        area: bounds of the share of the area.
        generator: on the CPU.

    Returns:
        The crop's share of each side, and its middle in pixels from the picture's centre: float32 ``[n, 2]`` each, as
        ``(x, y)``.
    """
    height, width = size
    sides = draw_rectangles(n, size, area, _CROP_ASPECTS, size, generator).flip(1)
    extent = _constants((width, height), sides)
    largest = torch.minimum(extent, extent.flip(0) * _CROP_ASPECTS[1])  # that the aspects allow, from the middle
    share = torch.where(sides > 0, sides, largest) / extent
    positions = torch.stack([random.symmetric(n, 1.0, generator) for _axis in "xy"], 1)
    return share, torch.where(sides > 0, positions, 0) * (1 - share) * (extent - 1) / 2


def draw_rectangles(
    n: int,
    size: tuple[int, int],
    area: tuple[float, float],
    aspects: tuple[float, float],
    most: tuple[float, float],
    generator: Draws,
) -> Tensor:
    """Draw sides of rectangles, areas uniformly and aspects log-uniformly: the first of ten tries that fits.

    Args:
        n: how many.
        size: height and width of the picture.
        area: bounds of a rectangle's share of its area.
        aspects: bounds of a rectangle's height over its width.
        most: the greatest height and width that fit.
        generator: on the CPU.

    Returns:
        Heights and widths, float32 ``[n, 2]``; both 0 where no try fitted.
    """
    areas = random.uniform(n * _TRIES, *area, generator) * math.prod(size)
    low, high = aspects
    aspect = random.uniform(n * _TRIES, math.log(low), math.log(high), generator).exp()
    sides = torch.stack([(areas * aspect).sqrt(), (areas / aspect).sqrt()], 1).view(n, _TRIES, 2)
    fits = (sides <= _constants(most, sides)).all(2)
    first = fits.int().argmax(1)
    pictures = torch.arange(n, device=sides.device)
    return sides[pictures, first] * fits[pictures, first, None]


def _draw_maps(n: int, size: tuple[int, int], choices: Augment, generator: Draws) -> Tensor:
    """Draw the maps of all that interpolates, float32 ``[n, 2, 3]``: the enlarged crop is what is moved."""
    maps = draw_affine_maps(n, size, choices, generator)
    if choices.resized_crop is None:
        return maps
    return crop_maps(*draw_resized_crops(n, size, choices.resized_crop, generator), maps)


def _sampling_grid(planes: Tensor, maps: Tensor) -> Tensor:
    """Return positions in the old pictures ``[n, height, width, 2]``, from -1 at one edge to 1 at the other."""
    # Not affine_grid: its matrix product is rounded to ten bits where a GPU is allowed TF32.
    height, width = planes.shape[2:]
    x = torch.arange(width, device=planes.device) - (width - 1) / 2
    y = torch.arange(height, device=planes.device)[:, None] - (height - 1) / 2
    maps = maps * (2 / _constants((width, height), maps))[:, None]
    by_x, by_y, shift = maps[..., None, None].unbind(2)
    return ((by_x * x + shift) + by_y * y).permute(0, 2, 3, 1)


def _move_whole_pixels(pixels: Tensor, offsets: list[Tensor], flips: list[Tensor], outside: Outside) -> Tensor:
    """Return the same pixels at other positions, as ``warp`` does where all positions are whole."""
    n, height, width, _channels = pixels.shape
    columns, columns_out = _sources(width, offsets[0], flips[0], outside.fill)
    rows, rows_out = _sources(height, offsets[1], flips[1], outside.fill)
    columns, rows = columns.to(pixels.device), rows.to(pixels.device)
    which = torch.arange(n, device=pixels.device)[:, None, None]
    planes = pixels[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).float()
    if outside.fill != "constant":
        return planes
    is_out = (rows_out[:, :, None] | columns_out[:, None, :]).to(pixels.device)
    return planes.masked_fill_(is_out[:, None], outside.value)


def _sources(size: int, offset: Tensor, flip: Tensor, fill: str) -> tuple[Tensor, Tensor]:
    """Return, along one side, the old pixel at each new position, int64 ``[n, size]``, and where that is outside."""
    positions = torch.arange(size, device=offset.device)
    source = torch.where(flip[:, None] < 0, size - 1 - positions, positions) + offset[:, None]
    is_out = (source < 0) | (source >= size)
    if fill == "wrap":
        source = source.remainder(size)
    if fill == "reflect":
        source = source.remainder(2 * size)
        source = torch.minimum(source, 2 * size - 1 - source)
    return source.clamp(0, size - 1), is_out


def _constants(values: Sequence[float], like: Tensor) -> Tensor:
    """Return float32 numbers beside a tensor; a GPU fills them in by itself, where it would wait for a copy."""
    return torch.stack([torch.full((), float(value), device=like.device) for value in values])
