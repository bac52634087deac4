"""Points in two dimensions that keep their neighbours near: t-SNE, in a tenth of a second for a thousand points.

t-SNE (van der Maaten, Hinton 2008) as it is done today: it starts at the principal components (Kobak, Berens 2019),
every point draws its few nearest neighbours with the same force (Böhm, Berens, Kobak 2022), and what pushes all pairs
apart is read from a grid: the points are spread over its nodes, and one convolution by FFT gives the forces there
(FIt-SNE: Linderman, Rachh, Hoskins, Steinerberger, Kluger 2019). Nothing is random and nothing runs in threads, so
equal points give equal places.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kilat.runtime.array_types import Doubles, Floats, Ints
from kilat.runtime.cores import single_threaded_blas

Complexes = NDArray[np.complex64]

FEWEST = 40
"""Fewer points are shown in their two leading components: each one's nearest neighbours would be a good part of all."""

NEIGHBOURS = 10
"""Of each point. With 15 fewer of the nearest ten stayed near (flowers, 1,000 pictures: 43% instead of 47%)."""

_EXAGGERATION, _EXAGGERATED_STEPS, _STEPS = 12.0, 25, 80
_RATE, _LATE_RATE = 1 / 12, 0.5  # of the number of points
_MOMENTUM, _LATE_MOMENTUM = 0.5, 0.6  # with 0.8, points that have no groups overshoot
_START = 0.1  # spread of the first coordinate
_NODES, _ROOM = 48, 1.3  # nodes a side of the grid, and how much wider it is than the points when it is made
_AROUND = np.arange(-1, 2)
"""A point is spread over three nodes a side, by quadratic B-splines."""


class Placed(NamedTuple):
    """Points in the plane.

    Args:
        places: ``[n, 2]``, centred, in no particular unit; the longer axis of the whole along the first coordinate.
        neighbours_kept: the share of each point's ten nearest neighbours that are among the ten nearest of its place.
    """

    places: Floats
    neighbours_kept: float


def embed(points: Floats) -> Placed:
    """Place points so that they have the neighbours that they have among each other; gaps between groups mean little.

    Fewer than ``FEWEST`` points lie where their two leading components are.

    Args:
        points: two or more, ``[n, d]``, their leading principal components first.
    """
    with single_threaded_blas():
        points = points / np.abs(points).max(initial=np.float32(np.finfo(np.float32).tiny))
        near = _nearest(points)
        places = np.zeros((len(points), 2), np.float32)
        places[:, : points.shape[1]] = points[:, :2]
        places -= places.mean(0)
        spread = float(places[:, 0].std())
        if len(points) >= FEWEST and spread > 0:
            places = _along_axes(_descend(places * np.float32(_START / spread), _Attraction.of(near)))
        both = np.sort(np.concatenate([near, _nearest(places)], 1), 1)
        return Placed(places, float((both[:, 1:] == both[:, :-1]).sum() / near.size))


def _nearest(points: Floats) -> Ints:
    """Return the ten nearest other points of each one, in no order, ``[n, 10]``; fewer where there are no more."""
    count = min(NEIGHBOURS, len(points) - 1)
    squares = np.einsum("nd,nd->n", points, points)
    distances = squares - 2 * (points @ points.T)  # less each row's own square, which changes no order
    np.fill_diagonal(distances, np.inf)
    return np.argpartition(distances, count - 1, axis=1)[:, :count]


class _Attraction(NamedTuple):
    """How strongly pairs of points attract each other, in both directions, by the rising first one; the sum is 1.

    Args:
        counts: how many pairs each point is the first of.
        begins: where they begin.
        others: the second point of each pair.
        weights: of the pairs, twice as high between mutual neighbours.
    """

    counts: Ints
    begins: Ints
    others: Ints
    weights: Floats

    @classmethod
    def of(cls, near: Ints) -> "_Attraction":
        """Return the attraction of neighbours, ``[n, k]``."""
        n, own = len(near), np.repeat(np.arange(len(near)), near.shape[1])
        pairs, times = np.unique([own * n + near.ravel(), near.ravel() * n + own], return_counts=True)
        counts = np.bincount(pairs // n, minlength=n)
        return cls(counts, np.cumsum(counts) - counts, pairs % n, (times / times.sum()).astype(np.float32))

    def forces(self, places: Complexes) -> Complexes:
        """Return what draws each point away from those that attract it, ``[n]``."""
        apart = np.repeat(places, self.counts)
        apart -= places[self.others]
        apart *= self.weights / (1 + apart.real**2 + apart.imag**2)
        return np.add.reduceat(apart, self.begins)


def _descend(start: Floats, attraction: _Attraction) -> Floats:
    """Go down the gradient of the Kullback-Leibler divergence: first exaggerated, to find the groups, then as it is.

    Places are complex numbers here: with one look-up for both coordinates it takes half of the time.
    """
    n = len(start)
    places: Complexes = np.ascontiguousarray(start).view(np.complex64)[:, 0]
    velocity = np.zeros_like(places)
    grid = _Grid.around(places)
    for step in range(_STEPS):
        early = step < _EXAGGERATED_STEPS
        grid = grid if grid.fits(places) else _Grid.around(places)
        gradient = (_EXAGGERATION if early else 1) * attraction.forces(places) - grid.repulsion(places)
        velocity *= _MOMENTUM if early else _LATE_MOMENTUM
        velocity -= 4 * n * (_RATE if early else _LATE_RATE) * gradient
        places += velocity
        places -= places.mean()
    return places.view(np.float32).reshape(n, 2)


@dataclass(frozen=True)
class _Grid:
    """A square grid of nodes around the origin, and what one point at a node does to another, at every distance.

    Args:
        spacing: of the nodes.
        kernels: Fourier transforms of Student's kernel, and of its square times the distance along either axis.
    """

    spacing: float
    kernels: Complexes

    @classmethod
    def around(cls, places: Complexes) -> "_Grid":
        """Return a grid that holds the places ``[n]``, with some room to grow."""
        spacing = _ROOM * 2 * max(_reach(places), 1e-3) / (_NODES - 4)
        nodes = np.arange(2 * _NODES)  # twice as many, so that one end of the grid does not act on the other
        distance = spacing * (nodes - 2 * _NODES * (nodes > _NODES))
        kernel: Doubles = 1 / (1 + distance[:, None] ** 2 + distance**2)
        along = [kernel, kernel**2 * distance[:, None], kernel**2 * distance]
        return cls(spacing, np.fft.rfft2(np.stack(along).astype(np.float32)).astype(np.complex64, copy=False))

    def fits(self, places: Complexes) -> bool:
        """Return whether the places lie on the grid, and fill a good part of it."""
        share = _reach(places) / (self.spacing * (_NODES - 4) / 2)
        return 1 / (2 * _ROOM) < share <= 1

    def repulsion(self, places: Complexes) -> Complexes:
        """Return the force with which all others push each point away, ``[n]``."""
        side = 2 * _NODES
        position = np.stack([places.real, places.imag]) * np.float32(1 / self.spacing) + np.float32(_NODES / 2)
        nearest = np.rint(position)
        off = position - nearest
        # The weights of three nodes a side make those of nine around the point.
        spline = np.stack([(0.5 - off) ** 2 / 2, 0.75 - off**2, (0.5 + off) ** 2 / 2])
        weights = (spline[:, None, 0] * spline[None, :, 1]).reshape(_AROUND.size**2, -1)
        first, second = nearest.astype(np.int64)
        nodes = first * side + second + (_AROUND[:, None] * side + _AROUND).reshape(-1, 1)
        density = np.bincount(nodes.ravel(), weights.ravel(), side * side).reshape(side, side).astype(np.float32)
        kernel, down, across = np.fft.irfft2(np.fft.rfft2(density) * self.kernels, (side, side))
        force = (down + np.complex64(1j) * across).ravel()
        normaliser = float((density * kernel).sum(dtype=np.float64)) - len(places)  # no point pushes itself
        pushed: Complexes = np.einsum("bn,bn->n", force[nodes], weights)
        return pushed / np.float32(max(normaliser, 1e-12))


def _reach(places: Complexes) -> float:
    """Return how far from the origin places lie, along either axis."""
    return float(max(np.abs(places.real).max(), np.abs(places.imag).max()))


def _along_axes(places: Floats) -> Floats:
    """Return places turned so that they spread most along the first coordinate."""
    _values, vectors = np.linalg.eigh(np.cov(places.T.astype(np.float64)))
    turned = places @ vectors[:, ::-1].astype(np.float32)
    # An eigenvector may point either way: the side with the longer tail lies right, and at the bottom.
    sides = np.sign((turned.astype(np.float64) ** 3).sum(0))
    return np.ascontiguousarray(turned * np.where(sides == 0, 1, sides).astype(np.float32))
