"""Drift: whether new pictures differ from those that a model was made for, by a two-sample test on embeddings.

The energy distance (Székely and Rizzo 2013) is taken twice, between embeddings as they are and with every component
brought to the same spread; the larger of the two, in standard deviations of its permutations, is the statistic. As they
are, the leading components weigh most, which tell classes apart: another mix of classes moves those. Brought to one
spread, the many small components count as well, in which blur, compression and foreign pictures show.

Nothing is assumed about the distribution of embeddings: shuffling which picture came from where gives the p-value. It
holds for any number of pictures that were treated alike. Training pictures were not: their embeddings lie farther apart
than others from the same source. None may be in the reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kilat.evaluate.out_of_distribution import auroc
from kilat.runtime.array_types import Doubles, Floats, Ints
from kilat.runtime.cores import parallel_map, single_threaded_blas

MIN_PICTURES = 10
"""Fewer pictures, on either side, are not compared."""

MAX_PICTURES = 1000
"""The most pictures, on either side, that are compared; where there are more, they are evenly spaced."""

PERMUTATIONS = 999

_BLOCK = 250
"""How many permutations, or how many pictures, are worked on at a time."""

_ROUNDING = 1e-5


@dataclass(frozen=True)
class Drift:
    """How new pictures differ from the reference.

    Args:
        compared: number of new pictures that the test compared.
        p_value: how often pictures of one source would differ as much, from 0.001 to 1.
        distance: by how much a reference and a new picture lie farther apart than two of the same side do, as a share;
            0 where they do not, 1 where each side is a single point.
        auroc: how often the new one of a reference and a new picture is recognised by its likeness to other new ones;
            0.5 is guessing.
        scores: how much more each new picture is like the others than like the reference, in standard deviations from
            the mean of reference pictures, ``[m]``.
    """

    compared: int
    p_value: float
    distance: float
    auroc: float
    scores: Floats


def compare(reference: Floats, new: Floats, *, permutations: int = PERMUTATIONS, seed: int = 0) -> Drift:
    """Compare embeddings of new pictures with those of pictures that the model was not trained on.

    Args:
        reference: ``[n, d]``, at least ``MIN_PICTURES``.
        new: ``[m, d]``, at least ``MIN_PICTURES``.
        permutations: how often pictures are shuffled for the p-value.
        seed: of the shuffling.
    """
    assert min(len(reference), len(new)) >= MIN_PICTURES, "too few pictures to compare"
    reference, compared = reference[_evenly_spaced(len(reference))], _evenly_spaced(len(new))
    both = np.concatenate([reference, new[compared]])
    n = len(reference)
    with single_threaded_blas():
        deviations = both.std(0, dtype=np.float64)
        varies = deviations > _ROUNDING * deviations.max()
        unit_spread = np.divide(1, deviations, out=np.zeros_like(deviations), where=varies).astype(np.float32)
        scales = [np.ones(both.shape[1], np.float32), unit_spread]
        distances = [_distances(both * scale, both * scale) for scale in scales]
        p_value = _p_value(distances, n, permutations, seed)
        units = [scale / (part.mean(dtype=np.float64) or 1.0) for scale, part in zip(scales, distances, strict=True)]
        witness = _Witness(both, n, units)
        scores = witness.scores(new, compared)
    return Drift(len(compared), p_value, witness.distance, witness.auroc, scores)


def _evenly_spaced(count: int) -> Ints:
    """Return positions of at most ``MAX_PICTURES`` of so many pictures."""
    return np.linspace(0, count - 1, min(count, MAX_PICTURES)).round().astype(np.int64)


def _distances(one: Floats, other: Floats) -> Floats:
    """Return Euclidean distances ``[n, m]``."""
    squares = np.einsum("nd,nd->n", one, one)[:, None] + np.einsum("md,md->m", other, other)
    squares -= 2 * (one @ other.T)
    distances: Floats = np.sqrt(np.maximum(squares, 0, out=squares), out=squares)
    if one is other:
        np.fill_diagonal(distances, 0)
    return distances


def _p_value(distances: Sequence[Floats], n: int, permutations: int, seed: int) -> float:
    """Return the share of shufflings, the given order among them, after which the first ``n`` differ as much."""
    sides = np.zeros((permutations + 1, len(distances[0])), np.float32)
    sides[:, :n] = 1
    sides[1:] = np.random.default_rng(seed).permuted(sides[1:], axis=1)
    energies = [_energies(part, sides) for part in distances]
    largest = np.max([(values - values.mean()) / (values.std() or 1.0) for values in energies], axis=0)
    return float(np.mean(largest >= largest[0] - _ROUNDING))


def _energies(distances: Floats, sides: Floats) -> Doubles:
    """Return the energy distance for every division into two sides, up to a factor that all share, ``[sides]``.

    For weights that add up to 1 on one side and -1 on the other it is ``-weights @ distances @ weights``. Since these
    add up to 0, the distances can be centred, which keeps single precision exact enough.
    """
    means = distances.mean(0, dtype=np.float64).astype(np.float32)
    centred = distances - means - means[:, None] + means.mean()

    def energies_of_block(start: int) -> Doubles:
        block = sides[start : start + _BLOCK]
        energies: Doubles = -np.einsum("pn,pn->p", block, block @ centred, dtype=np.float64)
        return energies

    return np.concatenate(parallel_map(energies_of_block, range(0, len(sides), _BLOCK)))


class _Witness:
    """How much nearer pictures are to the new ones than to the reference: the witness function of the distance.

    Args:
        both: embeddings of the reference, then of the new pictures that are compared with it, ``[n + m, d]``.
        n: how many are the reference's.
        units: by what each component is multiplied for each of the distances that are added up.
    """

    def __init__(self, both: Floats, n: int, units: Sequence[Doubles]) -> None:
        self.both, self.n, self.m = both, n, len(both) - n
        self.units = [unit.astype(np.float32) for unit in units]
        self.distances = self._total_distances(both)
        self.to_reference = self.distances[:, :n].sum(1, dtype=np.float64)
        self.to_new = self.distances[:, n:].sum(1, dtype=np.float64)

    @property
    def distance(self) -> float:
        """How much farther pictures of different sides are apart than those of one, as a share."""
        n, m = self.n, self.m
        within = self.to_reference[:n].sum() / (n * (n - 1)) + self.to_new[n:].sum() / (m * (m - 1))
        across = self.to_new[:n].sum() / (n * m)
        return float(max(0.0, 1 - within / 2 / across)) if across else 0.0

    @property
    def auroc(self) -> float:
        """How well each half of the pictures tells which side those of the other half are from, mean of both."""
        half = np.arange(self.n + self.m) % 2
        is_new = np.arange(self.n + self.m) >= self.n

        def of_half(tested: int) -> float:
            known, rows = half != tested, self.distances[half == tested]
            witness = rows[:, known & ~is_new].mean(1) - rows[:, known & is_new].mean(1)
            return auroc(witness[~is_new[half == tested]], witness[is_new[half == tested]])

        return (of_half(0) + of_half(1)) / 2

    def scores(self, new: Floats, compared: Ints) -> Floats:
        """Return the witness at every new picture, itself left out, against that of the reference, ``[all new]``."""
        n, m = self.n, self.m
        reference = self.to_reference[:n] / (n - 1) - self.to_new[:n] / m

        def witness_of_block(start: int) -> Doubles:
            distances = self._total_distances(new[start : start + _BLOCK])
            witness: Doubles = distances[:, :n].mean(1, dtype=np.float64) - distances[:, n:].mean(1, dtype=np.float64)
            return witness

        witness = np.concatenate(parallel_map(witness_of_block, range(0, len(new), _BLOCK)))
        witness[compared] = self.to_reference[n:] / n - self.to_new[n:] / (m - 1)
        scores: Floats = ((witness - reference.mean()) / (reference.std() or 1.0)).astype(np.float32)
        return scores

    def _total_distances(self, pictures: Floats) -> Floats:
        """Return distances from some pictures to all that are compared; both kinds added up."""
        total: Floats = np.zeros((len(pictures), len(self.both)), np.float32)
        for unit in self.units:
            scaled = self.both * unit
            total += _distances(scaled if pictures is self.both else pictures * unit, scaled)
        return total
