"""Image filters in NumPy and Pillow that the corruptions are made of: blurs, displacements, zoom and warps."""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kilat.runtime.array_types import Doubles, Floats, Ints, Pixels


def gaussian_blur(pixels: Pixels, deviation: float) -> Floats:
    """Blur by a Gaussian that is cut off at four deviations, the border repeated."""
    reach = int(4 * deviation + 0.5)
    steps = np.arange(-reach, reach + 1)
    weights = np.exp(-(steps**2) / (2 * deviation**2))
    still = np.zeros_like(steps)
    return _shifted_mean(_shifted_mean(pixels, weights, steps, still), weights, still, steps)


def motion_blur(image: Pixels, radius: int, deviation: float, angle: float) -> Floats:
    """Blur by motion as ImageMagick defines it: half a Gaussian along a line of whole pixels, the border repeated."""
    steps = np.arange(2 * radius + 1)
    turn = np.deg2rad(angle)
    down, across = (np.ceil(steps * part - 0.5).astype(int) for part in (np.sin(turn), np.cos(turn)))
    return _shifted_mean(image, np.exp(-(steps**2) / (2 * deviation**2)), down, across)


def _shifted_mean(image: Pixels | Floats, weights: Doubles, down: NDArray[np.int_], across: NDArray[np.int_]) -> Floats:
    """Return the weighted mean of copies of an image ``[h, w, ...]``, each shifted by some pixels."""
    height, width = image.shape[:2]
    margins = [(-side.min(initial=0), side.max(initial=0)) for side in (down, across)]
    padded = np.pad(image, margins + [(0, 0)] * (image.ndim - 2), mode="edge").astype(np.float32)
    total, part = np.zeros(image.shape, np.float32), np.empty(image.shape, np.float32)
    for weight, y, x in zip(weights / weights.sum(), down + margins[0][0], across + margins[1][0], strict=True):
        total += np.multiply(padded[y : y + height, x : x + width], np.float32(weight), out=part)
    return total


def random_neighbours(height: int, width: int, reach: int, rng: np.random.Generator) -> Ints:
    """Draw a neighbour for each pixel, as indices ``[height * width]``; at the border the pixel itself."""
    chosen = np.arange(height * width).reshape(height, width)
    inside = chosen[reach + 1 : height - reach + 1, reach + 1 : width - reach + 1]
    across, down = rng.integers(-reach, reach, (2, *inside.shape))
    inside += down * width + across
    return chosen.ravel()


def copy_in_turn(neighbours: Ints) -> Ints:
    """Return where each pixel comes from when all copy their neighbours in place, one by one, the last one first.

    A neighbour that stands later has copied before, perhaps from one later still: such chains are followed to their
    ends, all at once and twice as far each time, which is a tenth of the time of copying one by one.
    """
    last = np.maximum(neighbours, np.arange(len(neighbours)))
    while not np.array_equal(further := last[last], last):
        last = further
    return neighbours[last]


def zoom_middle(picture: Image.Image, factor: float) -> NDArray[Any]:
    """Enlarge the middle of a picture to its size."""
    (left, right), (top, bottom) = (_zoom_window(side, factor) for side in picture.size)
    return np.asarray(picture.resize(picture.size, Image.Resampling.BILINEAR, (left, top, right, bottom)))


def _zoom_window(side: int, factor: float) -> tuple[float, float]:
    """Return the part of a side that `scipy.ndimage.zoom` keeps, which matches the centres of the end pixels."""
    kept = int(np.ceil(side / factor))
    enlarged = round(kept * factor)
    step = (kept - 1) / (enlarged - 1)
    start = (side - kept) // 2 + (enlarged - side) // 2 * step + (1 - step) / 2
    return start, min(start + side * step, side)


def three_point_warp(down: Floats, across: Floats, push: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return where each pixel comes from in the affine map that moves three points by up to ``push``."""
    height, width = down.shape
    middle, reach = np.array([height // 2, width // 2]), min(height, width) // 3
    points = middle + reach * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = np.column_stack([points + rng.uniform(-push, push, (3, 2)), np.ones(3)])
    inverse = np.linalg.lstsq(moved, points, rcond=None)[0].astype(np.float32)
    rows, columns = (down * inverse[0, i] + across * inverse[1, i] + inverse[2, i] for i in (0, 1))
    return rows, columns


def smooth_shifts(height: int, width: int, smoothness: float, rng: np.random.Generator) -> Floats:
    """Draw a shift from -1 to 1 for every pixel, ``[h, w]``, smoothed by a Gaussian of this deviation."""
    noise = 2 * rng.random((height, width), np.float32) - np.float32(1)
    smooth: Floats = _gaussian_matrix(height, smoothness) @ noise @ _gaussian_matrix(width, smoothness).T
    return smooth


@functools.lru_cache(32)
def _gaussian_matrix(side: int, deviation: float) -> Floats:
    """Return a Gaussian filter with mirrored borders as a matrix: as wide as the picture, it is quicker so."""
    from scipy import ndimage

    identity = np.eye(side, dtype=np.float32)
    matrix: Floats = ndimage.gaussian_filter1d(identity, deviation, axis=0, mode="reflect", truncate=3)
    return matrix


def sample_bilinear(planes: Floats, down: Floats, across: Floats) -> Floats:
    """Sample planes ``[3, h, w]`` between their pixels, bilinear, mirrored beyond the border."""
    height, width = down.shape
    top, left = np.floor(down), np.floor(across)
    below_share, right_share = down - top, across - left
    rows = [_mirrored(top.astype(np.int32) + i, height) * width for i in (0, 1)]
    columns = [_mirrored(left.astype(np.int32) + i, width) for i in (0, 1)]
    flat = planes.reshape(3, -1)
    above, below = (
        (1 - right_share) * flat.take(r + columns[0], 1) + right_share * flat.take(r + columns[1], 1) for r in rows
    )
    sampled: Floats = (1 - below_share) * above + below_share * below
    return sampled


def _mirrored(index: NDArray[np.int32], side: int) -> NDArray[np.int32]:
    folded = index % (2 * side)
    return np.minimum(folded, 2 * side - 1 - folded)
