"""Principal components of features that were standardised and clipped, and every picture's scores on them.

The components come from a randomised range finder (Halko et al., arXiv 0909.4061) on the smaller Gram matrix, in
chunks, so that the features are never copied as a whole.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from kilat.features.backbone import Block
from kilat.runtime.array_types import Floats, Ints
from kilat.runtime.cores import available_cores, parallel_map

F = TypeVar("F", np.float32, np.float64)

CLIP = 4.0
"""Standardised features are clipped at this many standard deviations (cross-validation: 3 and 4 alike, none worse)."""

BLOCK_WEIGHTS = {"last": 0.7}
"""How much a block counts against the others. The last features are many and redundant (cross-validation)."""

_CHUNK = 1024
_OVERSAMPLING = 32
_LEAST_INDEPENDENT = 1e-5


@dataclass(frozen=True)
class PrincipalComponents:
    """Components, and the scores of pictures: ``scores = clip((features - mean) * scale, ±CLIP) @ basis``, then a 1.

    Args:
        scores: of all pictures, ``[any number, components + 1]``, the last column a constant one for the bias. Those of
            the pictures that the components were found on have a mean square length of one.
        mean: ``[features]``.
        scale: ``[features]``, one over the standard deviation.
        basis: ``[features, components]``.
    """

    scores: Floats
    mean: Floats
    scale: Floats
    basis: Floats


@dataclass(frozen=True)
class Directions:
    """The leading principal directions of some pictures.

    Args:
        mean: ``[features]``.
        scale: ``[features]``, one over the standard deviation.
        directions: of standardised features, weighted by block, ``[features, count]``.
    """

    mean: Floats
    scale: Floats
    directions: Floats

    def project(self, features: Floats, rows: Ints, *, overwrite_features: bool = False) -> PrincipalComponents:
        """Return the components, and the scores of all pictures on them.

        Args:
            features: ``[any number, features]``.
            rows: those that the directions were found on, ``[n]``.
            overwrite_features: whether the scores may be written over the features, which are worthless then, so that a
                large set needs no room for both.
        """
        scores = _scores(features, self.mean, self.scale, self.directions, overwrite_features=overwrite_features)
        squares = [np.einsum("ij,ij->", chunk, chunk, dtype=np.float64) for chunk in _chunks(scores[:, :-1], rows)]
        length = np.float32(max(np.sqrt(np.sum(squares) / len(rows)), 1e-12))
        scores[:, :-1] /= length
        return PrincipalComponents(scores, self.mean, self.scale, self.directions / length)


def principal_directions(features: Floats, rows: Ints, blocks: Sequence[Block], count: int) -> Directions:
    """Find at most ``count`` directions on some rows of the features.

    Args:
        features: ``[any number, features]``.
        rows: those that the directions are found on, ``[n]``.
        blocks: how the features are laid out.
        count: the largest number of directions.
    """
    block_weights = np.concatenate(
        [np.full(b.width, BLOCK_WEIGHTS.get(b.name.rpartition(".")[2], 1.0), np.float32) for b in blocks]
    )
    mean = (sum(chunk.sum(0, dtype=np.float64) for chunk in _chunks(features, rows)) / len(rows)).astype(np.float32)
    variance = sum(np.square(chunk - mean).sum(0, dtype=np.float64) for chunk in _chunks(features, rows)) / len(rows)
    scale = (1 / np.sqrt(variance + 1e-10)).astype(np.float32)
    return Directions(mean, scale, _basis(features, rows, mean, scale, block_weights, count))


def standardise(features: Floats, mean: Floats, scale: Floats) -> Floats:
    """Return features ``[n, features]`` in standard deviations from the mean, clipped at ``CLIP``."""
    standard: Floats = np.clip((features - mean) * scale, -CLIP, CLIP)
    return standard


def leading_eigenvectors(gram: Floats, count: int) -> tuple[Floats, Floats]:
    """Return approximate leading eigenvectors and eigenvalues of a symmetric positive matrix, largest first.

    Returns:
        ``[n, k]`` and ``[k]``, where ``k`` is ``count`` or, for a matrix of lower rank, less.
    """
    size = len(gram)
    if size > count + _OVERSAMPLING:
        start = np.random.default_rng(0).standard_normal((size, count + _OVERSAMPLING), dtype=np.float32)
        span = _orthonormal(_matmul(gram, start))
        values, inner = np.linalg.eigh(span.T @ _matmul(gram, span))
        vectors = span @ inner
    else:
        values, vectors = np.linalg.eigh(gram)
    order = np.argsort(values)[::-1][:count]
    order = order[values[order] > values.max() * 1e-7]
    return np.ascontiguousarray(vectors[:, order]), values[order]


def slices(count: int) -> Iterator[slice]:
    """Yield the positions 0 to ``count - 1`` in slices of some thousand."""
    for start in range(0, count, _CHUNK):
        yield slice(start, start + _CHUNK)


def _chunks(features: Floats, rows: Ints) -> Iterator[Floats]:
    for chunk in slices(len(rows)):
        yield features[rows[chunk]]


def _basis(features: Floats, rows: Ints, mean: Floats, scale: Floats, block_weights: Floats, count: int) -> Floats:
    """Return the leading principal directions ``[features, count]`` of standardised features, weighted by block."""
    pictures, width = len(rows), features.shape[1]
    count = min(count, width, pictures)
    if pictures <= width:
        weighted = standardise(features[rows], mean, scale) * block_weights
        vectors, values = leading_eigenvectors(weighted @ weighted.T, count)
        directions = (weighted.T @ (vectors / np.sqrt(values))).astype(np.float32)
    else:
        directions, _ = leading_eigenvectors(_gram(features, rows, mean, scale, block_weights), count)
    return directions * block_weights[:, None]


def _gram(features: Floats, rows: Ints, mean: Floats, scale: Floats, block_weights: Floats) -> Floats:
    """Return the Gram matrix of standardised features, ``[features, features]``; every core sums its own chunks."""
    cores = available_cores()
    size = max(1, min(_CHUNK, -(-len(rows) // cores)))

    def partial_sum(core: int) -> Floats:
        total = np.zeros((features.shape[1], features.shape[1]), np.float32)
        for start in range(core * size, len(rows), cores * size):
            weighted = standardise(features[rows[start : start + size]], mean, scale) * block_weights
            total += weighted.T @ weighted
        return total

    gram: Floats = np.sum(parallel_map(partial_sum, range(cores)), axis=0, dtype=np.float32)
    return gram


def _scores(features: Floats, mean: Floats, scale: Floats, basis: Floats, *, overwrite_features: bool) -> Floats:
    """Return the scores of all pictures, with a column of ones; over the features where these may go and have room."""
    count, width = len(features), basis.shape[1] + 1
    if overwrite_features and width <= features.shape[1] and features.flags.c_contiguous:
        scores = features.reshape(-1)[: count * width].reshape(count, width)
    else:
        scores = np.empty((count, width), np.float32)
    for chunk in slices(count):  # in order: what is written never reaches what is still to be read
        projected = _matmul(standardise(features[chunk], mean, scale), basis)
        scores[chunk, :-1], scores[chunk, -1] = projected, 1
    return scores


def _orthonormal(columns: Floats) -> Floats:
    """Return an orthonormal basis of what some columns span, ``[n, k]``.

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
    return _matmul(precise, np.linalg.inv(triangle).T).astype(np.float32)


def _matmul(left: NDArray[F], right: NDArray[F]) -> NDArray[F]:
    """Multiply matrices, some rows a core."""
    return np.concatenate(parallel_map(lambda part: part @ right, np.array_split(left, available_cores())))
