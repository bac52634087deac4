"""Lesson 11: what augmentation makes of a digit, and where it makes another digit of it."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from figures import Translate, figure, grids
from kilat.fit.augment.augmenter import Augmenter
from kilat.fit.augment.geometry import Outside, affine_maps, warp
from kilat.recipe import Augment
from kilat.report.svg_canvas import ACCENT, MUTED, TEXT, Canvas

DRAWN: tuple[tuple[str, dict[str, Any]], ...] = (
    ("crop: 1", {"crop": 1}),
    ("rotation: 15", {"rotation": 15}),
    ("shear: 20", {"shear": 20}),
    ("zoom: 0.2", {"zoom": 0.2}),
    ("brightness: 0.5", {"brightness": 0.5}),
    ("cutout: 3", {"cutout": 3}),
    ("mixup: 0.5", {"mixup": 0.5}),
    ("horizontal_flip: true", {"horizontal_flip": True}),
)
DRAWS, SEED = 5, 1

_ANGLES = (0, 15, 45, 90, 135, 180)
_LARGEST = 16


@figure
def augmentations(_: Translate) -> str:
    """A digit, and five draws of eight augmentations."""
    cell, gap, left = 6, 6, 172
    side = 8 * cell
    canvas = Canvas(left + (DRAWS + 1) * (side + gap) + 10, len(DRAWN) * (side + gap) + 26)
    canvas.write(left, 9, _("original"), MUTED)
    canvas.write(left + side + gap + 10, 9, _("five draws"), MUTED)
    for row, (text, choices) in enumerate(DRAWN):
        top = 24 + row * (side + gap)
        canvas.write(0, top + side / 2, text)
        grids.grey(canvas, left, top, cell, grids.digit(2) / _LARGEST)
        for column, picture in enumerate(drawn(choices)):
            grids.grey(canvas, left + 10 + (column + 1) * (side + gap), top, cell, picture)
    return canvas.to_svg(_("What augmentations make of a digit"))


def drawn(choices: dict[str, Any]) -> list[NDArray[np.float64]]:
    """Return draws of an augmentation of a two, its values from 0 to 1 in few levels; MixUp mixes it with a seven."""
    pixels = np.stack([grids.digit(2), grids.digit(7)])[..., None] / _LARGEST * 255
    generator = torch.Generator().manual_seed(SEED)
    augmenter = Augmenter(Augment.model_validate(choices))
    found = []
    for _draw in range(DRAWS):
        planes, _targets = augmenter(torch.from_numpy(pixels.round().astype(np.uint8)), torch.eye(2), generator)
        found.append(_few_levels(planes[0, 0].double().numpy() / 255))
    return found


@figure
def turned_digits(_: Translate) -> str:
    """A six and a nine, turned further and further."""
    cell, gap, left = 8, 12, 10
    side = 8 * cell
    canvas = Canvas(left + len(_ANGLES) * (side + gap), 2 * (side + gap) + 28)
    for column, angle in enumerate(_ANGLES):
        x = left + column * (side + gap)
        canvas.write(x + side / 2, 9, f"{angle}°", MUTED, "middle")
        for row, number in enumerate((6, 9)):
            grids.grey(canvas, x, 24 + row * (side + gap), cell, turned(grids.digit(number) / _LARGEST, angle))
    return canvas.to_svg(_("A six and a nine, turned by up to half a turn"))


def turned(levels: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """Return a picture turned about its centre, as kilat turns it."""
    nothing, one = torch.zeros(1), torch.ones(1)
    maps = affine_maps(torch.tensor([degrees]), nothing, nothing, nothing, one, one)
    planes = torch.from_numpy(levels).float()[None, None]
    return _few_levels(warp(planes, maps, Outside("constant", 0.0))[0, 0].double().numpy())


@figure
def mirrored_signs(_: Translate) -> str:
    """Letters and an arrow, and what a mirror makes of them."""
    canvas = Canvas(440, 132)
    canvas.write(0, 38, _("as they are"), MUTED)
    canvas.write(0, 98, _("mirrored"), MUTED)
    for column, sign in enumerate(("b", "p", "3", "E", "→", "A", "O")):
        x = 130 + column * 44
        canvas.write(x, 38, sign, TEXT, "middle", 34)
        canvas.elements.append(f'<g transform="matrix(-1 0 0 1 {2 * x} 0)">')
        changed = sign not in "AO"
        canvas.write(x, 98, sign, "var(--warn)" if changed else ACCENT, "middle", 34)
        canvas.elements.append("</g>")
    return canvas.to_svg(_("Letters and an arrow beside their mirror images"))


def _few_levels(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values of 0 to 1 in as many levels as the digits have."""
    return np.round(np.clip(levels, 0, 1) * _LARGEST) / _LARGEST
