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
    sizes, size_of_picture = np.unique(width * (1 << 32) + height, return_inverse=True)
    size_names = np.array([f"{size >> 32}×{size & 0xFFFFFFFF}" for size in sizes.tolist()])

    # A frame has one tone. Where a black one ends may be hidden on some sides of a dark picture: their mean counts.
    border, edge, tones = image_stats["border_width"], image_stats["border_edge"], image_stats["border_mean"]
    narrowest = border.min(axis=1)
    is_frame = (edge.mean(axis=1) >= _FRAME_EDGE) & (np.ptp(tones, axis=1) < _SAME_TONE) & (narrowest > 1)
    frame = np.where(is_frame, narrowest, np.uint16(0))
    reach = np.where(edge >= _BAR_EDGE, border, 0)
    bars = np.maximum(reach[:, :2].min(axis=1), reach[:, 2:].min(axis=1))  # above and below, or left and right
    frame_tone = np.where(frame[:, None] > 0, tones, np.nan).mean(axis=1)
    area = np.maximum(width * height, 1)
    is_grey = image_stats["colourfulness"] < GREY
    return [
        Trait("size", "size", size_names[size_of_picture]),
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
        Trait("frame", "bar_width", np.where(bars > 1, bars, np.uint16(0)).astype(np.uint16)),
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
