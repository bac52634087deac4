"""What a thumbnail is recognised by: its low frequencies, and how these change as the picture is cropped a little.

The frequencies are those of perceptual hashes (discrete cosine transform; Zauner 2010), kept as numbers. A crop moves
them along a plane, so that copies are told from others by their tangent distance (Simard, LeCun, Denker 1992).
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_FREQUENCIES = 10
_WEIGHT = 0.5
"""High frequencies are weaker in photos; a power of the frequency brings them nearer to the others."""


def prints(thumbnails: Bytes) -> Floats:
    """Vectors of length 1 that brightness does not change, ``[n, d]``; zeros where a picture is uniform."""
    return _unit(_spectrum(thumbnails.astype(np.float32)))


def mirrored(prints: Floats) -> Floats:
    """What the vectors of the pictures in a mirror are: odd frequencies change their sign."""
    _, across = _kept()
    return prints * np.where(across % 2, -1, 1).astype(np.float32)


def tangents(thumbnails: Bytes) -> Floats:
    """Where shifts and stretches lead: an orthonormal basis with the vector itself, ``[n, d, 5]``."""
    pictures = thumbnails.astype(np.float32)
    places = (np.arange(pictures.shape[-1], dtype=np.float32) + 0.5) / pictures.shape[-1] - 0.5
    across, down = np.gradient(pictures, axis=2), np.gradient(pictures, axis=1)
    moves = [pictures, across * places, across, down * places[:, None], down]
    basis: Floats = np.linalg.qr(np.stack([_unit(_spectrum(move)) for move in moves], axis=2))[0]
    return basis


def _spectrum(pictures: Floats) -> Floats:
    down, across = _kept()
    side = pictures.shape[-1]
    waves = np.cos(np.pi / side * (np.arange(side) + 0.5) * np.arange(_FREQUENCIES)[:, None]).astype(np.float32)
    found: Floats = (waves @ pictures @ waves.T)[:, down, across]
    return found * (np.hypot(down, across) ** _WEIGHT).astype(np.float32)


def _kept() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Vertical and horizontal frequencies that are kept: a triangle without the mean."""
    down, across = np.indices((_FREQUENCIES, _FREQUENCIES))
    inside = (down + across > 0) & (down + across <= _FREQUENCIES)
    return down[inside], across[inside]


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6), np.float32)
