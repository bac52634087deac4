"""Image stats: what is measured of every picture while it is decoded, for the checks of the data."""

import io
import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from kilat.data.catalog import Picture
from kilat.data.decode import FORMATS, without_warnings
from kilat.data.picture_formats import count_frames

VERSION = 2
"""Raised when a field, or how it is measured, changes: records of another version cannot be used."""

THUMBNAIL = 32
"""Side of the thumbnail in pixels."""

COLOUR_GRID = 8
"""Side of the colour grid in pixels."""

STRIP = 4
"""Width of the outer strip in pixels of the full picture; less where that were more than an eighth of its side."""

SMALLEST_WITH_BORDER = 16
"""Side of the smallest pictures whose borders are measured: in smaller ones the edge is much of the subject."""

DEPTH = 128
"""How many pixels inwards a uniform frame is followed, or up to a quarter of the side."""

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""Of luminance, in ``IMAGE_STATS["quantiles"]``."""

IMAGE_STATS = np.dtype(
    [
        ("thumbnail", "u1", (THUMBNAIL, THUMBNAIL)),  # luminance of the whole picture, squashed to a square
        ("colour_grid", "u1", (COLOUR_GRID, COLOUR_GRID, 3)),  # its colours, squashed to a coarser square
        ("brightness", "<f4"),  # mean luminance, 0 to 1
        ("contrast", "<f4"),  # standard deviation of luminance, 0 to 0.5
        ("dark_share", "<f4"),  # share of pixels that are nearly black (luminance at most 10 of 255)
        ("light_share", "<f4"),  # share of pixels that are nearly white (at least 245)
        ("quantiles", "<f4", (len(QUANTILES),)),  # of luminance, 0 to 1
        ("sharpness", "<f4"),  # variance of the Laplacian over the variance of luminance, longer side at most 256 px
        (
            "peak_sharpness",
            "<f4",
        ),  # the same where the Laplacian's energy is highest among 8×8 parts: what is in focus
        ("colourfulness", "<f4"),  # Hasler and Süsstrunk 2003; 0 for grey, above 60 vivid
        ("border_mean", "<f4", (4,)),  # luminance of the outer strip on each side (top, bottom, left, right), 0 to 255
        (
            "border_width",
            "<u2",
            (4,),
        ),  # lines of one tone from the edge inwards, in pixels of the full picture, up to DEPTH
        ("border_edge", "<f4", (4,)),  # share of the next line that has another tone: near 1 for a frame
        ("width", "<u4"),  # of the full picture, upright
        ("height", "<u4"),
        ("bytes", "<u8"),  # of the file; 0 for an array
        ("format", "S8"),  # as Pillow calls it; empty for an array
        ("mode", "S8"),  # as Pillow calls it, before conversion to RGB
        ("quality", "u1"),  # JPEG: 1 to 100 as libjpeg counts, by the nearest of its tables; 0 for other formats
        ("quantization", "<u4"),  # JPEG: a number for the quantisation tables; equal tables, equal number; else 0
        ("subsampling", "i1"),  # JPEG: 0 4:4:4, 1 4:2:2, 2 4:2:0, -1 other; -2 for other formats
        ("progressive", "?"),
        ("orientation", "u1"),  # EXIF, 1 to 8; 1 is upright and the default
        ("camera", "S64"),  # EXIF make and model
        ("frames", "<u2"),  # frames or pages in the file, of which the first is used
    ]
)
"""One record a picture: packed, little-endian, so that its bytes mean the same everywhere."""

_WORK = 256
_MAKE, _MODEL, _ORIENTATION = 0x010F, 0x0110, 0x0112
_BORDER_LINES = 16
_UNIFORM = 6.0
"""Root mean square distance from the outermost line's mean up to which a line has the same tone."""
_OTHER_TONE = 12.0
"""Distance from that mean from which on a pixel has another tone."""

# Annex K of the JPEG standard, natural order: what libjpeg scales to a quality.
_LUMINANCE = np.array(
    [
        16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29,
        51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121,
        120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
    ]
)  # fmt: skip


def image_stats(picture: Picture, image: Image.Image, full: tuple[int, int]) -> np.void:
    """Measure one picture; damaged parts leave their fields at zero, nothing is raised.

    Args:
        picture: the bytes of its file, or an array of pixels.
        image: the same, decoded: upright RGB, perhaps shrunk (``kilat.data.decode.decode``).
        full: its full width and height.

    Returns:
        A record of ``IMAGE_STATS``.
    """
    record: np.void = np.zeros(1, IMAGE_STATS)[0]
    record["width"], record["height"] = full
    record["orientation"], record["subsampling"], record["frames"] = 1, -2, 1
    if isinstance(picture, bytes):
        record["bytes"], record["frames"] = len(picture), count_frames(picture)
        _read_header(record, picture, image)
    else:
        record["mode"] = b"L" if picture.ndim == 2 else b"RGBA" if picture.shape[2] == 4 else b"RGB"
    grey = image.convert("L")
    _measure_tones(record, grey)
    _measure_colours(record, image, grey)
    if min(image.size) >= SMALLEST_WITH_BORDER:
        _measure_border(record, np.asarray(grey), image.width / full[0])
    return record


def _read_header(record: np.void, data: bytes, image: Image.Image) -> None:
    """Measure the header of a file, which is opened once more where decoding made a new picture of it."""
    try:
        with without_warnings():
            if image.format == "JPEG":
                _take_header(record, image)
                return
            with Image.open(io.BytesIO(data), formats=FORMATS) as header:
                _take_header(record, header)
    except Exception:  # noqa: BLE001, S110 - it was decoded, so what a damaged header hides is no reason to stop
        pass


def _take_header(record: np.void, header: Image.Image) -> None:
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


def _measure_tones(record: np.void, grey: Image.Image) -> None:
    """Measure brightness, contrast, extremes and sharpness of luminance, at one size whatever the resolution."""
    share = _WORK / max(grey.size)
    if share < 1:
        size = max(1, round(grey.width * share)), max(1, round(grey.height * share))
        grey = grey.resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    counts = np.array(grey.histogram(), np.float64)
    n, tones = counts.sum(), np.arange(256)
    mean = counts @ tones / n
    variance = max(counts @ (tones - mean) ** 2 / n, 0.0)
    record["brightness"], record["contrast"] = mean / 255, np.sqrt(variance) / 255
    record["dark_share"], record["light_share"] = counts[:11].sum() / n, counts[245:].sum() / n
    record["quantiles"] = np.searchsorted(counts.cumsum(), np.multiply(QUANTILES, n)) / 255
    if min(grey.size) >= 3 and variance:
        energy, highest = _laplacian(np.asarray(grey))
        record["sharpness"], record["peak_sharpness"] = energy / variance, highest / variance


def _laplacian(grey: NDArray[np.uint8]) -> tuple[float, float]:
    """Return the variance of the Laplacian, and its mean square in that of 8×8 equal parts where it is highest."""
    pixels = grey.astype(np.int16)
    laplacian = pixels[:-2, 1:-1] + pixels[2:, 1:-1] + pixels[1:-1, :-2] + pixels[1:-1, 2:] - 4 * pixels[1:-1, 1:-1]
    values = laplacian.astype(np.float32)
    flat = values.ravel()
    variance = float(flat @ flat / flat.size - flat.mean() ** 2)
    rows, columns = max(1, values.shape[0] // 8), max(1, values.shape[1] // 8)
    high, wide = values.shape[0] // rows, values.shape[1] // columns
    parts = values[: high * rows, : wide * columns].reshape(high, rows, wide, columns)
    return variance, float(np.einsum("hrwc,hrwc->hw", parts, parts).max()) / (rows * columns)


def _measure_colours(record: np.void, image: Image.Image, grey: Image.Image) -> None:
    """Measure the thumbnail, the colour grid and the colourfulness."""
    small = image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX, reducing_gap=1.0)
    # With a box filter, as above, thumbnails of resized copies would differ too much to be recognised.
    thumbnail = grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR, reducing_gap=2.0)
    record["thumbnail"] = np.asarray(thumbnail)
    record["colour_grid"] = np.asarray(small.reduce(THUMBNAIL // COLOUR_GRID))
    red, green, blue = np.asarray(small).reshape(-1, 3).astype(np.float32).T
    sides = np.stack([red - green, (red + green) / 2 - blue])
    record["colourfulness"] = np.hypot(*sides.std(axis=1)) + 0.3 * np.hypot(*sides.mean(axis=1))


def _measure_border(record: np.void, pixels: NDArray[np.uint8], scale: float) -> None:
    """Measure the strip along each side, and how far a uniform frame reaches."""
    for side, lines in enumerate((pixels, pixels[::-1], pixels.T, pixels.T[::-1])):
        strip = max(1, min(round(STRIP * scale), len(lines) // 8))
        means, variances = _moments(lines[: max(2 * strip, min(_BORDER_LINES, len(lines) // 4))])
        record["border_mean"][side] = sum(means[:strip]) / strip
        uniform = _uniform_lines(means, variances)
        if uniform == len(means):
            uniform = _uniform_lines(*_moments(lines[: max(1, min(round(DEPTH * scale), len(lines) // 4))]))
        record["border_width"][side] = min(round(uniform / scale), DEPTH)
        if uniform:
            record["border_edge"][side] = np.mean(
                np.abs(lines[min(uniform + 1, len(lines) - 1)] - np.float32(means[0])) > _OTHER_TONE
            )


def _moments(lines: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Return mean and variance of every line."""
    tones = lines.astype(np.float32)
    means = np.einsum("ij->i", tones) / tones.shape[1]
    squares = np.einsum("ij,ij->i", tones, tones) / tones.shape[1]
    return means.tolist(), (squares - means**2).tolist()


def _uniform_lines(means: list[float], variances: list[float]) -> int:
    """Return how many lines from the edge inwards have the tone of the first."""
    differs = (v + (m - means[0]) ** 2 > _UNIFORM**2 for m, v in zip(means, variances, strict=True))
    return next((line for line, other in enumerate(differs) if other), len(means))
