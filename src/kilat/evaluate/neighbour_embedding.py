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

FEWEST = 40
"""Fewer points are shown in their two leading components: each one's nearest neighbours would be a good part of all."""

NEIGHBOURS = 10
"""Of each point. With 15 fewer of the nearest ten stayed near (flowers, 1,000 pictures: 43% instead of 47%)."""

_EXAGGERATION, _EXAGGERATED_STEPS, _STEPS = 12.0, 25, 80
_RATE, _LATE_RATE = 1 / 12, 0.5  # of the number of points
_MOMENTUM, _LATE_MOMENTUM = 0.5, 0.6  # with 0.8, points that have no groups overshoot
_START = 0.1  # spread of the first coordinate
_NODES, _ROOM = 48, 1.3  # nodes a side of the grid, and how much wider it is than the points when it is made
_REACH = np.arange(-1, 2)
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
    """How strongly pairs of points attract each other, in both directions, by rising ``rows``; the sum is 1.

    Args:
        rows: the one point of each pair.
        columns: the other.
        weights: twice as high between mutual neighbours.
        begins: where the pairs of each point begin.
    """

    rows: Ints
    columns: Ints
    weights: Floats
    begins: Ints

    @classmethod
    def of(cls, near: Ints) -> "_Attraction":
        """Return the attraction of neighbours, ``[n, k]``."""
        n, own = len(near), np.repeat(np.arange(len(near)), near.shape[1])
        pairs, times = np.unique([own * n + near.ravel(), near.ravel() * n + own], return_counts=True)
        rows, columns = np.divmod(pairs, n)
        weights = (times / times.sum()).astype(np.float32)
        return cls(rows, columns, weights, np.searchsorted(rows, np.arange(n)))

    def forces(self, places: Floats) -> Floats:
        """Return what draws each point away from those that attract it, ``[2, n]``."""
        apart = places[:, self.rows] - places[:, self.columns]
        apart *= self.weights / (1 + apart[0] ** 2 + apart[1] ** 2)
        return np.add.reduceat(apart, self.begins, axis=1)


def _descend(start: Floats, attraction: _Attraction) -> Floats:
    """Go down the gradient of the Kullback-Leibler divergence: first exaggerated, to find the groups, then as it is."""
    n = len(start)
    places, velocity = np.ascontiguousarray(start.T), np.zeros((2, n), np.float32)
    grid = _Grid.around(places)
    for step in range(_STEPS):
        early = step < _EXAGGERATED_STEPS
        grid = grid if grid.fits(places) else _Grid.around(places)
        gradient = 4 * ((_EXAGGERATION if early else 1) * attraction.forces(places) - grid.repulsion(places))
        velocity *= np.float32(_MOMENTUM if early else _LATE_MOMENTUM)
        velocity -= np.float32(n * (_RATE if early else _LATE_RATE)) * gradient
        places += velocity
        places -= places.mean(1, keepdims=True)
    return places.T


@dataclass(frozen=True)
class _Grid:
    """A square grid of nodes around the origin, and what one point at a node does to another, at every distance.

    Args:
        spacing: of the nodes.
        kernels: Fourier transforms of Student's kernel, and of its square times the distance along either axis.
    """

    spacing: float
    kernels: NDArray[np.complex64]

    @classmethod
    def around(cls, places: Floats) -> "_Grid":
        """Return a grid that holds the places ``[2, n]``, with some room to grow."""
        spacing = _ROOM * 2 * max(float(np.abs(places).max()), 1e-3) / (_NODES - 4)
        nodes = np.arange(2 * _NODES)  # twice as many, so that one end of the grid does not act on the other
        distance = spacing * (nodes - 2 * _NODES * (nodes > _NODES))
        kernel: Doubles = 1 / (1 + distance[:, None] ** 2 + distance**2)
        along = [kernel, kernel**2 * distance[:, None], kernel**2 * distance]
        return cls(spacing, np.fft.rfft2(np.stack(along).astype(np.float32)).astype(np.complex64, copy=False))

    def fits(self, places: Floats) -> bool:
        """Return whether the places lie on the grid, and fill a good part of it."""
        share = float(np.abs(places).max()) / (self.spacing * (_NODES - 4) / 2)
        return 1 / (2 * _ROOM) < share <= 1

    def repulsion(self, places: Floats) -> Floats:
        """Return the force with which all others push each point away, ``[2, n]``."""
        side = 2 * _NODES
        position = places * np.float32(1 / self.spacing) + np.float32(_NODES / 2)
        nearest = np.rint(position)
        off = position - nearest
        # The weights of three nodes a side make those of nine around the point.
        spline = np.stack([(0.5 - off) ** 2 / 2, 0.75 - off**2, (0.5 + off) ** 2 / 2])
        weights = (spline[:, None, 0] * spline[None, :, 1]).reshape(_REACH.size**2, -1)
        first, second = nearest.astype(np.int32)
        nodes = first * side + second + (_REACH[:, None] * side + _REACH).reshape(-1, 1)
        density = np.bincount(nodes.ravel(), weights.ravel(), side * side).reshape(side, side).astype(np.float32)
        field = np.fft.irfft2(np.fft.rfft2(density) * self.kernels, (side, side)).reshape(3, -1)
        kernel, *forces = np.einsum("kbn,bn->kn", field[:, nodes], weights)
        normaliser = float(kernel.sum(dtype=np.float64)) - places.shape[1]  # no point pushes itself
        repulsion: Floats = np.stack(forces).astype(np.float32) / np.float32(max(normaliser, 1e-12))
        return repulsion


def _along_axes(places: Floats) -> Floats:
    """Return places turned so that they spread most along the first coordinate."""
    _values, vectors = np.linalg.eigh(np.cov(places.T.astype(np.float64)))
    turned = places @ vectors[:, ::-1].astype(np.float32)
    # An eigenvector may point either way: the side with the longer tail lies right, and at the bottom.
    sides = np.sign((turned.astype(np.float64) ** 3).sum(0))
    return np.ascontiguousarray(turned * np.where(sides == 0, 1, sides).astype(np.float32))
