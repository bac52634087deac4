"""How alike two thumbnails are once one is laid upon the other: shifted, stretched, cropped, brighter.

Lucas and Kanade's registration (Baker, Matthews, IJCV 2004) of the four numbers that a crop has, with a gain, from
coarse to fine; then the normalised cross-correlation of what both show. Both are seen through a band-pass first: what
is finer than pixels can hold differs between copies of different size, and what is coarser than objects is alike in
photos that are not (bright above, dark below).
"""

import numpy as np
from numpy.typing import NDArray

from kilat.runtime.cores import parallel_map, single_threaded_blas

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

MOST_CROPPED = 0.87
"""The smallest share of a side that one picture may show of the other: a crop by a tenth, and a little for rounding."""

_FURTHEST = 0.08
_FINE, _COARSE = 0.7, 5.0
_COARSE_STEPS, _FINE_STEPS = 2, 2
_HOPELESS = 5.0
"""Pairs that, seen coarsely, differ by so many times what copies may are not looked at closely."""

_BLOCK = 256


def band_pass(thumbnails: Bytes | Floats) -> Floats:
    """What lies between the finest and the coarsest, ``[n, side, side]``: a difference of two Gaussians."""
    fine, coarse = (_gaussian(width, thumbnails.shape[-1]) for width in (_FINE, _COARSE))
    pictures = thumbnails.astype(np.float32)
    return np.asarray(fine @ pictures @ fine.T - coarse @ pictures @ coarse.T, np.float32)


def compare(first: Bytes, second: Bytes, unlike: Floats | float = 1.0) -> tuple[Floats, Floats]:
    """How alike pairs of thumbnails are, at their best.

    Args:
        first: ``[n, side, side]``, the side even.
        second: the same.
        unlike: how far the correlation of copies may be from 1; of pairs that are much further apart, nothing closer
            need be known.

    Returns:
        Correlation where both show something, -1 to 1, ``[n]``; and where the second is found in the first: for the
        horizontal and the vertical, the scale (above 1: the second shows less) and the shift of its middle as a share
        of the side, ``[n, 4]``.
    """
    allowed = np.broadcast_to(np.float32(unlike), len(first))

    def look(start: int) -> tuple[Floats, Floats]:
        block = slice(start, start + _BLOCK)
        return _compare(first[block], second[block], allowed[block])

    with single_threaded_blas():
        found = parallel_map(look, range(0, len(first), _BLOCK))
    if not found:
        return np.empty(0, np.float32), np.empty((0, 4), np.float32)
    return np.concatenate([alike for alike, _ in found]), np.concatenate([place for _, place in found])


def _compare(first: Bytes, second: Bytes, allowed: Floats) -> tuple[Floats, Floats]:
    fixed, moved = band_pass(first), band_pass(second)
    place = np.tile(np.array([1, 0, 1, 0], np.float32), (len(first), 1))
    alike, place = _register(_halved(fixed), _halved(moved), place, _COARSE_STEPS)
    worth = np.flatnonzero(1 - alike <= _HOPELESS * allowed)
    alike[worth], place[worth] = _register(fixed[worth], moved[worth], place[worth], _FINE_STEPS)
    return alike, place


def _register(fixed: Floats, moved: Floats, place: Floats, steps: int) -> tuple[Floats, Floats]:
    """Gauss-Newton steps; the best correlation on the way and its place."""
    best, best_place = np.full(len(fixed), -1, np.float32), place
    for step in range(steps + 1):
        seen, shared = _moved(moved, place)
        alike = _correlation(fixed, seen, shared)
        better = alike > best
        best, best_place = np.where(better, alike, best), np.where(better[:, None], place, best_place)
        if step < steps:
            place = _bounded(place + _step(fixed, seen, shared))
    return best, best_place


def _moved(pictures: Floats, place: Floats) -> tuple[Floats, Floats]:
    """Pictures resampled at their places, and where that is inside them (1, else 0); both ``[n, side, side]``."""
    across, inside_across = _resampling(place[:, 0], place[:, 1], pictures.shape[-1])
    down, inside_down = _resampling(place[:, 2], place[:, 3], pictures.shape[-1])
    seen = np.asarray(down @ pictures @ across.transpose(0, 2, 1), np.float32)
    return seen, inside_down[:, :, None] * inside_across[:, None, :]


def _resampling(scale: Floats, shift: Floats, side: int) -> tuple[Floats, Floats]:
    """Linear interpolation as matrices ``[n, side, side]``, and which targets lie inside, ``[n, side]``."""
    at = _offsets(side) * scale[:, None] + (shift * side + (side - 1) / 2)[:, None]
    weights = 1 - np.abs(np.clip(at, 0, side - 1)[:, :, None] - np.arange(side, dtype=np.float32))
    return np.maximum(weights, 0), ((at > -0.5) & (at < side - 0.5)).astype(np.float32)


def _step(fixed: Floats, seen: Floats, shared: Floats) -> Floats:
    """The change of place that explains the difference, where a gain explains the rest."""
    count, side = len(fixed), fixed.shape[-1]
    offsets = _offsets(side)
    across, down = _slope(seen), _slope(seen.transpose(0, 2, 1)).transpose(0, 2, 1)
    slopes = [across * offsets, across * side, down * offsets[:, None], down * side, seen]
    terms = np.stack([slope * shared for slope in slopes], 1).reshape(count, 5, side * side)
    normal = terms @ terms.transpose(0, 2, 1)
    normal += np.einsum("nii->ni", normal)[:, :, None] * (1e-4 * np.eye(5, dtype=np.float32))
    normal += 1e-3 * np.eye(5, dtype=np.float32)
    found = np.linalg.solve(normal, terms @ fixed.reshape(count, side * side, 1))[:, :, 0]
    return np.asarray(found[:, :4] / np.maximum(found[:, 4:], 0.2), np.float32)


def _slope(pictures: Floats) -> Floats:
    """Central differences along the last axis, one-sided at the borders."""
    slope = np.empty_like(pictures)
    slope[..., 1:-1] = (pictures[..., 2:] - pictures[..., :-2]) / 2
    slope[..., 0], slope[..., -1] = pictures[..., 1] - pictures[..., 0], pictures[..., -1] - pictures[..., -2]
    return slope


def _bounded(place: Floats) -> Floats:
    low = np.array([MOST_CROPPED, -_FURTHEST] * 2, np.float32)
    return np.clip(place, low, np.array([1 / MOST_CROPPED, _FURTHEST] * 2, np.float32))


def _correlation(first: Floats, second: Floats, shared: Floats) -> Floats:
    flat = (len(first), first.shape[1] * first.shape[2])
    weights = shared.reshape(flat)
    area = weights.sum(1, keepdims=True)
    centred = []
    for pictures in (first, second):
        values = pictures.reshape(flat)
        centred.append((values - (values * weights).sum(1, keepdims=True) / area) * weights)
    one, other = centred
    energy = (one * one).sum(1) * (other * other).sum(1)
    alike: Floats = (one * other).sum(1) / np.sqrt(np.maximum(energy, 1e-12))
    return alike


def _halved(pictures: Floats) -> Floats:
    count, side, _ = pictures.shape
    halves: Floats = pictures.reshape(count, side // 2, 2, side // 2, 2).mean((2, 4))
    return halves


def _offsets(side: int) -> Floats:
    """Distances of the pixels from the middle."""
    return np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)


def _gaussian(width: float, side: int) -> Floats:
    """Blur along one axis as a matrix; at the borders only what is there counts."""
    places = np.arange(side)
    kernel = np.exp(-0.5 * ((places[:, None] - places) / width) ** 2)
    return np.asarray(kernel / kernel.sum(1, keepdims=True), np.float32)
