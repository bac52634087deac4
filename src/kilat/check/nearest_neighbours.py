"""The nearest neighbours of many vectors: exactly among few, through inverted lists among many.

Inverted lists as in FAISS's ``IndexIVFFlat`` (Johnson, Douze, Jégou, arXiv 1702.08734): spherical k-means on a sample
gives as many centres as a few roots of the number of vectors, each vector stands in the list of its nearest centre, and
is compared with the lists of its nearest few. NumPy and its matrix products are all it takes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kilat.runtime.cores import parallel_map, single_threaded_blas

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

EXACT = 12_000
"""Up to so many vectors, comparing all with all takes less time than making lists."""

PROBES = 4
"""Lists that a vector is compared with."""

_LISTS_A_ROOT = 4.0
_SAMPLES_A_LIST = 48
_ROUNDS = 5
_LONGEST = 6_000
"""Vectors of one list that are compared with each other: where very many are alike, not all pairs are looked at."""

_BLOCK = 1 << 22
"""Similarities that are held at once by a thread."""


def nearest(vectors: Floats, count: int, queries: Floats | None = None, *, exact: int = EXACT) -> tuple[Rows, Floats]:
    """The most similar other vectors of each one.

    Args:
        vectors: of length 1, ``[n, d]``.
        count: neighbours wanted of each.
        queries: asks for the neighbours of these instead, ``[n, d]``: each is a variant of the vector in its place,
            which is not counted as its neighbour.
        exact: up to so many vectors all are compared with all.

    Returns:
        Where the neighbours stand, most similar first, ``[n, count]``, -1 where there are no more; and their cosine
        similarities, -1 there too. Beyond ``exact`` vectors some neighbours are missed, seldom very near ones.
    """
    asked = vectors if queries is None else queries
    assert asked.shape == vectors.shape
    with single_threaded_blas():
        if len(vectors) <= exact:
            return _among_all(vectors, asked, count)
        return _among_lists(vectors, asked, count)


def _among_all(vectors: Floats, asked: Floats, count: int) -> tuple[Rows, Floats]:
    everyone = np.arange(len(vectors))
    step = max(1, _BLOCK // max(1, len(vectors)))
    starts = range(0, len(vectors), step)
    found = parallel_map(lambda start: _best(vectors, asked, everyone, everyone[start : start + step], count), starts)
    if not found:
        return np.empty((0, count), np.int64), np.empty((0, count), np.float32)
    return np.concatenate([rows for rows, _ in found]), np.concatenate([similar for _, similar in found])


def _best(vectors: Floats, asked: Floats, members: Rows, askers: Rows, count: int) -> tuple[Rows, Floats]:
    """The neighbours of some among some."""
    similar = asked[askers] @ vectors[members].T
    similar[askers[:, None] == members] = -np.inf
    kept = min(count, len(members))
    at = np.argpartition(similar, len(members) - kept, axis=1)[:, len(members) - kept :]
    values = np.take_along_axis(similar, at, axis=1)
    rows = np.full((len(askers), count), -1, np.int64)
    best = np.full((len(askers), count), -1, np.float32)
    order = np.lexsort((at, -values), axis=1)
    rows[:, :kept] = members[np.take_along_axis(at, order, axis=1)]
    best[:, :kept] = np.take_along_axis(values, order, axis=1)
    nobody = np.isneginf(best)
    rows[nobody], best[nobody] = -1, -1
    return rows, best


@dataclass(frozen=True)
class _Meeting:
    """Vectors of one list, or of a part of it, and who asks about them: the n-th nearest list of each asker."""

    members: Rows
    askers: Rows
    probes: Rows


def _among_lists(vectors: Floats, asked: Floats, count: int) -> tuple[Rows, Floats]:
    centres = _centres(vectors)
    home = _closest(vectors, centres, 1)[:, 0]
    visited = _closest(asked, centres, PROBES)
    rows = np.full((len(vectors), PROBES, count), -1, np.int32)
    best = np.full((len(vectors), PROBES, count), -1, np.float32)

    def meet(meeting: _Meeting) -> None:
        step = max(1, _BLOCK // len(meeting.members))
        for start in range(0, len(meeting.askers), step):
            askers, probes = meeting.askers[start : start + step], meeting.probes[start : start + step]
            rows[askers, probes], best[askers, probes] = _best(vectors, asked, meeting.members, askers, count)

    parallel_map(meet, _meetings(vectors, asked, home, visited, len(centres)))
    order = np.argsort(-best.reshape(len(vectors), -1), axis=1, kind="stable")[:, :count]
    chosen = np.take_along_axis(rows.reshape(len(vectors), -1), order, axis=1)
    return chosen.astype(np.int64), np.take_along_axis(best.reshape(len(vectors), -1), order, axis=1)


def _centres(vectors: Floats) -> Floats:
    """Spherical k-means (Dhillon, Modha 2001) on a sample; a centre that nobody is near to stays where it is."""
    dice = np.random.default_rng(0)
    lists = round(_LISTS_A_ROOT * len(vectors) ** 0.5)
    sample = vectors[np.sort(dice.permutation(len(vectors))[: lists * _SAMPLES_A_LIST])]
    centres = sample[np.sort(dice.permutation(len(sample))[:lists])]
    for _round in range(_ROUNDS):
        nearest_one = _closest(sample, centres, 1)[:, 0]
        order, bounds = _sorted(nearest_one, lists)
        filled = np.flatnonzero(np.diff(bounds))
        sums = np.add.reduceat(sample[order], bounds[filled], axis=0)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres[filled] = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centres[filled])
    return centres


def _closest(vectors: Floats, centres: Floats, count: int) -> NDArray[np.int32]:
    """The nearest centres of each vector, ``[n, count]``; of equally near ones the first is among them."""

    def look(start: int) -> NDArray[np.int32]:
        similar = vectors[start : start + step] @ centres.T
        first: NDArray[np.int64] = similar.argmax(axis=1)[:, None]
        if count == 1:
            return first.astype(np.int32)
        several: NDArray[np.int64] = np.argpartition(similar, -count, axis=1)[:, -count:]
        absent = ~(several == first).any(axis=1)
        several[absent, 0] = first[absent, 0]
        return several.astype(np.int32)

    step = max(1, _BLOCK // len(centres))
    return np.concatenate(parallel_map(look, range(0, len(vectors), step)))


def _sorted(lists: NDArray[np.int32], count: int) -> tuple[Rows, Rows]:
    """Who stands in which list: an order by list, and where each begins, ``[count + 1]``."""
    order = np.argsort(lists, kind="stable")
    return order, np.concatenate([[0], np.cumsum(np.bincount(lists, minlength=count))])


def _meetings(
    vectors: Floats, asked: Floats, home: NDArray[np.int32], visited: NDArray[np.int32], count: int
) -> Iterator[_Meeting]:
    """Every list with its askers; one that is too long in parts, along a direction in which near ones stay together."""
    members, begin = _sorted(home, count)
    visits, first = _sorted(visited.ravel(), count)
    direction = np.random.default_rng(1).standard_normal(vectors.shape[1], np.float32)
    for number in range(count):
        inside = members[begin[number] : begin[number + 1]]
        askers, probes = np.divmod(visits[first[number] : first[number + 1]], visited.shape[1])
        if not len(inside) or not len(askers):
            continue
        if len(inside) <= _LONGEST:
            yield _Meeting(inside, askers, probes)
            continue
        places = vectors[inside] @ direction
        order = np.argsort(places, kind="stable")
        bounds = np.arange(0, len(inside), _LONGEST)
        part = np.searchsorted(places[order[bounds[1:]]], asked[askers] @ direction, side="right")
        for at, bound in enumerate(bounds):
            there = part == at
            yield _Meeting(inside[order[bound : bound + _LONGEST]], askers[there], probes[there])
