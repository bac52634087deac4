"""Pairs of near-duplicates: candidates from an index of perceptual hashes, registered and compared.

Candidates come from the perceptual hashes of the thumbnails through an index, once as they are and once mirrored; those
whose tangent distance is small are registered and correlated. How similar two pictures must be follows from how similar
pictures are by chance: handwritten ones, or clothes on black, are nearer to each other than photos are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilat.check import perceptual_hash
from kilat.check.nearest_neighbours import nearest_neighbours
from kilat.check.registration import register
from kilat.runtime.array_types import Flags, Floats, Ints, Pixels
from kilat.runtime.cores import parallel_map

NEIGHBOURS = 4
"""Candidates per picture, and as many mirrored ones."""

MAX_DIFFERENCE = 0.04
"""How far the correlation of registered copies may be from 1, among photos."""

_MAX_TANGENT_DISTANCE = 0.25
"""Of candidates, squared: what shifts and stretches of the one do not explain of the other."""

_PHOTO_DISTANCE = 0.7
"""The squared tangent distance of the 20th nearest of a thousand unrelated photos. Where pictures are nearer to each
other by chance, copies must be nearer as well, in proportion."""

_REFERENCES, _REFERENCE_RANK = 1_000, 20
_CROPPED = 0.02
_BLOCK = 512


@dataclass(frozen=True)
class Pairs:
    """Pairs of pictures by their positions.

    Args:
        left: the lower position of each pair, ``[n]``.
        right: the higher one.
        correlation: of the registered thumbnails.
        mirrored: whether one of them is mirrored.
        cropped: whether one shows less than the other.
    """

    left: Ints
    right: Ints
    correlation: Floats
    mirrored: Flags
    cropped: Flags

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """All fields, in their order."""
        return self.left, self.right, self.correlation, self.mirrored, self.cropped

    def select(self, chosen: Flags | Ints) -> "Pairs":
        """Return some of the pairs, by a mask or by their numbers."""
        return Pairs(*(column[chosen] for column in self.columns))

    def concat(self, others: "Pairs") -> "Pairs":
        """Return these pairs and others."""
        columns = zip(self.columns, others.columns, strict=True)
        return Pairs(*(np.concatenate(both) for both in columns))


def unique_pairs(one: Ints, other: Ints, count: int, known: Pairs | None = None) -> tuple[Ints, Ints]:
    """Return every pair once, the lower position first, in order; without pairs of a picture with itself.

    Args:
        one: positions, below ``count``.
        other: those of the others, the same number.
        count: how many pictures there are.
        known: pairs that are left out.
    """
    pairs = np.unique(np.minimum(one, other) * count + np.maximum(one, other))
    left, right = pairs // count, pairs % count
    new = left < right
    if known is not None:
        new &= ~np.isin(pairs, known.left * count + known.right)
    return left[new], right[new]


class PairFinder:
    """Finds pairs of near-duplicates among thumbnails ``[n, side, side]``."""

    def __init__(self, thumbnails: Pixels) -> None:
        self.thumbnails = thumbnails
        self._hashes = _in_blocks(perceptual_hash.perceptual_hashes, thumbnails)
        self._tangents = _in_blocks(perceptual_hash.tangents, thumbnails)
        references = np.random.default_rng(0).permutation(len(thumbnails))[:_REFERENCES]
        self._references = self._hashes[np.sort(references)]

    def candidates(self, rows: Ints) -> tuple[Ints, Ints]:
        """Return pairs of nearest neighbours among some pictures, as they are or mirrored, that a crop may explain."""
        hashes, query_rows = self._hashes[rows], np.repeat(rows, NEIGHBOURS)
        found = []
        for mirrored in (False, True):
            queries = perceptual_hash.mirrored(hashes) if mirrored else None
            neighbours = nearest_neighbours(hashes, NEIGHBOURS, queries)[0].ravel()
            present = neighbours >= 0
            one, other = query_rows[present], rows[neighbours[present]]
            close = self._tangent_distance(one, other, mirrored) < _MAX_TANGENT_DISTANCE
            found.append((one[close], other[close]))
        one, other = (np.concatenate(both) for both in zip(*found, strict=True))
        return unique_pairs(one, other, len(self.thumbnails))

    def verify(self, pairs: tuple[Ints, Ints]) -> Pairs:
        """Return those of some pairs that are near-duplicates, compared as they are and mirrored."""
        left, right = pairs
        involved, position = np.unique(np.concatenate(pairs), return_inverse=True)
        strictness = self._strictness(involved)[position].reshape(2, -1).min(axis=0)
        plain, mirrored = (self._compare(left, right, strictness, mirrored=flipped) for flipped in (False, True))
        better = mirrored.correlation > plain.correlation
        columns = zip(plain.columns, mirrored.columns, strict=True)
        best = Pairs(*(np.where(better, other, one) for one, other in columns))
        return best.select(1 - best.correlation <= strictness * MAX_DIFFERENCE)

    def _compare(self, left: Ints, right: Ints, strictness: Floats, *, mirrored: bool) -> Pairs:
        """Compare pairs one way; only those are registered whose hashes are near enough for that to be worth it."""
        correlation, cropped = np.full(len(left), -1, np.float32), np.zeros(len(left), bool)
        forth, back = (self._tangent_distance(*pair, mirrored) for pair in ((left, right), (right, left)))
        close = np.flatnonzero(np.minimum(forth, back) < _MAX_TANGENT_DISTANCE * strictness**1.5)
        second = self.thumbnails[right[close]]
        second = second[:, :, ::-1] if mirrored else second
        found = register(self.thumbnails[left[close]], second, MAX_DIFFERENCE * strictness[close])
        correlation[close] = found[0]
        cropped[close] = (np.abs(found[1][:, ::2] - 1) > _CROPPED).any(1)
        return Pairs(left, right, correlation, np.full(len(left), mirrored), cropped)

    def _tangent_distance(self, one: Ints, other: Ints, mirrored: bool) -> Floats:
        """Return what shifts and stretches of the one do not explain of the other, squared."""

        def distance(start: int) -> Floats:
            hashes = self._hashes[other[start : start + _BLOCK]]
            hashes = perceptual_hash.mirrored(hashes) if mirrored else hashes
            rest: Floats = 1 - np.square(hashes[:, None] @ self._tangents[one[start : start + _BLOCK]]).sum((1, 2))
            return rest

        return _concatenated(parallel_map(distance, range(0, len(one), _BLOCK)))

    def _strictness(self, rows: Ints) -> Floats:
        """Return how near a copy of each picture must be, as a share of what is near enough among photos."""
        if len(self._references) <= _REFERENCE_RANK:
            return np.ones(len(rows), np.float32)

        def distance(start: int) -> Floats:
            tangents = self._tangents[rows[start : start + _BLOCK]]
            count, width, directions = tangents.shape
            explained = self._references @ tangents.transpose(1, 0, 2).reshape(width, -1)
            rest = 1 - np.square(explained).reshape(-1, count, directions).sum(2)
            return np.asarray(np.partition(rest, _REFERENCE_RANK, axis=0)[_REFERENCE_RANK], np.float32)

        distances = _concatenated(parallel_map(distance, range(0, len(rows), _BLOCK)))
        return np.asarray(np.clip(distances / _PHOTO_DISTANCE, 0, 1), np.float32)


def _in_blocks(work: Callable[[Pixels], Floats], thumbnails: Pixels) -> Floats:
    starts = range(0, len(thumbnails), _BLOCK)
    return np.concatenate(parallel_map(lambda start: work(thumbnails[start : start + _BLOCK]), starts))


def _concatenated(parts: list[Floats]) -> Floats:
    return np.concatenate(parts) if parts else np.empty(0, np.float32)
