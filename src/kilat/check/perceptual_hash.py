"""Perceptual hashes of thumbnails: their low frequencies, and how these change as the picture is cropped a little.

The frequencies are those of perceptual hashes (discrete cosine transform; Zauner 2010), kept as numbers instead of
bits. A crop moves them along a plane, so that copies are found by their tangent distance (Simard, LeCun, Denker 1992).
"""

import numpy as np
from numpy.typing import NDArray

from kilat.runtime.array_types import Floats, Pixels

_FREQUENCIES = 10
_WEIGHT = 0.5
"""High frequencies are weaker in photos; a power of the frequency makes up for a part of that."""


def perceptual_hashes(thumbnails: Pixels) -> Floats:
    """Return vectors of length 1 that do not depend on brightness, ``[n, d]``; zeros where a picture is uniform."""
    return _unit(_spectrum(thumbnails.astype(np.float32)))


def mirrored(hashes: Floats) -> Floats:
    """Return the hashes of the mirrored pictures: odd horizontal frequencies change their sign."""
    _, across = _kept_frequencies()
    return hashes * np.where(across % 2, -1, 1).astype(np.float32)


def tangents(thumbnails: Pixels) -> Floats:
    """Return the directions in which shifts and stretches move a hash, and the hash: orthonormal, ``[n, d, 5]``."""
    pictures = thumbnails.astype(np.float32)
    offsets = (np.arange(pictures.shape[-1], dtype=np.float32) + 0.5) / pictures.shape[-1] - 0.5
    across, down = np.gradient(pictures, axis=2), np.gradient(pictures, axis=1)
    changes = [pictures, across * offsets, across, down * offsets[:, None], down]
    basis: Floats = np.linalg.qr(np.stack([_unit(_spectrum(change)) for change in changes], axis=2))[0]
    return basis


def _spectrum(pictures: Floats) -> Floats:
    down, across = _kept_frequencies()
    side = pictures.shape[-1]
    waves = np.cos(np.pi / side * (np.arange(side) + 0.5) * np.arange(_FREQUENCIES)[:, None]).astype(np.float32)
    spectrum: Floats = (waves @ pictures @ waves.T)[:, down, across]
    return spectrum * (np.hypot(down, across) ** _WEIGHT).astype(np.float32)


def _kept_frequencies() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the vertical and horizontal frequencies that are kept: a triangle without the mean."""
    down, across = np.indices((_FREQUENCIES, _FREQUENCIES))
    inside = (down + across > 0) & (down + across <= _FREQUENCIES)
    return down[inside], across[inside]


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6), np.float32)
