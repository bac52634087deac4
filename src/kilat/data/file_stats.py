"""What the file of a picture says besides its pixels: format, colour model, JPEG tables, EXIF."""

import zlib
from functools import lru_cache

import numpy as np
from PIL import Image, JpegImagePlugin

FILE_STATS = np.dtype(
    [
        ("format", "S8"),  # as Pillow calls it
        ("mode", "S8"),  # as Pillow calls it, before conversion to RGB
        ("quality", "u1"),  # JPEG: 1 to 100 as libjpeg counts, by the nearest of its tables; 0 for other formats
        ("quantization", "<u4"),  # JPEG: a number for the quantisation tables; equal tables, equal number; else 0
        ("subsampling", "i1"),  # JPEG: 0 4:4:4, 1 4:2:2, 2 4:2:0, -1 other; -2 for other formats
        ("progressive", "?"),
        ("orientation", "u1"),  # EXIF, 1 to 8; 1 is upright and the default
        ("camera", "S64"),  # EXIF make and model
    ]
)
"""One record a picture: packed, little-endian, so that its bytes mean the same everywhere."""

FILE_STATS_KEY = "kilat file stats"
"""Where the ``info`` of an image keeps the bytes of such a record, if it was decoded in another process."""

_MAKE, _MODEL, _ORIENTATION = 0x010F, 0x0110, 0x0112

# Annex K of the JPEG standard, natural order: what libjpeg scales to a quality.
_LUMINANCE = np.array(
    [
        16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29,
        51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121,
        120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
    ]
)  # fmt: skip


def new_file_stats() -> np.void:
    """Return a record that says nothing."""
    record: np.void = np.zeros(1, FILE_STATS)[0]
    record["orientation"], record["subsampling"] = 1, -2
    return record


def fill_file_stats(record: np.void, header: Image.Image) -> None:
    """Fill the fields of ``FILE_STATS`` of a record; damaged EXIF and the like may raise anything.

    Args:
        record: that has these fields, and perhaps others.
        header: the picture as Pillow opened it, decoded or not.
    """
    record["format"] = ("JPEG" if header.format == "MPO" else header.format or "").encode()
    record["mode"] = header.mode.encode()
    if isinstance(header, JpegImagePlugin.JpegImageFile):
        record["progressive"] = bool(header.info.get("progressive"))
        record["subsampling"] = JpegImagePlugin.get_sampling(header)
        tables = header.quantization
        record["quality"], record["quantization"] = _quality(tuple(tuple(tables[key]) for key in sorted(tables)))
    if header.info.get("exif") or header.format in {"TIFF", "PNG", "AVIF"}:
        exif = header.getexif()
        orientation = exif.get(_ORIENTATION, 1)
        record["orientation"] = orientation if orientation in range(1, 9) else 1
        make, model = (str(exif.get(tag, "")).replace("\0", "").strip() for tag in (_MAKE, _MODEL))
        name = model if model.lower().startswith(make.lower()) else f"{make} {model}"
        record["camera"] = name.strip().encode()[:64]


@lru_cache(256)
def _quality(tables: tuple[tuple[int, ...], ...]) -> tuple[int, int]:
    """Return the quality whose luminance table in libjpeg is nearest, and a number for all the tables."""
    number = zlib.crc32(repr(tables).encode()) or 1
    if not tables or len(tables[0]) != 64:
        return 0, number
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    of_libjpeg = ((_LUMINANCE * scale[:, None] + 50) // 100).clip(1, 255)  # a luminance table for every quality
    distance = np.abs(of_libjpeg - np.array(tables[0])).sum(axis=1)
    return int(distance.argmin()) + 1, number
