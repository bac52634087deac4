"""How similar two thumbnails are once one is registered to the other: shifted, stretched, cropped, brighter.

Lucas and Kanade's registration (Baker, Matthews, IJCV 2004) of the four parameters that a crop has, with a gain, from
coarse to fine; then the normalised cross-correlation of what both show. Both pass a band-pass filter first: what is
finer than pixels can hold differs between copies of different size, and what is coarser than objects is similar in
photos that are not (bright above, dark below).
"""

import numpy as np

from kilat.runtime.array_types import Floats, Pixels
from kilat.runtime.cores import parallel_map, single_threaded_blas

MOST_CROPPED = 0.87
"""The smallest share of a side that one picture may show of the other: a crop by a tenth, and a little for rounding."""

_LARGEST_SHIFT = 0.08
_FINE, _COARSE = 0.7, 5.0
_COARSE_STEPS, _FINE_STEPS = 2, 2
_HOPELESS = 5.0
"""Pairs that differ by so many times the allowed difference at half resolution are not compared at the full one."""

_BLOCK = 256


def band_pass(thumbnails: Pixels | Floats) -> Floats:
    """Return the middle frequencies, ``[n, side, side]``: a difference of two Gaussians."""
    pixels = np.arange(thumbnails.shape[-1])
    blurs = (np.exp(-0.5 * ((pixels[:, None] - pixels) / width) ** 2) for width in (_FINE, _COARSE))
    # At the borders only what is inside counts.
    fine, coarse = (np.asarray(blur / blur.sum(1, keepdims=True), np.float32) for blur in blurs)
    pictures = thumbnails.astype(np.float32)
    return np.asarray(fine @ pictures @ fine.T - coarse @ pictures @ coarse.T, np.float32)


def register(first: Pixels, second: Pixels, max_difference: Floats | float = 1.0) -> tuple[Floats, Floats]:
    """Register the second thumbnail of each pair to the first, so that they correlate best.

    Args:
        first: ``[n, side, side]``, the side even.
        second: the same.
        max_difference: how far the correlation of copies may be from 1, one for all or ``[n]``; pairs that are much
            further apart are not compared at full resolution.

    Returns:
        The correlation where both show something, -1 to 1, ``[n]``; and where the second is found in the first: for the
        horizontal and the vertical, the scale (above 1: the second shows less) and the shift of its centre as a share
        of the side, ``[n, 4]``.
    """
    allowed = np.broadcast_to(np.float32(max_difference), len(first))

    def register_block(start: int) -> tuple[Floats, Floats]:
        block = slice(start, start + _BLOCK)
        fixed, moving = band_pass(first[block]), band_pass(second[block])
        identity = np.tile(np.array([1, 0, 1, 0], np.float32), (len(fixed), 1))
        best, parameters = _gauss_newton(_halved(fixed), _halved(moving), identity, _COARSE_STEPS)
        close = np.flatnonzero(1 - best <= _HOPELESS * allowed[block])
        best[close], parameters[close] = _gauss_newton(fixed[close], moving[close], parameters[close], _FINE_STEPS)
        return best, parameters

    with single_threaded_blas():
        found = parallel_map(register_block, range(0, len(first), _BLOCK))
    if not found:
        return np.empty(0, np.float32), np.empty((0, 4), np.float32)
    return np.concatenate([best for best, _ in found]), np.concatenate([parameters for _, parameters in found])


def _gauss_newton(fixed: Floats, moving: Floats, parameters: Floats, steps: int) -> tuple[Floats, Floats]:
    """Return the best correlation on the way, and its parameters."""
    best, best_parameters = np.full(len(fixed), -1, np.float32), parameters
    lowest = np.array([MOST_CROPPED, -_LARGEST_SHIFT] * 2, np.float32)
    highest = np.array([1 / MOST_CROPPED, _LARGEST_SHIFT] * 2, np.float32)
    for step in range(steps + 1):
        warped, overlap = _warp(moving, parameters)
        correlation = _correlation(fixed, warped, overlap)
        better = correlation > best
        best = np.where(better, correlation, best)
        best_parameters = np.where(better[:, None], parameters, best_parameters)
        if step < steps:
            parameters = np.clip(parameters + _update(fixed, warped, overlap), lowest, highest)
    return best, best_parameters


def _warp(pictures: Floats, parameters: Floats) -> tuple[Floats, Floats]:
    """Resample pictures at their parameters; and return where that is inside them (1, else 0), ``[n, side, side]``."""
    across, inside_across = _resampling(parameters[:, 0], parameters[:, 1], pictures.shape[-1])
    down, inside_down = _resampling(parameters[:, 2], parameters[:, 3], pictures.shape[-1])
    warped = np.asarray(down @ pictures @ across.transpose(0, 2, 1), np.float32)
    return warped, inside_down[:, :, None] * inside_across[:, None, :]


def _resampling(scale: Floats, shift: Floats, side: int) -> tuple[Floats, Floats]:
    """Return linear interpolation as matrices ``[n, side, side]``, and which targets lie inside, ``[n, side]``."""
    at = _offsets(side) * scale[:, None] + (shift * side + (side - 1) / 2)[:, None]
    weights = 1 - np.abs(np.clip(at, 0, side - 1)[:, :, None] - np.arange(side, dtype=np.float32))
    return np.maximum(weights, 0), ((at > -0.5) & (at < side - 0.5)).astype(np.float32)


def _update(fixed: Floats, warped: Floats, overlap: Floats) -> Floats:
    """Return the change of the parameters that explains the difference, where a gain explains the rest."""
    count, side = len(fixed), fixed.shape[-1]
    offsets = _offsets(side)
    across, down = _gradient(warped), _gradient(warped.transpose(0, 2, 1)).transpose(0, 2, 1)
    slopes = [across * offsets, across * side, down * offsets[:, None], down * side, warped]
    jacobian = np.stack([slope * overlap for slope in slopes], 1).reshape(count, 5, side * side)
    normal = jacobian @ jacobian.transpose(0, 2, 1)
    normal += np.einsum("nii->ni", normal)[:, :, None] * (1e-4 * np.eye(5, dtype=np.float32))
    normal += 1e-3 * np.eye(5, dtype=np.float32)
    update = np.linalg.solve(normal, jacobian @ fixed.reshape(count, side * side, 1))[:, :, 0]
    return np.asarray(update[:, :4] / np.maximum(update[:, 4:], 0.2), np.float32)


def _gradient(pictures: Floats) -> Floats:
    """Return central differences along the last axis, one-sided at the borders."""
    gradient = np.empty_like(pictures)
    gradient[..., 1:-1] = (pictures[..., 2:] - pictures[..., :-2]) / 2
    gradient[..., 0], gradient[..., -1] = pictures[..., 1] - pictures[..., 0], pictures[..., -1] - pictures[..., -2]
    return gradient


def _correlation(first: Floats, second: Floats, overlap: Floats) -> Floats:
    flat = (len(first), first.shape[1] * first.shape[2])
    weights = overlap.reshape(flat)
    area = weights.sum(1, keepdims=True)
    centred = []
    for pictures in (first, second):
        values = pictures.reshape(flat)
        centred.append((values - (values * weights).sum(1, keepdims=True) / area) * weights)
    one, other = centred
    energy = (one * one).sum(1) * (other * other).sum(1)
    correlation: Floats = (one * other).sum(1) / np.sqrt(np.maximum(energy, 1e-12))
    return correlation


def _halved(pictures: Floats) -> Floats:
    count, side, _ = pictures.shape
    halves: Floats = pictures.reshape(count, side // 2, 2, side // 2, 2).mean((2, 4))
    return halves


def _offsets(side: int) -> Floats:
    """Return the distances of the pixels from the centre."""
    return np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)
