"""The nearest neighbours of many vectors: exact among few, through inverted lists among many.

Inverted lists as in FAISS's ``IndexIVFFlat`` (Johnson, Douze, Jégou, arXiv 1702.08734): spherical k-means on a sample
gives as many centres as a few roots of the number of vectors, each vector stands in the list of its nearest centre, and
a query is compared with the lists of its nearest few. NumPy and its matrix products are all it takes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kilat.runtime.array_types import Floats, Ints
from kilat.runtime.cores import parallel_map, single_threaded_blas

EXACT = 12_000
"""Up to so many vectors, comparing all with all takes less time than building lists."""

PROBES = 4
"""Lists that a query is compared with."""

LONGEST_LIST = 6_000
"""A longer list is compared in parts: where very many vectors are alike, not all pairs are compared."""

_LISTS_PER_ROOT = 4.0
_SAMPLES_PER_LIST = 48
_ROUNDS = 5

_BLOCK = 1 << 22
"""Similarities that a thread holds at once."""


def nearest_neighbours(
    vectors: Floats,
    count: int,
    queries: Floats | None = None,
    *,
    exact: int = EXACT,
    longest_list: int = LONGEST_LIST,
) -> tuple[Ints, Floats]:
    """Find the most similar other vectors of each one.

    Args:
        vectors: of length 1, ``[n, d]``.
        count: neighbours wanted of each.
        queries: find the neighbours of these instead, ``[n, d]``: each is a variant of the vector in its row, which
            does not count as its neighbour.
        exact: up to so many vectors all are compared with all.
        longest_list: longer inverted lists are compared in parts.

    Returns:
        The rows of the neighbours, most similar first, ``[n, count]``, -1 where there are no more; and their cosine
        similarities, -1 there too. Beyond ``exact`` vectors some neighbours are missed, seldom very near ones.
    """
    queries = vectors if queries is None else queries
    assert queries.shape == vectors.shape
    with single_threaded_blas():
        if len(vectors) > exact:
            return _through_lists(vectors, queries, count, longest_list)
        rows = np.arange(len(vectors))
        step = max(1, _BLOCK // max(1, len(vectors)))
        starts = range(0, len(vectors), step)
        found = parallel_map(lambda start: _best(vectors, queries, rows, rows[start : start + step], count), starts)
    if not found:
        return np.empty((0, count), np.int64), np.empty((0, count), np.float32)
    return np.concatenate([rows for rows, _ in found]), np.concatenate([similarity for _, similarity in found])


def _best(vectors: Floats, queries: Floats, members: Ints, query_rows: Ints, count: int) -> tuple[Ints, Floats]:
    """Return the neighbours of some queries among some vectors, as ``nearest_neighbours`` does."""
    similarity = queries[query_rows] @ vectors[members].T
    similarity[query_rows[:, None] == members] = -np.inf
    kept = min(count, len(members))
    columns = np.argpartition(similarity, len(members) - kept, axis=1)[:, len(members) - kept :]
    values = np.take_along_axis(similarity, columns, axis=1)
    rows = np.full((len(query_rows), count), -1, np.int64)
    best = np.full((len(query_rows), count), -1, np.float32)
    order = np.lexsort((columns, -values), axis=1)
    rows[:, :kept] = members[np.take_along_axis(columns, order, axis=1)]
    best[:, :kept] = np.take_along_axis(values, order, axis=1)
    absent = np.isneginf(best)
    rows[absent], best[absent] = -1, -1
    return rows, best


@dataclass(frozen=True)
class Probe:
    """An inverted list, or a part of it, with its queries; for each of these it is the n-th nearest list."""

    members: Ints
    query_rows: Ints
    ranks: Ints


def _through_lists(vectors: Floats, queries: Floats, count: int, longest_list: int) -> tuple[Ints, Floats]:
    centres = _centres(vectors)
    own_list = _closest_centres(vectors, centres, 1)[:, 0]
    probed_lists = _closest_centres(queries, centres, PROBES)
    rows = np.full((len(vectors), PROBES, count), -1, np.int32)
    best = np.full((len(vectors), PROBES, count), -1, np.float32)

    def compare(probe: Probe) -> None:
        step = max(1, _BLOCK // len(probe.members))
        for start in range(0, len(probe.query_rows), step):
            query_rows, ranks = probe.query_rows[start : start + step], probe.ranks[start : start + step]
            found = _best(vectors, queries, probe.members, query_rows, count)
            rows[query_rows, ranks], best[query_rows, ranks] = found

    parallel_map(compare, probes(vectors, queries, own_list, probed_lists, len(centres), longest_list))
    order = np.argsort(-best.reshape(len(vectors), -1), axis=1, kind="stable")[:, :count]
    chosen = np.take_along_axis(rows.reshape(len(vectors), -1), order, axis=1)
    return chosen.astype(np.int64), np.take_along_axis(best.reshape(len(vectors), -1), order, axis=1)


def _centres(vectors: Floats) -> Floats:
    """Return centres by spherical k-means (Dhillon, Modha 2001) on a sample; one without any vectors stays as it is."""
    generator = np.random.default_rng(0)
    lists = round(_LISTS_PER_ROOT * len(vectors) ** 0.5)
    sample = vectors[np.sort(generator.permutation(len(vectors))[: lists * _SAMPLES_PER_LIST])]
    centres = sample[np.sort(generator.permutation(len(sample))[:lists])]
    for _round in range(_ROUNDS):
        order, bounds = _by_list(_closest_centres(sample, centres, 1)[:, 0], lists)
        filled = np.flatnonzero(np.diff(bounds))
        sums = np.add.reduceat(sample[order], bounds[filled], axis=0)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres[filled] = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centres[filled])
    return centres


def _closest_centres(vectors: Floats, centres: Floats, count: int) -> NDArray[np.int32]:
    """Return the nearest centres of each vector, ``[n, count]``; of equally near ones the first is among them."""

    def closest(start: int) -> NDArray[np.int32]:
        similarity = vectors[start : start + step] @ centres.T
        first: Ints = similarity.argmax(axis=1)[:, None]
        if count == 1:
            return first.astype(np.int32)
        several: Ints = np.argpartition(similarity, -count, axis=1)[:, -count:]
        absent = ~(several == first).any(axis=1)
        several[absent, 0] = first[absent, 0]
        return several.astype(np.int32)

    step = max(1, _BLOCK // len(centres))
    return np.concatenate(parallel_map(closest, range(0, len(vectors), step)))


def _by_list(lists: NDArray[np.int32], count: int) -> tuple[Ints, Ints]:
    """Return an order of vectors by their list, and where each list begins in it, ``[count + 1]``."""
    order = np.argsort(lists, kind="stable")
    return order, np.concatenate([[0], np.cumsum(np.bincount(lists, minlength=count))])


def probes(
    vectors: Floats,
    queries: Floats,
    own_list: NDArray[np.int32],
    probed_lists: NDArray[np.int32],
    lists: int,
    longest: int,
) -> Iterator[Probe]:
    """Yield every inverted list with its queries; one longer than ``longest`` in parts.

    It is cut along a random direction, so that near vectors stay together.

    Args:
        vectors: ``[n, d]``.
        queries: ``[n, d]``.
        own_list: the list that each vector stands in, ``[n]``.
        probed_lists: the lists that each query is compared with, nearest first, ``[n, probes]``.
        lists: how many there are.
        longest: vectors of one part at most.
    """
    members, member_bounds = _by_list(own_list, lists)
    list_probes, probe_bounds = _by_list(probed_lists.ravel(), lists)
    direction = np.random.default_rng(1).standard_normal(vectors.shape[1], np.float32)
    for number in range(lists):
        inside = members[member_bounds[number] : member_bounds[number + 1]]
        own_probes = list_probes[probe_bounds[number] : probe_bounds[number + 1]]
        query_rows, ranks = np.divmod(own_probes, probed_lists.shape[1])
        if not len(inside) or not len(query_rows):
            continue
        if len(inside) <= longest:
            yield Probe(inside, query_rows, ranks)
            continue
        positions = vectors[inside] @ direction
        order = np.argsort(positions, kind="stable")
        starts = np.arange(0, len(inside), longest)
        part = np.searchsorted(positions[order[starts[1:]]], queries[query_rows] @ direction, side="right")
        for index, start in enumerate(starts):
            yield Probe(inside[order[start : start + longest]], query_rows[part == index], ranks[part == index])
