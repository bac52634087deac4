"""The two-sample test on embeddings: level, power, effect size, and which pictures differ."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from kilat.evaluate.drift import MAX_PICTURES, MIN_PICTURES, compare


def normal(n, seed=0, d=6, shift=0.0):
    return (np.random.default_rng(seed).normal(size=(n, d)) + shift).astype(np.float32)


def test_p_values_are_uniform_where_nothing_changed():
    found = [compare(normal(40, 2 * i), normal(25, 2 * i + 1), permutations=99, seed=i).p_value for i in range(200)]
    assert stats.kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) <= 0.05) < 0.1


@pytest.mark.parametrize(
    "change",
    [lambda x: x + 0.5, lambda x: x * 2, lambda x: np.where(np.arange(60)[:, None] < 20, x + 3, x)],
    ids=["shifted", "wider", "a third replaced"],
)
def test_a_change_is_found(change):
    found = compare(normal(100), change(normal(60, 1)))
    assert found.p_value == 1 / 1000
    assert found.distance > 0.01


def test_a_change_in_a_small_component_is_found():
    scale = np.array([10, 10, 10, 10, 10, 0.01], np.float32)
    new = normal(60, 1)
    new[:, -1] += 1.5
    assert compare(normal(100) * scale, new * scale).p_value <= 0.01


def test_the_distance_is_that_of_the_definition():
    one, other = normal(30), normal(20, 1, shift=0.7)
    both = np.concatenate([one, other])
    total = 0
    for scale in (1, 1 / both.std(0)):
        apart = cdist(both * scale, both * scale)
        total = total + apart / apart.mean()
    across = total[:30, 30:].mean()
    within = total[:30, :30].sum() / (30 * 29) + total[30:, 30:].sum() / (20 * 19)
    expected = 1 - within / 2 / across
    assert compare(one, other).distance == pytest.approx(expected, abs=1e-5)


def test_one_component_orders_divisions_as_scipy_does():
    """With one component both distances are the same one, and the p-value that of scipy's energy distance."""
    one, other = normal(15, d=1), normal(12, 4, d=1, shift=0.6)
    both = np.concatenate([one, other])[:, 0]

    def distance(values, axis):
        return stats.energy_distance(values[:15], values[15:])

    random, observed = np.random.default_rng(9), distance(both, 0)
    expected = np.mean([distance(random.permutation(both), 0) >= observed for _ in range(2000)])
    assert compare(one, other).p_value == pytest.approx(expected, abs=0.05)


def test_the_auroc_is_out_of_sample():
    alike = [compare(normal(60, 2 * i), normal(40, 2 * i + 1), permutations=9).auroc for i in range(30)]
    assert np.mean(alike) == pytest.approx(0.5, abs=0.03)
    assert compare(normal(60), normal(40, 1, shift=9), permutations=9).auroc == 1


def test_the_pictures_that_differ_come_first():
    new = normal(100, 1)
    new[30:40] += 3
    found = compare(normal(200), new)
    assert set(np.argsort(-found.scores)[:10]) == set(range(30, 40))


def test_more_than_a_thousand_are_sampled_and_all_of_them_scored():
    new = normal(MAX_PICTURES + 500, 1)
    new[700:800] += 4
    found = compare(normal(50), new, permutations=9)
    assert found.compared == MAX_PICTURES
    assert len(found.scores) == MAX_PICTURES + 500
    assert set(np.argsort(-found.scores)[:100]) == set(range(700, 800))


def test_the_same_again_byte_for_byte():
    one, other = (compare(normal(80), normal(50, 1)) for _ in range(2))
    assert (one.p_value, one.distance, one.auroc) == (other.p_value, other.distance, other.auroc)
    assert one.scores.tobytes() == other.scores.tobytes()


def test_pictures_that_are_all_the_same_do_not_differ():
    found = compare(np.ones((20, 3), np.float32), np.ones((MIN_PICTURES, 3), np.float32))
    assert (found.p_value, found.distance, found.auroc) == (1, 0, 0.5)
    assert not found.scores.any()
