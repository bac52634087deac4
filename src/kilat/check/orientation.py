"""Pictures that lie on their side or stand on their head, told by what "up" looks like in the rest of the set.

Every thumbnail is seen in its four quarter turns. A ridge regression on random Fourier features (Rahimi and Recht 2007)
of its tones, edges and colours learns to score the turn that the set has as it is above the three others; each picture
is scored by folds that did not see it. Only where that tells up reliably is anything said: flowers from above, textures
and satellite pictures have no up, and stay silent.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LEAST = 200
"""Fewer pictures teach nothing."""

RELIABLE = 0.9
"""Share of pictures whose up must be told right, held out, before any is said to be turned."""

HOPELESS = 0.75
"""The same on few pictures, below which more are not asked."""

SURE = 1.1
"""How far, as a share of the usual lead of up, another turn must lead to be believed."""

RARE = 0.05
"""More pictures than this share cannot be turned: then the set has several ups."""

_FOLDS = 5
_LEARNT = 2500
_TRIED = 600
_BLOCK = 2000
_VALUES = 4 * 4 * 8 + 8 * 8 + 8 * 8 * 2
_WAVES = 512
_GAMMA = 0.3
_RIDGE = 1e-4


def turned(facts: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.int64], float]:
    """Which pictures are turned.

    Args:
        facts: ``kilat.data.image_stats.IMAGE_STATS``, one record a picture, without near-duplicates (they would
            stand in two folds).

    Returns:
        Their numbers, the surest first; by how many degrees each must be turned counter-clockwise to stand upright;
        and the share of pictures whose up is told right, held out (nan where there are too few to learn from).
    """
    nothing = np.zeros(0, np.int64)
    if len(facts) < LEAST:
        return nothing, nothing, float("nan")
    *_tried, share = _learnt(facts, _TRIED)
    if share < HOPELESS:
        return nothing, nothing, share
    sample, weights, scores, share = _learnt(facts, _LEARNT)
    if share < RELIABLE:
        return nothing, nothing, share
    usual = float(np.median(scores[:, 0] - scores[:, 1:].max(axis=1)))
    everyone = scores
    if len(sample) < len(facts):
        everyone = np.concatenate([block @ weights for block in _blocks(facts)])
        everyone[sample] = scores
    lead = everyone[:, 1:].max(axis=1) - everyone[:, 0]
    found = np.flatnonzero(lead > SURE * usual)
    if len(found) > RARE * len(facts):
        return nothing, nothing, share
    found = found[np.argsort(-lead[found], kind="stable")]
    return found, 90 * (everyone[found, 1:].argmax(axis=1) + 1), share


def _learnt(facts: NDArray[np.void], most: int) -> tuple[NDArray[np.int64], Floats, Floats, float]:
    """Which pictures were learnt from, the weights, their scores ``[n, 4]`` held out, and how often up scores best."""
    sample = np.unique(np.linspace(0, len(facts) - 1, min(len(facts), most)).astype(np.int64))
    facts = facts[sample]
    target = np.array([0.75, -0.25, -0.25, -0.25], np.float32)
    fold = np.arange(len(facts)) % _FOLDS
    seen = [np.concatenate([*_blocks(facts[fold == k])]) for k in range(_FOLDS)]
    squares = np.stack([(flat := x.reshape(-1, _WAVES)).T @ flat for x in seen])
    products = np.stack([np.einsum("nrd,r->d", x, target) for x in seen])
    scores = np.zeros((len(facts), 4), np.float32)
    for k in range(_FOLDS):
        scores[fold == k] = seen[k] @ _ridge(squares.sum(axis=0) - squares[k], products.sum(axis=0) - products[k])
    share = float((scores.argmax(axis=1) == 0).mean())
    return sample, _ridge(squares.sum(axis=0), products.sum(axis=0)), scores, share


def _ridge(squares: Floats, products: Floats) -> Floats:
    strength = _RIDGE * np.trace(squares)
    solved = np.linalg.solve(squares.astype(np.float64) + strength * np.eye(len(squares)), products)
    return solved.astype(np.float32)


def _blocks(facts: NDArray[np.void]) -> Iterator[Floats]:
    """Random Fourier features of the four turns, ``[pictures, 4, waves]``, some pictures at a time."""
    generator = np.random.default_rng(0)
    waves = generator.normal(0, np.sqrt(2 * _GAMMA), (_VALUES, _WAVES)).astype(np.float32)
    phases = generator.uniform(0, 2 * np.pi, _WAVES).astype(np.float32)
    for start in range(0, len(facts), _BLOCK):
        views = _four_turns(facts[start : start + _BLOCK])
        yield np.cos(views @ waves + phases) * np.float32(np.sqrt(2 / _WAVES))


def _four_turns(facts: NDArray[np.void]) -> Floats:
    """Edges, tones and colours of every picture, turned counter-clockwise by 0, 90, 180 and 270 degrees."""
    tones = _unit(facts["thumbnail"].reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4), dtype=np.float32), centre=True)
    edges = _unit(np.sqrt(_edges(facts["thumbnail"].astype(np.float32))))
    red, green, blue = np.moveaxis(facts["colour_grid"].astype(np.float32) / 255, 3, 0)
    colours = np.stack([red - green, blue - (red + green) / 2], axis=3)
    turns = []
    for turn in range(4):
        edges_turned = np.roll(np.rot90(edges, turn, (1, 2)), 2 * turn, axis=3)  # directions turn with the picture
        parts = edges_turned, np.rot90(tones, turn, (1, 2)), np.rot90(colours, turn, (1, 2))
        turns.append(np.concatenate([part.reshape(len(facts), -1) for part in parts], axis=1))
    return np.stack(turns, axis=1)


def _edges(tones: Floats) -> Floats:
    """Histograms of gradients (Dalal and Triggs 2005): 8 directions in 4×4 cells."""
    padded = np.pad(tones, ((0, 0), (1, 1), (1, 1)), mode="edge")
    right = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    up = padded[:, :-2, 1:-1] - padded[:, 2:, 1:-1]
    direction = np.rint(np.arctan2(up, right) / (np.pi / 4)).astype(np.int64) % 8
    length = np.hypot(right, up)
    cells = [(length * (direction == k)).reshape(-1, 4, 8, 4, 8).sum(axis=(2, 4)) for k in range(8)]
    return np.stack(cells, axis=3)


def _unit(values: NDArray[Any], centre: bool = False) -> Floats:
    """Every picture's values at length 1; a picture without any stays at 0."""
    flat = values.reshape(len(values), -1)
    if centre:
        flat = flat - flat.mean(axis=1, keepdims=True)
    flat = flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6)
    unit: Floats = flat.reshape(values.shape).astype(np.float32)
    return unit
