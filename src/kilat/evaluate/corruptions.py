"""The fifteen common corruptions of ImageNet-C at five severities, in NumPy, SciPy and Pillow.

After Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations"
(ICLR 2019, arXiv 1903.12261), with the constants of their code. That code has three tables of constants: for pictures
of 32 pixels (CIFAR-10-C), 64 (Tiny ImageNet-C) and 224 (ImageNet-C). A picture takes the table whose size is nearest to
its shorter side, as a ratio: the first up to 45 pixels, the last from 120 on. At other sizes lengths in pixels stay as
they are, as in the package imagecorruptions; what the reference gives as a share of the side stays a share.

What differs from the reference, on purpose:

- frost: photographs of frost cannot be part of kilat; crystals are drawn instead (`textures.frost`), in the colours and
  with the contrast of the reference's photographs, mixed in with its weights.
- ImageNet-C as published was saved once more as JPEG of quality 85; here nothing is saved.
- glass_blur copies a pixel from its neighbourhood; "swap" in the paper, but the code's swap works on two views of one
  array and leaves the neighbour as it was, and the published pictures were made by it.
"""

import functools
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kilat.errors import RecipeError, nearest
from kilat.evaluate.image_filters import (
    copy_in_turn,
    gaussian_blur,
    motion_blur,
    random_neighbours,
    sample_bilinear,
    smooth_shifts,
    three_point_warp,
    zoom_middle,
)
from kilat.evaluate.textures import FROST_TINTS, frost, plasma
from kilat.locale import _
from kilat.runtime.array_types import Floats, Pixels

GROUPS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
CORRUPTIONS = tuple(name for names in GROUPS.values() for name in names)
SEVERITIES = (1, 2, 3, 4, 5)
SIDES = (32, 64, 224)
"""The sizes for which the reference has constants."""
SMALLEST = 8
"""Pictures of fewer pixels a side have nothing left to corrupt."""

_E = 244 / 224  # the reference writes 244 where it means the side of its pictures, 224

# For each corruption a row for each of SIDES, in it one entry for each severity.
_LEVELS: dict[str, tuple[tuple[Any, ...], ...]] = {
    "gaussian_noise": ((0.04, 0.06, 0.08, 0.09, 0.1), (0.04, 0.08, 0.12, 0.15, 0.18), (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": ((500, 250, 100, 75, 50), (250, 100, 50, 30, 15), (60, 25, 12, 5, 3)),
    "impulse_noise": ((0.01, 0.02, 0.03, 0.05, 0.07), (0.01, 0.02, 0.05, 0.08, 0.14), (0.03, 0.06, 0.09, 0.17, 0.27)),
    "defocus_blur": (  # radius of the disk, standard deviation that softens its edge
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    "glass_blur": (  # standard deviation of the blur, how far a pixel moves, rounds
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    ),
    "motion_blur": (  # radius and standard deviation along the motion
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    "zoom_blur": (  # end and step of the zoom factors from 1
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    ),
    "snow": (  # mean and deviation of the noise, zoom, threshold, radius and deviation of its motion, share of picture
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
        ),
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    "frost": (  # weight of the picture, weight of the frost, its scale
        ((1, 0.2, 0.2), (1, 0.3, 0.2), (0.9, 0.4, 0.2), (0.85, 0.4, 0.2), (0.75, 0.45, 0.2)),
        ((1, 0.3, 0.3), (0.9, 0.4, 0.3), (0.8, 0.45, 0.3), (0.75, 0.5, 0.3), (0.7, 0.55, 0.3)),
        ((1, 0.4, 1), (0.8, 0.6, 1), (0.7, 0.7, 1), (0.65, 0.7, 1), (0.6, 0.75, 1)),
    ),
    "fog": (  # its weight, how fast its fine parts fade
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
        ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    ),
    "brightness": ((0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5), (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": ((0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05), (0.4, 0.3, 0.2, 0.1, 0.05)),
    "elastic_transform": (  # shares of the side: of a shift, the smoothness of the shifts, how far three points move
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
        ((0, 0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03), (0.16, 0.03, 0.02)),
        (
            (2 * _E, 0.7 * _E, 0.1 * _E),
            (2 * _E, 0.08 * _E, 0.2 * _E),
            (0.05 * _E, 0.01 * _E, 0.02 * _E),
            (0.07 * _E, 0.01 * _E, 0.02 * _E),
            (0.12 * _E, 0.01 * _E, 0.02 * _E),
        ),
    ),
    "pixelate": ((0.95, 0.9, 0.85, 0.75, 0.65), (0.9, 0.8, 0.7, 0.6, 0.5), (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg_compression": ((80, 65, 58, 50, 40), (65, 58, 50, 40, 25), (25, 18, 15, 10, 7)),
}


def corrupt(pixels: Pixels, name: str, severity: int, rng: np.random.Generator) -> Pixels:
    """Return a corrupted copy of a picture.

    Args:
        pixels: uint8 ``[h, w, 3]``, each side of ``SMALLEST`` pixels or more.
        name: one of ``CORRUPTIONS``.
        severity: 1 to 5.
        rng: random numbers; the same state gives the same picture.

    Returns:
        uint8 ``[h, w, 3]``; values are cut off to whole numbers, as in the reference.

    Raises:
        RecipeError: there is no such corruption or severity.
    """
    if name not in _MAKERS:
        raise RecipeError(
            _("There is no corruption called '{name}'.").format(name=name), hint=nearest(name, CORRUPTIONS)
        )
    if severity not in SEVERITIES:
        raise RecipeError(
            _("There is no severity {severity}.").format(severity=severity),
            hint=_("Severities: {severities}.").format(severities=", ".join(map(str, SEVERITIES))),
        )
    assert pixels.dtype == np.uint8, "8-bit pixels"
    assert pixels.ndim == 3, "height, width, channels"
    assert pixels.shape[2] == 3, "red, green, blue"
    assert min(pixels.shape[:2]) >= SMALLEST, "a picture of at least 8 pixels a side"
    level = _LEVELS[name][SIDES.index(table_side(pixels))][severity - 1]
    changed = _MAKERS[name](pixels, level, rng)
    corrupted: Pixels = np.clip(changed, 0, 255).astype(np.uint8)
    return corrupted


def table_side(pixels: Pixels) -> int:
    """Return the one of ``SIDES`` whose constants a picture gets: the nearest to its shorter side, as a ratio."""
    shorter = min(pixels.shape[:2])
    return min(SIDES, key=lambda side: max(side / shorter, shorter / side))


def _gaussian_noise(pixels: Pixels, deviation: float, rng: np.random.Generator) -> Floats:
    return pixels + np.float32(255 * deviation) * rng.standard_normal(pixels.shape, np.float32)


def _shot_noise(pixels: Pixels, photons: int, rng: np.random.Generator) -> NDArray[Any]:
    return rng.poisson(pixels * (photons / 255)) * (255 / photons)


def _impulse_noise(pixels: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """Add salt and pepper, each in half of that share of the values (each colour on its own)."""
    draw = rng.random(pixels.shape, np.float32)
    noisy = pixels.copy()
    noisy[draw < share] = 255
    noisy[draw < share / 2] = 0
    return noisy


def _defocus_blur(pixels: Pixels, level: tuple[float, float], _rng: np.random.Generator) -> Floats:
    from scipy import fft

    kernel = _disk(*level)
    reach = len(kernel) // 2
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="reflect").astype(np.float32)
    shape = [fft.next_fast_len(side, real=True) for side in padded.shape[:2]]
    centred = np.zeros(shape, np.float32)
    centred[: len(kernel), : len(kernel)] = kernel
    response = fft.rfft2(np.roll(centred, (-reach, -reach), (0, 1)))
    planes = fft.rfft2(padded.transpose(2, 0, 1), shape)
    blurred = fft.irfft2(planes * response, shape).transpose(1, 2, 0)
    height, width, _ = pixels.shape
    kept: Floats = blurred[reach : reach + height, reach : reach + width]
    return kept


@functools.cache
def _disk(radius: float, softness: float) -> Floats:
    """Draw a disk with a slightly blurred edge as the reference does: in a square of at least 17 pixels."""
    from scipy import ndimage

    reach = max(8, int(radius))
    at = np.arange(-reach, reach + 1)
    disk = (at[:, None] ** 2 + at**2 <= radius**2).astype(np.float64)
    disk /= disk.sum()
    near = np.arange(-1, 2) if radius <= 8 else np.arange(-2, 3)
    weights = np.exp(-(near**2) / (2 * softness**2))
    for axis in (0, 1):
        disk = ndimage.correlate1d(disk, weights / weights.sum(), axis, mode="mirror")
    soft: Floats = disk.astype(np.float32)
    return soft


def _glass_blur(pixels: Pixels, level: tuple[float, int, int], rng: np.random.Generator) -> Floats:
    deviation, reach, rounds = level
    blurred = gaussian_blur(pixels, deviation).astype(np.uint8)
    origin = np.arange(blurred[..., 0].size)
    for _round in range(rounds):
        origin = origin[copy_in_turn(random_neighbours(pixels.shape[0], pixels.shape[1], reach, rng))]
    return gaussian_blur(blurred.reshape(-1, 3)[origin].reshape(pixels.shape), deviation)


def _motion_blur(pixels: Pixels, level: tuple[int, float], rng: np.random.Generator) -> Floats:
    return motion_blur(pixels, *level, angle=rng.uniform(-45, 45))


def _zoom_blur(pixels: Pixels, level: tuple[float, float], _rng: np.random.Generator) -> Floats:
    factors = np.arange(1, *level)
    picture, total = Image.fromarray(pixels), pixels.astype(np.float32)
    for factor in factors:
        total += zoom_middle(picture, float(factor))
    return total / np.float32(len(factors) + 1)


def _snow(pixels: Pixels, level: tuple[Any, ...], rng: np.random.Generator) -> Floats:
    mean, deviation, zoom, threshold, radius, motion, share = level
    noise = np.float32(mean) + np.float32(deviation) * rng.standard_normal(pixels.shape[:2], np.float32)
    flakes = zoom_middle(Image.fromarray(noise), zoom)
    flakes = np.where(flakes < threshold, 0, 255 * flakes.clip(0, 1)).astype(np.uint8)
    falling = np.rint(motion_blur(flakes, radius, motion, angle=rng.uniform(-135, -45)))[..., None]
    picture = pixels.astype(np.float32)
    grey = picture @ np.array([0.299, 0.587, 0.114], np.float32)
    white = np.maximum(picture, 1.5 * grey[..., None] + np.float32(127.5))
    covered: Floats = np.float32(share) * picture + np.float32(1 - share) * white
    return covered + falling + falling[::-1, ::-1]


def _frost(pixels: Pixels, level: tuple[float, float, float], rng: np.random.Generator) -> Floats:
    share, weight, scale = level
    ice = frost(int(rng.integers(len(FROST_TINTS))), scale)
    rows, columns = (rng.integers(len(ice)) + np.arange(side) for side in pixels.shape[:2])
    crop = ice[rows[:, None] % len(ice), columns % len(ice)]
    mixed: Floats = np.float32(share) * pixels + np.float32(weight) * crop
    return mixed


def _fog(pixels: Pixels, level: tuple[float, float], rng: np.random.Generator) -> Floats:
    weight, decay = level
    height, width, _ = pixels.shape
    cloud = plasma(1 << (max(height, width) - 1).bit_length(), decay, rng)[:height, :width, None]
    brightest = float(pixels.max())
    foggy: Floats = pixels + np.float32(255 * weight) * cloud
    return foggy * np.float32(brightest / (brightest + 255 * weight))


def _brightness(pixels: Pixels, amount: float, _rng: np.random.Generator) -> Floats:
    """Raise the value in HSV, which scales the three colours alike; black becomes grey."""
    value = pixels.max(2, keepdims=True).astype(np.float32)
    raised = np.minimum(value + np.float32(255 * amount), 255)
    brighter: Floats = np.where(value > 0, pixels * (raised / np.maximum(value, 1)), raised)
    return brighter


def _contrast(pixels: Pixels, amount: float, _rng: np.random.Generator) -> Floats:
    mean = pixels.mean((0, 1), dtype=np.float64).astype(np.float32)
    flatter: Floats = (pixels - mean) * np.float32(amount) + mean
    return flatter


def _elastic_transform(pixels: Pixels, level: tuple[float, float, float], rng: np.random.Generator) -> Floats:
    """Move three points and the plane with them, then every pixel by smooth random shifts."""
    height, width, _ = pixels.shape
    shift, smoothness, push = (share * min(height, width) for share in level)
    down, across = np.indices((height, width), np.float32)
    planes = sample_bilinear(pixels.transpose(2, 0, 1).astype(np.float32), *three_point_warp(down, across, push, rng))
    if shift:
        down += smooth_shifts(height, width, smoothness, rng) * np.float32(shift)
        across += smooth_shifts(height, width, smoothness, rng) * np.float32(shift)
    return sample_bilinear(planes, down, across).transpose(1, 2, 0)


def _pixelate(pixels: Pixels, share: float, _rng: np.random.Generator) -> Pixels:
    height, width, _ = pixels.shape
    picture = Image.fromarray(pixels).resize((int(width * share), int(height * share)), Image.Resampling.BOX)
    return np.asarray(picture.resize((width, height), Image.Resampling.BOX))


def _jpeg_compression(pixels: Pixels, quality: int, _rng: np.random.Generator) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


_MAKERS: dict[str, Callable[[Pixels, Any, np.random.Generator], NDArray[Any]]] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "defocus_blur": _defocus_blur,
    "glass_blur": _glass_blur,
    "motion_blur": _motion_blur,
    "zoom_blur": _zoom_blur,
    "snow": _snow,
    "frost": _frost,
    "fog": _fog,
    "brightness": _brightness,
    "contrast": _contrast,
    "elastic_transform": _elastic_transform,
    "pixelate": _pixelate,
    "jpeg_compression": _jpeg_compression,
}
"""Each takes uint8 pixels, its constants and a generator, and gives values of 0 to 255 that may lie beyond."""
