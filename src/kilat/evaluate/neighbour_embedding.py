"""Points in two dimensions that keep their neighbours near: t-SNE, in a tenth of a second for a thousand points.

t-SNE (van der Maaten, Hinton 2008) as it is done today: it starts at the principal components (Kobak, Berens 2019),
every point draws its few nearest neighbours with the same force (Böhm, Berens, Kobak 2022), and what pushes all pairs
apart is read from a grid: the points are spread over its nodes, and one convolution by FFT gives the forces there
(FIt-SNE: Linderman, Rachh, Hoskins, Steinerberger, Kluger 2019). Nothing is random and nothing runs in threads, so
equal points give equal places.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kilat.runtime.array_types import Doubles, Floats, Ints
from kilat.runtime.cores import single_threaded_blas

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FEWEST = 40
"""Fewer points are shown in their two leading components: each one's nearest neighbours would be a good part of all."""

NEIGHBOURS = 10
"""Of each point. With 15 fewer of the nearest ten stayed near (flowers, 1,000 pictures: 43% instead of 47%)."""

_EXAGGERATION, _EXAGGERATED_STEPS, _STEPS = 12.0, 40, 120
_RATE, _LATE_RATE = 1 / 12, 1 / 3
_MOMENTUM, _LATE_MOMENTUM = 0.5, 0.8
_START = 0.1
_NODES = 48
_ROOM = 1.3
_REACH = np.arange(-1, 2)
"""A point is spread over three nodes a side, by quadratic B-splines."""


def embed(points: Floats) -> Floats:
    """Return places in the plane at which points have the neighbours that they have among each other.

    The longer axis of the whole lies along the first coordinate; distances between groups that lie apart mean little.

    Args:
        points: ``[n, d]``, their leading principal components first.

    Returns:
        ``[n, 2]``, centred, in no particular unit; for fewer than ``FEWEST`` points their two leading components.
    """
    with single_threaded_blas():
        points = points / np.abs(points).max(initial=np.float32(np.finfo(np.float32).tiny))
        leading = np.zeros((len(points), 2), np.float32)
        leading[:, : points.shape[1]] = points[:, :2]
        leading -= leading.mean(0)
        spread = float(leading[:, 0].std())
        if len(points) < FEWEST or spread == 0:
            return leading
        return _along_axes(_descend(leading * np.float32(_START / spread), _attraction(points)))


def neighbours_kept(points: Floats, places: Floats, count: int = NEIGHBOURS) -> float:
    """Return the share of each point's nearest neighbours that are among the nearest of its place as well.

    Args:
        points: ``[n, d]``.
        places: ``[n, 2]``.
        count: how many neighbours of each.
    """
    with single_threaded_blas():
        before, after = (np.sort(_nearest(some, min(count, len(points) - 1)), 1) for some in (points, places))
    both = np.sort(np.concatenate([before, after], 1), 1)
    return float((both[:, 1:] == both[:, :-1]).sum() / max(before.size, 1))


def _nearest(points: Floats, count: int) -> Ints:
    """Return the ``count`` nearest other points of each one, in no order, ``[n, count]``."""
    squares = np.einsum("nd,nd->n", points, points)
    distances = squares - 2 * (points @ points.T)  # less each row's own square, which changes no order
    np.fill_diagonal(distances, np.inf)
    return np.argpartition(distances, count - 1, axis=1)[:, :count]


def _attraction(points: Floats) -> "csr_array":
    """Return how strongly pairs attract each other, mutual neighbours twice as much, ``[n, n]`` with a sum of 1."""
    from scipy.sparse import csr_array

    n = len(points)
    near = _nearest(points, min(NEIGHBOURS, n - 1))
    ends = np.arange(n + 1) * near.shape[1]
    one_way = csr_array((np.ones(near.size, np.float32), near.ravel(), ends), shape=(n, n))
    both: csr_array = (one_way + one_way.T).tocsr()
    both.sort_indices()
    both.data /= np.float32(both.data.sum())
    return both


def _descend(start: Floats, attraction: "csr_array") -> Floats:
    """Go down the gradient of the Kullback-Leibler divergence: first exaggerated, to find the groups, then as it is."""
    n = len(start)
    rows = np.repeat(np.arange(n, dtype=np.int32), np.diff(attraction.indptr))
    strength, columns, forces = attraction.data, attraction.indices, attraction.copy()
    places, velocity = np.ascontiguousarray(start.T), np.zeros((2, n), np.float32)
    ones = np.ones((1, n), np.float32)
    grid = _Grid.around(places)
    for step in range(_STEPS):
        early = step < _EXAGGERATED_STEPS
        grid = grid if grid.fits(places) else _Grid.around(places)
        apart = places[:, rows] - places[:, columns]
        forces.data = strength / (1 + apart[0] ** 2 + apart[1] ** 2)
        # Of one product: the neighbours' places, and how much draws at each point.
        *drawn, total = (forces @ np.concatenate([places, ones]).T).T
        attracted = places * total - np.stack(drawn)
        pushed = grid.repulsion(places)
        gradient = 4 * ((_EXAGGERATION if early else 1) * attracted - pushed)
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
    kernels: Floats

    @classmethod
    def around(cls, places: Floats) -> "_Grid":
        """Return a grid that holds the places ``[2, n]``, with some room to grow."""
        from scipy import fft

        spacing = _ROOM * 2 * max(float(np.abs(places).max()), 1e-3) / (_NODES - 4)
        nodes = np.arange(2 * _NODES)  # twice as many, so that one end of the grid does not act on the other
        distance = spacing * (nodes - 2 * _NODES * (nodes > _NODES))
        kernel: Doubles = 1 / (1 + distance[:, None] ** 2 + distance**2)
        along = [kernel, kernel**2 * distance[:, None], kernel**2 * distance]
        return cls(spacing, fft.rfft2(np.stack(along).astype(np.float32), workers=1))

    def fits(self, places: Floats) -> bool:
        """Return whether the places lie on the grid, and fill a good part of it."""
        share = float(np.abs(places).max()) / (self.spacing * (_NODES - 4) / 2)
        return 1 / (2 * _ROOM) < share <= 1

    def repulsion(self, places: Floats) -> Floats:
        """Return the force with which all others push each point away, ``[2, n]``."""
        from scipy import fft

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
        field = fft.irfft2(fft.rfft2(density, workers=1) * self.kernels, (side, side), workers=1).reshape(3, -1)
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
