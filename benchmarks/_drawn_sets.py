"""Two sets of grey-scale pictures that are unlike the photographs of ImageNet, drawn from a seed.

``inspection``: brushed metal under uneven light, without a fault or with a scratch, a crack, pits or a stain, whose
contrast is near that of the surface. ``weaves``: cloth in plain weave, twill to either side, satin and basket weave, of
changing scale, angle and contrast, with noise; both twills are mirror images of each other.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Plane = NDArray[np.float64]

SIDE = 64
_TWILL = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1]])
_PATTERNS = {
    "plain": np.array([[1, 0], [0, 1]]),
    "twill-left": _TWILL,
    "twill-right": _TWILL[:, ::-1],
    "satin": np.array([[1, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 1], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]]),
    "basket": np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]),
}


def draw_set(name: str, folder: Path, *, train: int, test: int, seed: int) -> Path:
    """Draw a set into ``folder/train`` and ``folder/test``, so many pictures of each class; return the folder."""
    for number, (label, draw) in enumerate(SETS[name].items()):
        for part, (split, count) in enumerate((("train", train), ("test", test))):
            target = folder / split / label
            target.mkdir(parents=True)
            for index in range(count):
                plane = draw(np.random.default_rng([seed, number, part, index]))
                Image.fromarray(np.clip(plane, 0, 255).astype(np.uint8)).save(target / f"{index:04}.png")
    return folder


def _smoothed(plane: Plane, rows: float, columns: float) -> Plane:
    """Return a plane smoothed by a Gaussian of these deviations along each axis, wrapped around, with deviation 1."""
    frequencies = [np.fft.fftfreq(side)[:, None] for side in plane.shape]
    kernel = np.exp(-2 * np.pi**2 * ((rows * frequencies[0]) ** 2 + (columns * frequencies[1].T) ** 2))
    smooth = np.fft.ifft2(np.fft.fft2(plane) * kernel).real
    standardised: Plane = (smooth - smooth.mean()) / smooth.std()
    return standardised


def _noise(rng: np.random.Generator, rows: float, columns: float) -> Plane:
    return _smoothed(rng.standard_normal((SIDE, SIDE)), rows, columns)


def _metal(rng: np.random.Generator) -> Plane:
    """Brushed metal under uneven light."""
    brushed = rng.uniform(6, 10) * _noise(rng, 0.5, rng.uniform(5, 12))
    light = rng.uniform(5, 25) * _noise(rng, 14, 14)
    metal: Plane = rng.uniform(90, 160) + brushed + light + 4 * rng.standard_normal((SIDE, SIDE))
    return metal


def _line(rng: np.random.Generator, bend: float, width: int) -> Plane:
    """A mask 0 to 1 of a line from a random place, whose direction changes by ``bend`` radians a step."""
    mask = Image.new("L", (SIDE, SIDE))
    place, angle = rng.uniform(10, SIDE - 10, 2), rng.uniform(0, 2 * np.pi)
    points = [tuple(place)]
    for _ in range(rng.integers(7, 12)):
        angle += bend * rng.standard_normal()
        place = place + 4 * np.array([np.cos(angle), np.sin(angle)])
        points.append(tuple(place))
    ImageDraw.Draw(mask).line(points, fill=255, width=width)
    return np.asarray(mask) / 255


def _scratch(rng: np.random.Generator) -> Plane:
    return _metal(rng) + rng.uniform(12, 30) * _line(rng, 0.03, 1)


def _crack(rng: np.random.Generator) -> Plane:
    return _metal(rng) - rng.uniform(12, 30) * _line(rng, 0.7, 1)


def _pits(rng: np.random.Generator) -> Plane:
    mask = np.zeros((SIDE, SIDE))
    for row, column in rng.integers(6, SIDE - 6, (rng.integers(3, 8), 2)):
        mask[row : row + 2, column : column + 2] = 1
    return _metal(rng) - rng.uniform(12, 30) * mask


def _stain(rng: np.random.Generator) -> Plane:
    rows, columns = np.indices((SIDE, SIDE))
    row, column, radius = *rng.uniform(14, SIDE - 14, 2), rng.uniform(5, 10)
    distance = np.hypot(rows - row, columns - column) + 2 * _noise(rng, 3, 3)
    stain: Plane = rng.uniform(6, 14) / (1 + np.exp(distance - radius))
    return _metal(rng) - stain


def _weave(pattern: NDArray[np.int64]) -> Callable[[np.random.Generator], Plane]:
    def draw(rng: np.random.Generator) -> Plane:
        period, angle = rng.uniform(2.5, 5), rng.normal(0, 0.2)
        rows, columns = np.indices((SIDE, SIDE))
        along = (columns * np.cos(angle) - rows * np.sin(angle)) / period + rng.uniform(0, 20)
        across = (columns * np.sin(angle) + rows * np.cos(angle)) / period + rng.uniform(0, 20)
        height, width = pattern.shape
        up = pattern[np.floor(across).astype(int) % height, np.floor(along).astype(int) % width]
        rounded = np.where(up, np.sin(np.pi * (across % 1)), np.sin(np.pi * (along % 1)))
        cloth = rng.uniform(8, 20) * (up - 0.5) + rng.uniform(4, 10) * rounded
        light = 15 * _noise(rng, 14, 14)
        noise = rng.uniform(8, 16) * rng.standard_normal((SIDE, SIDE))
        plane: Plane = rng.uniform(80, 170) + cloth + light + noise
        return plane

    return draw


SETS: dict[str, dict[str, Callable[[np.random.Generator], Plane]]] = {
    "inspection": {"clean": _metal, "scratch": _scratch, "crack": _crack, "pits": _pits, "stain": _stain},
    "weaves": {label: _weave(pattern) for label, pattern in _PATTERNS.items()},
}
"""How a picture of each class is drawn, by set."""
