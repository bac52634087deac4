"""Pictures that lie on their side or upside down, recognised by what "up" looks like in the rest of the set.

Every thumbnail is taken in its four rotations by quarter turns. A ridge regression on random Fourier features (Rahimi
and Recht 2007) of its tones, edges and colours is fitted to score pictures as they are above their three rotations;
each picture is scored by a fold that left it out. Nothing is said unless that recognises up reliably: flowers from
above, textures and satellite pictures have no up.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilat.runtime.array_types import Floats, Ints

LEAST = 200
"""Of fewer pictures nothing is said."""

RELIABLE = 0.9
"""Share of held-out pictures whose up must be recognised before any is said to be rotated."""

HOPELESS = 0.75
"""The same on a first sample, below which no more pictures are tried."""

SURE = 1.1
"""How far another rotation must lead to be believed, as a share of the median lead of up."""

RARE = 0.05
"""Where more than this share seems rotated, the set has several ups, and nothing is said."""

_FOLDS = 5
_FITTED = 2500
_FIRST_SAMPLE = 600
_BLOCK = 2000
_VALUES = 4 * 4 * 8 + 8 * 8 + 8 * 8 * 2
_WAVES = 512
_GAMMA = 0.3
_RIDGE = 1e-4


def find_rotated(image_stats: NDArray[np.void]) -> tuple[Ints, Ints, float]:
    """Find the pictures that are not upright.

    Args:
        image_stats: ``kilat.data.image_stats.IMAGE_STATS``, one record a picture, without byte-identical ones (they
            would stand in two folds).

    Returns:
        Their positions, the surest first; by how many degrees each must be rotated counter-clockwise to stand upright;
        and the share of held-out pictures whose up is recognised (NaN where there are too few to fit anything).
    """
    none = np.zeros(0, np.int64)
    if len(image_stats) < LEAST:
        return none, none, float("nan")
    *_fitted, share = _cross_validate(image_stats, _FIRST_SAMPLE)
    if share < HOPELESS:
        return none, none, share
    sample, weights, sample_scores, share = _cross_validate(image_stats, _FITTED)
    if share < RELIABLE:
        return none, none, share
    median_lead = float(np.median(sample_scores[:, 0] - sample_scores[:, 1:].max(axis=1)))
    scores = sample_scores
    if len(sample) < len(image_stats):
        scores = np.concatenate([block @ weights for block in _fourier_features(image_stats)])
        scores[sample] = sample_scores
    lead = scores[:, 1:].max(axis=1) - scores[:, 0]
    rotated = np.flatnonzero(lead > SURE * median_lead)
    if len(rotated) > RARE * len(image_stats):
        return none, none, share
    rotated = rotated[np.argsort(-lead[rotated], kind="stable")]
    return rotated, 90 * (scores[rotated, 1:].argmax(axis=1) + 1), share


def _cross_validate(image_stats: NDArray[np.void], most: int) -> tuple[Ints, Floats, Floats, float]:
    """Fit on an even sample of the pictures.

    Returns:
        The sample; weights fitted on all of it; its held-out scores ``[n, 4]``; how often up has the highest one.
    """
    sample = np.unique(np.linspace(0, len(image_stats) - 1, min(len(image_stats), most)).astype(np.int64))
    image_stats = image_stats[sample]
    target = np.array([0.75, -0.25, -0.25, -0.25], np.float32)
    fold = np.arange(len(image_stats)) % _FOLDS
    features = [np.concatenate([*_fourier_features(image_stats[fold == k])]) for k in range(_FOLDS)]
    squares = np.stack([(flat := x.reshape(-1, _WAVES)).T @ flat for x in features])
    products = np.stack([np.einsum("nrd,r->d", x, target) for x in features])
    scores = np.zeros((len(image_stats), 4), np.float32)
    for k in range(_FOLDS):
        scores[fold == k] = features[k] @ _ridge(squares.sum(axis=0) - squares[k], products.sum(axis=0) - products[k])
    share = float((scores.argmax(axis=1) == 0).mean())
    return sample, _ridge(squares.sum(axis=0), products.sum(axis=0)), scores, share


def _ridge(squares: Floats, products: Floats) -> Floats:
    penalty = _RIDGE * np.trace(squares)
    weights = np.linalg.solve(squares.astype(np.float64) + penalty * np.eye(len(squares)), products)
    return weights.astype(np.float32)


def _fourier_features(image_stats: NDArray[np.void]) -> Iterator[Floats]:
    """Yield random Fourier features of the four rotations, ``[pictures, 4, waves]``, a block of pictures at a time."""
    generator = np.random.default_rng(0)
    waves = generator.normal(0, np.sqrt(2 * _GAMMA), (_VALUES, _WAVES)).astype(np.float32)
    phases = generator.uniform(0, 2 * np.pi, _WAVES).astype(np.float32)
    for start in range(0, len(image_stats), _BLOCK):
        rotations = _rotations(image_stats[start : start + _BLOCK])
        yield np.cos(rotations @ waves + phases) * np.float32(np.sqrt(2 / _WAVES))


def _rotations(image_stats: NDArray[np.void]) -> Floats:
    """Return edges, tones and colours of every picture, rotated counter-clockwise by 0, 90, 180 and 270 degrees."""
    tones = _unit(image_stats["thumbnail"].reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4), dtype=np.float32), centre=True)
    edges = _unit(np.sqrt(_gradient_histograms(image_stats["thumbnail"].astype(np.float32))))
    red, green, blue = np.moveaxis(image_stats["colour_grid"].astype(np.float32) / 255, 3, 0)
    colours = np.stack([red - green, blue - (red + green) / 2], axis=3)
    rotations = []
    for turn in range(4):
        rotated_edges = np.roll(np.rot90(edges, turn, (1, 2)), 2 * turn, axis=3)  # directions turn with the picture
        parts = rotated_edges, np.rot90(tones, turn, (1, 2)), np.rot90(colours, turn, (1, 2))
        rotations.append(np.concatenate([part.reshape(len(image_stats), -1) for part in parts], axis=1))
    return np.stack(rotations, axis=1)


def _gradient_histograms(tones: Floats) -> Floats:
    """Return histograms of gradients (Dalal and Triggs 2005): 8 directions in 4×4 cells."""
    padded = np.pad(tones, ((0, 0), (1, 1), (1, 1)), mode="edge")
    right = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    up = padded[:, :-2, 1:-1] - padded[:, 2:, 1:-1]
    direction = np.rint(np.arctan2(up, right) / (np.pi / 4)).astype(np.int64) % 8
    length = np.hypot(right, up)
    cells = [(length * (direction == k)).reshape(-1, 4, 8, 4, 8).sum(axis=(2, 4)) for k in range(8)]
    return np.stack(cells, axis=3)


def _unit(values: NDArray[Any], centre: bool = False) -> Floats:
    """Scale every picture's values to length 1; a picture without any stays at 0."""
    flat = values.reshape(len(values), -1)
    if centre:
        flat = flat - flat.mean(axis=1, keepdims=True)
    flat = flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6)
    unit: Floats = flat.reshape(values.shape).astype(np.float32)
    return unit
