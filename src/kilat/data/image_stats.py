"""Image stats: what is measured of every picture while it is decoded, for the checks of the data."""

import contextlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kilat.data.catalog import Picture
from kilat.data.decode import header_of, without_warnings
from kilat.data.file_stats import FILE_STATS, FILE_STATS_KEY, fill_file_stats
from kilat.data.picture_formats import count_frames

VERSION = 3
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
        *FILE_STATS.descr,  # empty or zero for an array
        ("frames", "<u2"),  # frames or pages in the file, of which the first is used
    ]
)
"""One record a picture: packed, little-endian, so that its bytes mean the same everywhere."""

Doubles = NDArray[np.float64]

_WORK = 256
_BORDER_LINES = 16
_LONG_LINE = 1 << 16
_UNIFORM = 6.0
"""Root mean square distance from the outermost line's mean up to which a line has the same tone."""
_OTHER_TONE = 12.0
"""Distance from that mean from which on a pixel has another tone."""


def image_stats(pictures: Sequence[Picture], images: Sequence[Image.Image], full: tuple[int, int]) -> NDArray[np.void]:
    """Measure pictures of one size; damaged parts leave their fields at zero, nothing is raised.

    All sums are of whole numbers below 2⁵³ in float64, so they are exact: a record does not depend on the order of
    additions, nor on which pictures are measured together.

    Args:
        pictures: the bytes of their files, or arrays of pixels.
        images: the same, decoded: upright RGB of one size, perhaps shrunk (``kilat.data.decode.decode``).
        full: their full width and height.

    Returns:
        Records of ``IMAGE_STATS``, ``[n]``.
    """
    records = np.zeros(len(pictures), IMAGE_STATS)
    records["width"], records["height"] = full
    records["orientation"], records["subsampling"], records["frames"] = 1, -2, 1
    for record, picture, image in zip(records, pictures, images, strict=True):
        if isinstance(picture, bytes):
            record["bytes"], record["frames"] = len(picture), count_frames(picture)
            _measure_file(record, picture, image)
        else:
            record["mode"] = b"L" if picture.ndim == 2 else b"RGBA" if picture.shape[2] == 4 else b"RGB"
    greys = [image.convert("L") for image in images]
    luminance = np.stack([np.asarray(grey) for grey in greys])
    _measure_tones(records, greys, luminance)
    _measure_colours(records, images, greys)
    if min(images[0].size) >= SMALLEST_WITH_BORDER:
        _measure_border(records, luminance, images[0].width / full[0])
    return records


def _measure_file(record: np.void, picture: bytes, image: Image.Image) -> None:
    if known := image.info.get(FILE_STATS_KEY):
        (stats,) = np.frombuffer(known, FILE_STATS)
        for name in FILE_STATS.names or ():
            record[name] = stats[name]
        return
    with contextlib.suppress(Exception), without_warnings():  # it was decoded: a damaged header is no reason to stop
        fill_file_stats(record, header_of(picture, image))


def _measure_tones(records: NDArray[np.void], greys: Sequence[Image.Image], luminance: NDArray[np.uint8]) -> None:
    """Measure brightness, contrast, extremes and sharpness of luminance, at one size whatever the resolution."""
    width, height = greys[0].size
    share = _WORK / max(width, height)
    if share < 1:
        size = max(1, round(width * share)), max(1, round(height * share))
        greys = [grey.resize(size, Image.Resampling.BOX, reducing_gap=2.0) for grey in greys]
        luminance = np.stack([np.asarray(grey) for grey in greys])
    counts = np.array([grey.histogram() for grey in greys], np.float64)
    n, tones = luminance[0].size, np.arange(256.0)
    mean, variance = _moments(counts @ tones, counts @ tones**2, n)
    records["brightness"], records["contrast"] = mean / 255, np.sqrt(variance) / 255
    records["dark_share"], records["light_share"] = counts[:, :11].sum(1) / n, counts[:, 245:].sum(1) / n
    below = counts.cumsum(1)[:, :, None] < np.multiply(QUANTILES, n)
    records["quantiles"] = below.sum(1) / 255
    if min(luminance[0].shape) >= 3:
        energy, highest = _laplacian(luminance)
        varies = variance > 0
        records["sharpness"][varies] = energy[varies] / variance[varies]
        records["peak_sharpness"][varies] = highest[varies] / variance[varies]


def _moments(sums: Doubles, squares: Doubles, n: int) -> tuple[Doubles, Doubles]:
    """Return mean and variance of ``n`` whole numbers from their exact sums."""
    return sums / n, (n * squares - sums**2) / n**2


def _laplacian(greys: NDArray[np.uint8]) -> tuple[Doubles, Doubles]:
    """Return the variance of the Laplacian, and its mean square in that of 8×8 equal parts where it is highest."""
    pixels = greys.astype(np.int16)
    middle = pixels[:, 1:-1, 1:-1]
    around = pixels[:, :-2, 1:-1] + pixels[:, 2:, 1:-1] + pixels[:, 1:-1, :-2] + pixels[:, 1:-1, 2:]
    values = around - 4 * middle
    squares = np.multiply(values, values, dtype=np.int32)
    count, high, wide = values.shape
    sums = values.sum((1, 2), dtype=np.int32).astype(np.float64), squares.sum((1, 2)).astype(np.float64)
    rows, columns = max(1, high // 8), max(1, wide // 8)
    down, right = high // rows, wide // columns
    # At most 32 × 32 squares below 2²⁰, so even their sum is an int32. Whole rows are added first, which is fast.
    bands = squares[:, : down * rows].reshape(count, down, rows, wide).sum(2, dtype=np.int32)
    parts = bands[:, :, : right * columns].reshape(count, down, right, columns).sum(3)
    return _moments(*sums, high * wide)[1], parts.max((1, 2)) / (rows * columns)


def _measure_colours(records: NDArray[np.void], images: Sequence[Image.Image], greys: Sequence[Image.Image]) -> None:
    """Measure the thumbnail, the colour grid and the colourfulness."""
    side = (THUMBNAIL, THUMBNAIL)
    small = [image.resize(side, Image.Resampling.BOX, reducing_gap=1.0) for image in images]
    # With a box filter, as above, thumbnails of resized copies would differ too much to be recognised.
    thumbnails = [grey.resize(side, Image.Resampling.BILINEAR, reducing_gap=2.0) for grey in greys]
    records["thumbnail"] = [np.asarray(one) for one in thumbnails]
    records["colour_grid"] = [np.asarray(one.reduce(THUMBNAIL // COLOUR_GRID)) for one in small]
    pixels = np.stack([np.asarray(one) for one in small]).reshape(len(small), -1, 3)
    red, green, blue = pixels.transpose(2, 0, 1).astype(np.float64)
    opponents = np.stack([2 * (red - green), red + green - 2 * blue])  # twice Hasler and Süsstrunk's, whole numbers
    mean, variance = _moments(opponents.sum(2), np.einsum("knp,knp->kn", opponents, opponents), pixels.shape[1])
    records["colourfulness"] = (np.hypot(*np.sqrt(variance)) + 0.3 * np.hypot(*mean)) / 2


def _measure_border(records: NDArray[np.void], greys: NDArray[np.uint8], scale: float) -> None:
    """Measure the strip along each side, and how far a uniform frame reaches."""
    n = len(greys)
    for axis, lines in enumerate((greys, greys.transpose(0, 2, 1))):
        count, length = lines.shape[1:]
        strip = max(1, min(round(STRIP * scale), count // 8))
        first = max(2 * strip, min(_BORDER_LINES, count // 4))
        opposite = (lines, lines[:, ::-1])
        sums, means, variances = _line_moments(np.concatenate([inwards[:, :first] for inwards in opposite]))
        width = _uniform_lines(means, variances)
        records["border_mean"][:, 2 * axis : 2 * axis + 2] = (sums[:, :strip].sum(1) / (length * strip)).reshape(2, n).T
        for inwards, uniform, outermost, side in zip(
            opposite, width.reshape(2, n), means[:, 0].reshape(2, n), (2 * axis, 2 * axis + 1), strict=True
        ):
            if (reaches := uniform == first).any():
                deep = max(1, min(round(DEPTH * scale), count // 4))
                uniform[reaches] = _uniform_lines(*_line_moments(inwards[reaches, :deep])[1:])
            records["border_width"][:, side] = np.minimum(np.rint(uniform / scale), DEPTH)
            framed = np.flatnonzero(uniform)
            following = inwards[framed, np.minimum(uniform[framed] + 1, count - 1)]
            other = np.abs(following - outermost[framed, None]) > _OTHER_TONE
            records["border_edge"][framed, side] = other.sum(1) / length


def _line_moments(lines: NDArray[np.uint8]) -> tuple[Doubles, Doubles, Doubles]:
    """Return sum, mean and variance of every line, ``[n, lines]``."""
    if lines.shape[2] > _LONG_LINE:  # a part of it at a time: floats take eight times the memory
        parts = [_line_sums(lines[:, :, at : at + _LONG_LINE]) for at in range(0, lines.shape[2], _LONG_LINE)]
        sums, squares = np.sum(parts, axis=0)
    else:
        sums, squares = _line_sums(lines)
    return sums, *_moments(sums, squares, lines.shape[2])


def _line_sums(lines: NDArray[np.uint8]) -> tuple[Doubles, Doubles]:
    tones = lines.astype(np.float64)
    return np.einsum("nij->ni", tones), np.einsum("nij,nij->ni", tones, tones)


def _uniform_lines(means: Doubles, variances: Doubles) -> NDArray[np.int64]:
    """Return how many lines from the edge inwards have the tone of the first."""
    differs = variances + (means - means[:, :1]) ** 2 > _UNIFORM**2
    lines: NDArray[np.int64] = np.where(differs.any(1), differs.argmax(1), differs.shape[1])
    return lines
