"""Pictures in few coordinates: features standardised, cut, and turned into their leading principal components.

The components come from a randomised range finder (Halko et al., arXiv 0909.4061) on the smaller Gram matrix, in
chunks, so that the features are never copied as a whole.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from kilat.features.backbone import Block
from kilat.runtime.cores import parallel_map, threads

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
F = TypeVar("F", np.float32, np.float64)

CLIP = 4.0
"""Standardised features are cut at this many standard deviations (cross-validation: 3 and 4 alike, no cut worse)."""

BLOCK_WEIGHTS = {"last": 0.7}
"""How much a block counts against the others. The last features are many and say similar things (cross-validation)."""

_CHUNK = 1024
_OVERSAMPLING = 32
_LEAST_INDEPENDENT = 1e-5


@dataclass(frozen=True)
class PrincipalComponents:
    """Where pictures stand: ``points = clip((features - mean) * scale, ±CLIP) @ basis``, and a one for the bias.

    Args:
        points: of all pictures, ``[any number, components + 1]``; those that counted have a mean square length of one.
        mean: ``[features]``.
        scale: ``[features]``, one over the standard deviation.
        basis: ``[features, components]``.
    """

    points: Floats
    mean: Floats
    scale: Floats
    basis: Floats


def coordinates(features: Floats, rows: Ints, blocks: Sequence[Block], count: int) -> PrincipalComponents:
    """The pictures in at most ``count`` coordinates, which are found on some rows of the features and taken for all.

    The coordinates are written over the features, so that a large set never needs room for both.
    """
    relative = np.concatenate(
        [np.full(b.width, BLOCK_WEIGHTS.get(b.name.rpartition(".")[2], 1.0), np.float32) for b in blocks]
    )
    mean, scale = _moments(features, rows)
    basis = _components(features, rows, mean, scale, relative, count)
    points = _placed(features, mean, scale, basis)
    squares = [np.einsum("ij,ij->", part, part, dtype=np.float64) for part in chunks(points[:, :-1], rows)]
    length = np.float32(max(np.sqrt(np.sum(squares) / len(rows)), 1e-12))
    points[:, :-1] /= length
    return PrincipalComponents(points, mean, scale, basis / length)


def standardise(features: Floats, mean: Floats, scale: Floats) -> Floats:
    """Features ``[n, features]`` as deviations from the mean, none larger than ``CLIP``."""
    standard: Floats = np.clip((features - mean) * scale, -CLIP, CLIP)
    return standard


def slices(count: int) -> Iterator[slice]:
    """The positions 0 to ``count - 1``, some thousand at a time."""
    for start in range(0, count, _CHUNK):
        yield slice(start, start + _CHUNK)


def chunks(features: Floats, rows: Ints) -> Iterator[Floats]:
    """Some rows, some thousand at a time."""
    for some in slices(len(rows)):
        yield features[rows[some]]


def _moments(features: Floats, rows: Ints) -> tuple[Floats, Floats]:
    """Mean, and one over the standard deviation, of every feature, chunk by chunk."""
    count = len(rows)
    mean = (sum(chunk.sum(0, dtype=np.float64) for chunk in chunks(features, rows)) / count).astype(np.float32)
    variance = sum(np.square(chunk - mean).sum(0, dtype=np.float64) for chunk in chunks(features, rows)) / count
    return mean, (1 / np.sqrt(variance + 1e-10)).astype(np.float32)


def _components(features: Floats, rows: Ints, mean: Floats, scale: Floats, relative: Floats, count: int) -> Floats:
    """The leading principal directions ``[features, count]``, weighted by block, for standardised features."""
    pictures, width = len(rows), features.shape[1]
    count = min(count, width, pictures)
    if pictures <= width:
        weighted = standardise(features[rows], mean, scale) * relative
        mixtures, squares = leading(weighted @ weighted.T, count)
        directions = (weighted.T @ (mixtures / np.sqrt(squares))).astype(np.float32)
    else:
        directions, _ = leading(_gram(features, rows, mean, scale, relative), count)
    return directions * relative[:, None]


def _orthonormal(columns: Floats) -> Floats:
    """An orthonormal basis of what some columns span, ``[n, k]``.

    By Cholesky in float64 (Fukaya et al. 2014), which is matrix products and so a third of the time of Householder's
    QR; that is left for columns that depend on each other too closely.
    """
    precise = columns.astype(np.float64)
    try:
        triangle = np.linalg.cholesky(precise.T @ precise)
    except np.linalg.LinAlgError:
        return np.linalg.qr(columns)[0]
    diagonal = np.diagonal(triangle)
    if diagonal.min() < _LEAST_INDEPENDENT * diagonal.max():
        return np.linalg.qr(columns)[0]
    return _product(precise, np.linalg.inv(triangle).T).astype(np.float32)


def _gram(features: Floats, rows: Ints, mean: Floats, scale: Floats, relative: Floats) -> Floats:
    """Products of all pairs of standardised features, ``[features, features]``; every core sums up its own chunks."""
    cores = threads()
    size = max(1, min(_CHUNK, -(-len(rows) // cores)))

    def share(core: int) -> Floats:
        total = np.zeros((features.shape[1], features.shape[1]), np.float32)
        for start in range(core * size, len(rows), cores * size):
            weighted = standardise(features[rows[start : start + size]], mean, scale) * relative
            total += weighted.T @ weighted
        return total

    gram: Floats = np.sum(parallel_map(share, range(cores)), axis=0, dtype=np.float32)
    return gram


def _product(left: NDArray[F], right: NDArray[F]) -> NDArray[F]:
    """A matrix product, some rows a core."""
    return np.concatenate(parallel_map(lambda part: part @ right, np.array_split(left, threads())))


def leading(gram: Floats, count: int) -> tuple[Floats, Floats]:
    """Approximate leading eigenvectors and eigenvalues of a symmetric positive matrix, largest first."""
    size = len(gram)
    if size > count + _OVERSAMPLING:
        start = np.random.default_rng(0).standard_normal((size, count + _OVERSAMPLING), dtype=np.float32)
        span = _orthonormal(_product(gram, start))
        values, inner = np.linalg.eigh(span.T @ _product(gram, span))
        vectors = span @ inner
    else:
        values, vectors = np.linalg.eigh(gram)
    order = np.argsort(values)[::-1][:count]
    order = order[values[order] > values.max() * 1e-7]
    return np.ascontiguousarray(vectors[:, order]), values[order]


def _placed(features: Floats, mean: Floats, scale: Floats, basis: Floats) -> Floats:
    """All pictures in the basis, with a one behind for the bias, in the place of the features where that has room."""
    count, width = len(features), basis.shape[1] + 1
    if width <= features.shape[1] and features.flags.c_contiguous:
        points = features.reshape(-1)[: count * width].reshape(count, width)
    else:
        points = np.empty((count, width), np.float32)
    for some in slices(count):  # in order: what is written never reaches what is still to be read
        placed = _product(standardise(features[some], mean, scale), basis)
        points[some, :-1], points[some, -1] = placed, 1
    return points
