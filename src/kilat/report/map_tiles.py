"""Feature maps and filters as small pictures inside a page: blue below zero, pale at zero, orange above it."""

import base64
import io
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from kilat.runtime.array_types import Floats

SIDE = 56
"""Pixels of a picture's longer side at most; larger maps are averaged down to it."""

_STEPS = 31  # of either sign: more cannot be told apart in so small a picture, and weigh more
_GAP = 3
_NEGATIVE, _ZERO, _POSITIVE = (24, 74, 128), (238, 236, 230), (176, 60, 8)
_LEVELS = np.abs(np.linspace(-1, 1, 2 * _STEPS + 1))[:, None]
_ENDS = np.repeat(np.array([_NEGATIVE, _POSITIVE], float), [_STEPS, _STEPS + 1], axis=0)
_PALETTE = np.round(np.array(_ZERO) + (_ENDS - np.array(_ZERO)) * _LEVELS**0.8).astype(np.uint8)
"""From the largest negative value to the largest positive one; small values are raised a little, to be seen."""


class Tile(NamedTuple):
    """A small picture.

    Args:
        uri: its PNG file as a data URI.
        caption: what stands below it.
        title: what it says when it is pointed at.
    """

    uri: str
    caption: str
    title: str


def scale_of(values: Floats) -> float:
    """Return the size of a value that has the full colour: what one in 200 exceeds."""
    return float(np.quantile(np.abs(values), 0.995)) or float(np.abs(values).max())


def map_image(values: Floats, scale: float) -> Image.Image:
    """Return a map ``[height, width]`` as a picture; ``scale`` is the size of the values that have the full colour."""
    image = Image.fromarray(np.asarray(values, np.float32))
    if max(image.size) > SIDE:
        factor = SIDE / max(image.size)
        width, height = (max(1, round(side * factor)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BOX)
    levels = np.clip(np.asarray(image) / (scale or 1.0), -1, 1)
    indexed = Image.fromarray(np.round(_STEPS + _STEPS * levels).astype(np.uint8))
    indexed.putpalette(_PALETTE.tobytes())
    return indexed


def filter_image(values: Floats) -> Image.Image:
    """Return a filter ``[height, width, channels]``, scaled by itself.

    It is in colours where it has three channels, grey being zero; of others it is the mean over the channels.
    """
    if values.shape[-1] != 3:
        mean = values.mean(-1)
        return map_image(mean, float(np.abs(mean).max()))
    scale = float(np.abs(values).max()) or 1.0
    image = Image.fromarray(np.round(127.5 + 127.5 * values / scale).astype(np.uint8))
    if max(image.size) > SIDE:
        image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return image


def sheet(images: Sequence[Image.Image]) -> Image.Image:
    """Return pictures of one size row by row on white, each enlarged by a whole factor, pixel by pixel."""
    factor = max(1, round(SIDE / max(images[0].size)))
    width, height = (factor * side for side in images[0].size)
    columns = math.ceil(math.sqrt(len(images) * height / width))
    rows = math.ceil(len(images) / columns)
    size = (_GAP + columns * (width + _GAP), _GAP + rows * (height + _GAP))
    canvas = Image.new("RGB", size, "white")
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        enlarged = image.convert("RGB").resize((width, height), Image.Resampling.NEAREST)
        canvas.paste(enlarged, (_GAP + column * (width + _GAP), _GAP + row * (height + _GAP)))
    return canvas


def png(image: Image.Image) -> bytes:
    """Return a picture as a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=9)
    return file.getvalue()


def uri(image: Image.Image) -> str:
    """Return a picture as a PNG file in a data URI."""
    return f"data:image/png;base64,{base64.b64encode(png(image)).decode('ascii')}"
