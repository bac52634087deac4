"""Textures that weather lays over pictures: plasma for fog, and crystals of frost that are drawn, not photographed."""

import functools

import numpy as np
from PIL import Image

from kilat.runtime.array_types import Floats, Pixels

FROST_SIDE = 512
FROST_TINTS = (
    ((201.0, 205.0, 214.0), 22.0),
    ((201.0, 205.0, 214.0), 22.0),
    ((138.0, 153.0, 165.0), 29.0),
    ((112.0, 123.0, 135.0), 43.0),
    ((78.0, 149.0, 166.0), 19.0),
)
"""Mean colour and standard deviation of the five photographs of frost that the reference draws from (two are one)."""

_DIRECTIONS = 7
_NEEDLE = 9.0  # how much longer than wide a crystal is


def plasma(side: int, decay: float, rng: np.random.Generator) -> Floats:
    """Draw a cloud by the diamond-square algorithm, float32 ``[side, side]`` from 0 to 1, that repeats seamlessly.

    Args:
        side: a power of two.
        decay: from one octave to the next, the spread of the noise falls by its square, as in the reference.
        rng: random numbers for the noise.
    """
    assert side & (side - 1) == 0, "diamond-square doubles its grid"
    grid, spread = np.zeros((1, 1), np.float32), np.float32(1)
    while len(grid) < side:
        grid = plasma_octave(grid, spread, rng)
        spread /= np.float32(decay**2)
    cloud: Floats = (grid - grid.min()) / max(np.ptp(grid), np.finfo(np.float32).tiny)
    return cloud


def plasma_octave(grid: Floats, spread: np.float32, rng: np.random.Generator) -> Floats:
    """Add to a grid the middles of its squares, then of its diamonds, each the mean of four points plus noise."""
    n = len(grid)
    noise = spread * (2 * rng.random((3, n, n), np.float32) - 1)
    below, right = np.roll(grid, -1, 0), np.roll(grid, -1, 1)
    middle = (grid + below + right + np.roll(below, -1, 1)) / 4 + noise[0]
    finer = np.empty((2 * n, 2 * n), np.float32)
    finer[::2, ::2], finer[1::2, 1::2] = grid, middle
    finer[::2, 1::2] = (grid + right + middle + np.roll(middle, 1, 0)) / 4 + noise[1]
    finer[1::2, ::2] = (grid + below + middle + np.roll(middle, 1, 1)) / 4 + noise[2]
    return finer


@functools.cache
def frost(tint: int, scale: float) -> Pixels:
    """Draw frost on a window, uint8 ``[side, side, 3]``, that repeats seamlessly; the same at every call.

    Args:
        tint: one of ``FROST_TINTS``.
        scale: of the crystals; the side is ``FROST_SIDE`` times this.
    """
    mean, spread = FROST_TINTS[tint]
    side = round(FROST_SIDE * scale)
    ice = np.asarray(Image.fromarray(frost_crystals()).resize((side, side), Image.Resampling.BOX))
    ice = (ice - ice.mean()) / ice.std()
    tinted: Pixels = np.clip(np.array(mean) + spread * ice[..., None], 0, 255).astype(np.uint8)
    return tinted


@functools.cache
def frost_crystals() -> Floats:
    """Draw patches of needles, each patch grown in its own direction, over thicker and thinner ice."""
    rng = np.random.default_rng(0)
    angles = np.pi * (np.arange(_DIRECTIONS) + rng.random(_DIRECTIONS)) / _DIRECTIONS
    claims = np.stack([_noise(rng, 2.0, 10) for _ in angles])
    needles = np.stack([_ridges(rng, angle) for angle in angles])
    grown = np.take_along_axis(needles, claims.argmax(0)[None], 0)[0]
    rivals = np.sort(claims, 0)
    seams = np.exp(-(((rivals[-1] - rivals[-2]) / 0.12) ** 2))
    ice: Floats = (grown + 0.5 * seams + 0.8 * _noise(rng, 2.4, 2)).astype(np.float32)
    return ice


def _ridges(rng: np.random.Generator, angle: float) -> Floats:
    """Draw bright needles along one direction: octaves of ridged noise (after Musgrave), of mean 0 and spread 1."""
    total = np.zeros((FROST_SIDE, FROST_SIDE), np.float32)
    for octave in range(3):
        noise = _noise(rng, 1.6, 14 * 2**octave, angle)
        total += (1 - np.abs(noise).clip(0, 2)) / np.float32(1.5**octave)
    ridges: Floats = (total - total.mean()) / total.std()
    return ridges


def _noise(rng: np.random.Generator, slope: float, lowest: float, angle: float | None = None) -> Floats:
    """Draw noise whose amplitude falls with frequency from ``lowest`` waves a side on, stretched along an angle if any.

    Mean 0, spread 1, float32 ``[FROST_SIDE, FROST_SIDE]``, periodic.
    """
    down, along = np.fft.fftfreq(FROST_SIDE)[:, None] * FROST_SIDE, np.fft.rfftfreq(FROST_SIDE)[None] * FROST_SIDE
    if angle is None:
        frequency = np.hypot(down, along)
    else:
        across = down * np.cos(angle) - along * np.sin(angle)
        length = down * np.sin(angle) + along * np.cos(angle)
        frequency = np.hypot(across, _NEEDLE * length)
    amplitude = np.where(frequency < lowest / 2, 0, np.maximum(frequency, lowest) ** -slope)
    spectrum = np.fft.rfft2(rng.standard_normal((FROST_SIDE, FROST_SIDE)))
    noise = np.fft.irfft2(spectrum * amplitude, (FROST_SIDE, FROST_SIDE))
    levelled: Floats = ((noise - noise.mean()) / noise.std()).astype(np.float32)
    return levelled
