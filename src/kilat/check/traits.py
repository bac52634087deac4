"""What is known of pictures beside their subject: size, compression, frame, camera, colour and light."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

GREY = 2.0
"""A picture with less colourfulness is grey."""

_FRAME_EDGE = 0.25
"""Share of the line where a frame ends that has another tone, at least, on average over the four sides."""
_BAR_EDGE = 0.9
"""The same for each side of a bar, which ends along the whole side, as no subject does."""
_SUBSAMPLING = ("none", "other", "4:4:4", "4:2:2", "4:2:0")
"""By its number in the image stats, from -2 on."""
_SAME_TONE = 12
"""Grey levels by which the sides of a frame differ at most."""


@dataclass(frozen=True)
class Trait:
    """Something about pictures that is not their subject.

    Args:
        group: what it belongs to: ``size``, ``compression``, ``frame``, ``camera``, ``colour`` or ``light``.
        name: what it is, such as ``jpeg_quality``; ``kilat.check.shortcut_sentences`` has the words for it.
        values: one a picture; ordered numbers, or names.
    """

    group: str
    name: str
    values: NDArray[Any]

    @property
    def ordered(self) -> bool:
        """Whether values are numbers, so that a rule is a range of them."""
        return bool(np.issubdtype(self.values.dtype, np.number))


def traits(image_stats: NDArray[np.void]) -> list[Trait]:
    """Return the traits of pictures, in each group the plainest first.

    Args:
        image_stats: ``kilat.data.image_stats.IMAGE_STATS``, one record a picture.
    """
    width, height = image_stats["width"].astype(int), image_stats["height"].astype(int)
    frame, tones = _frame_width(image_stats), image_stats["border_mean"]
    frame_tone = np.where(frame[:, None] > 0, tones, np.nan).mean(axis=1)
    area = np.maximum(width * height, 1)
    is_grey = image_stats["colourfulness"] < GREY
    return [
        Trait("size", "size", _sizes(width, height)),
        Trait("size", "width", width),
        Trait("size", "height", height),
        Trait("size", "aspect", width / np.maximum(height, 1)),
        Trait("size", "megapixels", area / 1e6),
        Trait("compression", "format", _decoded(image_stats["format"])),
        Trait("compression", "jpeg_quality", image_stats["quality"].astype(int)),
        Trait("compression", "subsampling", np.choose(image_stats["subsampling"] + 2, _SUBSAMPLING)),
        Trait("compression", "progressive", np.where(image_stats["progressive"], "progressive", "sequential")),
        Trait("compression", "quantization", image_stats["quantization"].astype(str)),
        Trait("frame", "frame_width", frame),
        Trait("frame", "bar_width", _bar_width(image_stats)),
        Trait("frame", "frame_brightness", np.nan_to_num(frame_tone, nan=-1).round()),
        Trait("camera", "camera", _decoded(image_stats["camera"])),
        Trait("camera", "exif_orientation", image_stats["orientation"].astype(str)),
        Trait("colour", "colour_mode", _decoded(image_stats["mode"])),
        Trait("colour", "is_grey", np.where(is_grey, "grey", "coloured")),
        Trait("light", "brightness", image_stats["brightness"]),
        Trait("light", "contrast", image_stats["contrast"]),
        Trait("light", "dark_share", image_stats["dark_share"]),
        Trait("light", "light_share", image_stats["light_share"]),
        Trait("light", "border_brightness", tones.mean(axis=1)),
        Trait("light", "colourfulness", image_stats["colourfulness"]),
        Trait("light", "sharpness", image_stats["sharpness"]),
        Trait("light", "bytes_per_pixel", image_stats["bytes"] / area),
    ]


def _decoded(values: NDArray[np.bytes_]) -> NDArray[np.str_]:
    return np.char.decode(values, "utf-8", "replace")


def _frame_width(image_stats: NDArray[np.void]) -> NDArray[np.uint16]:
    """How wide a frame of one tone is; a dark picture's own edges may hide where a black frame ends on some sides."""
    width, tones = image_stats["border_width"].min(axis=1), image_stats["border_mean"]
    ends = image_stats["border_edge"].mean(axis=1) >= _FRAME_EDGE
    return np.where(ends & (np.ptp(tones, axis=1) < _SAME_TONE) & (width > 1), width, np.uint16(0))


def _bar_width(image_stats: NDArray[np.void]) -> NDArray[np.uint16]:
    """How wide bars above and below, or left and right are."""
    reach = np.where(image_stats["border_edge"] >= _BAR_EDGE, image_stats["border_width"], 0)
    bars = np.maximum(reach[:, :2].min(axis=1), reach[:, 2:].min(axis=1))
    return np.where(bars > 1, bars, np.uint16(0)).astype(np.uint16)


def _sizes(width: NDArray[np.integer[Any]], height: NDArray[np.integer[Any]]) -> NDArray[np.str_]:
    sizes, at = np.unique(width * (1 << 32) + height, return_inverse=True)
    return np.array([f"{size >> 32}×{size & 0xFFFFFFFF}" for size in sizes.tolist()])[at]
