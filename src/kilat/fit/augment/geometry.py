"""Where the pixels of a moved picture come from: one affine map a picture, sampled once; flips and crops stay exact."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Generator, Tensor

from kilat.fit.augment import random
from kilat.recipe import Augment

_TRIES = 10
_ASPECTS = (3 / 4, 4 / 3)


class Outside(NamedTuple):
    """What lies outside of a picture: ``fill`` and ``fill_value`` of ``kilat.recipe.Augment``."""

    fill: str
    value: float


def move(pixels: Tensor, choices: Augment, generator: Generator) -> Tensor:
    """Crops, rotation, shifts, shear, zoom and flips, drawn for every picture.

    Args:
        pixels: uint8 ``[n, height, width, channels]``.
        choices: what is drawn, and between which bounds.
        generator: on the CPU.

    Returns:
        float32 ``[n, channels, height, width]``. Where only whole pixels move, the values are those of the pixels.
    """
    n, outside = len(pixels), Outside(choices.fill, choices.fill_value)
    offsets = [random.whole(n, -choices.crop, choices.crop, generator) for _ in "xy"]
    maps = _maps(pixels.shape, choices, generator) if _is_affine(choices) else None
    flips = [
        random.signs(n, generator) if chosen else torch.ones(n)
        for chosen in (choices.horizontal_flip, choices.vertical_flip)
    ]
    if maps is not None:
        maps[:, :, 2] += torch.stack(offsets, 1)
        maps[:, :, :2] *= torch.stack(flips, 1)[:, None]
        return warp(_planes(pixels), maps, outside)
    if choices.crop or choices.horizontal_flip or choices.vertical_flip:
        return _rearranged(pixels, offsets, flips, outside)
    return _planes(pixels)


def warp(planes: Tensor, maps: Tensor, outside: Outside) -> Tensor:
    """Samples every picture through its own affine map, bilinearly.

    Args:
        planes: float32 ``[n, channels, height, width]``.
        maps: float32 ``[n, 2, 3]`` on the CPU, from the place of a new pixel to the place in the old picture; both are
            ``(x, y)`` in pixels, right and down from the picture's centre.
        outside: what lies outside; as ``nearest``, ``reflect``, ``grid-constant`` and ``grid-wrap`` of SciPy's
            ``ndimage.affine_transform``.

    Returns:
        float32 ``[n, channels, height, width]``.
    """
    grid = _grid(planes, maps.to(planes.device))
    if outside.fill == "wrap":
        planes, grid = _wrapped(planes, grid)
    if outside.fill == "constant" and outside.value:
        return _sampled(planes - outside.value, grid, "zeros") + outside.value
    padding = {"nearest": "border", "reflect": "reflection", "constant": "zeros", "wrap": "border"}[outside.fill]
    return _sampled(planes, grid, padding)


def _sampled(planes: Tensor, grid: Tensor, padding: str) -> Tensor:
    return F.grid_sample(planes, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def _grid(planes: Tensor, maps: Tensor) -> Tensor:
    """Places in the old pictures ``[n, height, width, 2]``, from -1 at one edge to 1 at the other."""
    # Not affine_grid: its matrix product is rounded to ten bits where a GPU is allowed TF32.
    height, width = planes.shape[2:]
    x = torch.arange(width, device=planes.device) - (width - 1) / 2
    y = torch.arange(height, device=planes.device)[:, None] - (height - 1) / 2
    maps = maps * (2 / maps.new_tensor([width, height]))[:, None]
    by_x, by_y, shift = maps[..., None, None].unbind(2)
    return ((by_x * x + shift) + by_y * y).permute(0, 2, 3, 1)


def _wrapped(planes: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """The pictures with their first row and column repeated at the end, and the grid brought back into them."""
    size = grid.new_tensor([planes.shape[3], planes.shape[2]])
    place = ((grid + 1) * size / 2 - 0.5).remainder(size)
    return F.pad(planes, (0, 1, 0, 1), mode="circular"), (2 * place + 1) / (size + 1) - 1


def _is_affine(choices: Augment) -> bool:
    moves = choices.rotation, choices.width_shift, choices.height_shift, choices.shear
    return any(moves) or choices.zoom != (1.0, 1.0) or choices.resized_crop is not None


def _maps(shape: tuple[int, ...], choices: Augment, generator: Generator) -> Tensor:
    """The maps of all that interpolates, float32 ``[n, 2, 3]``: what was cut out and enlarged is then moved."""
    maps = _affine(shape, choices, generator)
    if choices.resized_crop is None:
        return maps
    share, middle = _cuts(shape, choices.resized_crop, generator)
    maps *= share[:, :, None]
    maps[:, :, 2] += middle
    return maps


def _cuts(shape: tuple[int, ...], kept: tuple[float, float], generator: Generator) -> tuple[Tensor, Tensor]:
    """What a random resized crop cuts out, as torchvision's ``RandomResizedCrop`` draws it; each is ``(x, y)``.

    Its places are not rounded to whole pixels, and lie so that no place between two pixels is looked at beyond the
    outermost ones: what is outside of a picture never shows.

    Returns:
        The share of each side, and where the middle lies, in pixels from the picture's centre: float32 ``[n, 2]``.
    """
    n, height, width, _ = shape
    size = torch.tensor([float(width), float(height)])
    sides = rectangles(n, (height, width), kept, _ASPECTS, (height, width), generator).flip(1)
    whole = torch.minimum(size, size.flip(0) * _ASPECTS[1])  # as much as those aspects allow, from the middle
    share = torch.where(sides > 0, sides, whole) / size
    ways = torch.stack([random.either_way(n, 1.0, generator) for _ in "xy"], 1)
    return share, torch.where(sides > 0, ways, 0) * (1 - share) * (size - 1) / 2


def rectangles(
    count: int,
    size: tuple[int, int],
    share: tuple[float, float],
    aspects: tuple[float, float],
    most: tuple[float, float],
    generator: Generator,
) -> Tensor:
    """Sides of rectangles, areas drawn uniformly and aspects log-uniformly: the first of ten tries that fits.

    Args:
        count: how many.
        size: height and width of the picture.
        share: bounds of its area that a rectangle takes.
        aspects: bounds of its height over its width.
        most: the greatest height and width that fit.
        generator: on the CPU.

    Returns:
        Heights and widths, float32 ``[count, 2]``; both 0 where no try fitted.
    """
    tries = count * _TRIES
    areas = random.uniform(tries, *share, generator) * math.prod(size)
    flattest, tallest = aspects
    aspect = random.uniform(tries, math.log(flattest), math.log(tallest), generator).exp()
    sides = torch.stack([(areas * aspect).sqrt(), (areas / aspect).sqrt()], 1).view(count, _TRIES, 2)
    fits = (sides <= torch.tensor(most)).all(2)
    first = fits.int().argmax(1)
    picked = torch.arange(count)
    return sides[picked, first] * fits[picked, first, None]


def _affine(shape: tuple[int, ...], choices: Augment, generator: Generator) -> Tensor:
    """The maps of rotation, shift, shear and zoom, float32 ``[n, 2, 3]``.

    The product of Keras's ``apply_affine_transform`` (``keras.src.legacy.preprocessing.image``) about the picture's
    centre: rotation, shift, shear, zoom. A zoom above 1 shows more of the picture. Keras 3 takes its shift of the
    height along the width and the other way round; here each goes its own way.
    """
    n, height, width, _ = shape
    angle = random.either_way(n, choices.rotation, generator).deg2rad()
    right = random.either_way(n, choices.width_shift * width, generator)
    down = random.either_way(n, choices.height_shift * height, generator)
    lean = angle + random.either_way(n, choices.shear, generator).deg2rad()
    zoom_x, zoom_y = (random.uniform(n, *choices.zoom, generator) for _ in "xy")
    cos, sin = angle.cos(), angle.sin()
    rows = [
        torch.stack([cos * zoom_x, -lean.sin() * zoom_y, cos * right - sin * down], 1),
        torch.stack([sin * zoom_x, lean.cos() * zoom_y, sin * right + cos * down], 1),
    ]
    return torch.stack(rows, 1)


def _planes(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 3, 1, 2).float()


def _rearranged(pixels: Tensor, offsets: list[Tensor], flips: list[Tensor], outside: Outside) -> Tensor:
    """The same pixels at other places, uninterpolated; what ``warp`` does where all places are whole."""
    n, height, width, _ = pixels.shape
    columns, columns_out = _sources(width, offsets[0], flips[0], outside.fill)
    rows, rows_out = _sources(height, offsets[1], flips[1], outside.fill)
    which, columns, rows = (t.to(pixels.device) for t in (torch.arange(n)[:, None, None], columns, rows))
    planes = _planes(pixels[which, rows[:, :, None], columns[:, None, :]])
    if outside.fill != "constant":
        return planes
    is_out = (rows_out[:, :, None] | columns_out[:, None, :]).to(pixels.device)
    return planes.masked_fill_(is_out[:, None], outside.value)


def _sources(size: int, offset: Tensor, flip: Tensor, fill: str) -> tuple[Tensor, Tensor]:
    """Along one side: which old pixel stands at each new place, int64 ``[n, size]``, and where that lies outside."""
    place = torch.arange(size)
    source = torch.where(flip[:, None] < 0, size - 1 - place, place) + offset[:, None]
    is_out = (source < 0) | (source >= size)
    if fill == "wrap":
        source = source.remainder(size)
    if fill == "reflect":
        source = source.remainder(2 * size)
        source = torch.minimum(source, 2 * size - 1 - source)
    return source.clamp(0, size - 1), is_out
