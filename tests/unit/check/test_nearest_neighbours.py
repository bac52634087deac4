"""Neighbours are the exact ones among few vectors, and nearly always so among many, however these lie."""

import numpy as np
import pytest

from kilat.check.nearest_neighbours import nearest_neighbours, probes


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(count, wide=16, clusters=20, seed=0):
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(clusters, wide))
    return unit(centres[generator.integers(clusters, size=count)] + 0.5 * generator.normal(size=(count, wide)))


def expected_neighbours(vectors, queries, count):
    similarity = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    np.fill_diagonal(similarity, -2)
    rows = np.argsort(-similarity, axis=1)[:, :count]
    return rows, np.take_along_axis(similarity, rows, axis=1)


class TestAmongFew:
    def test_they_are_the_exact_ones_most_similar_first(self):
        vectors = clustered(300)
        rows, similarity = nearest_neighbours(vectors, 5)
        expected, values = expected_neighbours(vectors, vectors, 5)
        np.testing.assert_array_equal(rows, expected)
        np.testing.assert_allclose(similarity, values, atol=1e-6)

    def test_a_variant_never_finds_its_own_vector(self):
        vectors = clustered(200)
        queries = unit(vectors + 0.01)
        rows, similarity = nearest_neighbours(vectors, 3, queries)
        assert not (rows == np.arange(200)[:, None]).any()
        np.testing.assert_allclose(similarity, expected_neighbours(vectors, queries, 3)[1], atol=1e-6)

    def test_there_may_be_fewer_than_were_wanted(self):
        rows, similarity = nearest_neighbours(unit(np.eye(3) + 0.1), 4)
        assert (rows[:, 2:] == -1).all()
        assert (similarity[:, 2:] == -1).all()
        assert [sorted(row) for row in rows[:, :2].tolist()] == [[1, 2], [0, 2], [0, 1]]
        assert nearest_neighbours(np.zeros((0, 4), np.float32), 2)[0].shape == (0, 2)
        assert nearest_neighbours(np.ones((1, 1), np.float32), 1)[0].tolist() == [[-1]]


class TestAmongMany:
    def test_near_copies_are_found_and_most_other_neighbours_too(self):
        vectors = clustered(4000)
        generator = np.random.default_rng(1)
        vectors[2000:2100] = unit(vectors[:100] + 0.02 * generator.normal(size=(100, 16)))
        rows, similarity = nearest_neighbours(vectors, 4, exact=0)
        forth = (rows[:100] == np.arange(2000, 2100)[:, None]).any(axis=1)
        back = (rows[2000:2100] == np.arange(100)[:, None]).any(axis=1)
        assert (forth | back).all()
        expected, values = expected_neighbours(vectors, vectors, 4)
        shared = [len({*found} & {*right}) for found, right in zip(rows.tolist(), expected.tolist(), strict=True)]
        assert np.mean(shared) > 0.85 * 4
        there = rows[:, 0] == expected[:, 0]
        np.testing.assert_allclose(similarity[there, 0], values[there, 0], atol=1e-6)

    def test_no_neighbour_is_named_twice_or_is_the_vector_itself(self):
        vectors = clustered(1500)
        rows, similarity = nearest_neighbours(vectors, 6, exact=0)
        for row, found in enumerate(rows.tolist()):
            named = [one for one in found if one >= 0]
            assert len(named) == len(set(named))
            assert row not in named
        assert (np.diff(similarity, axis=1) <= 0).all()

    def test_variants_are_compared_with_the_lists_near_to_them(self):
        vectors = clustered(2000)
        flip = np.where(np.arange(16) % 2, -1, 1).astype(np.float32)
        vectors[1000:1050] = vectors[:50] * flip
        rows, similarity = nearest_neighbours(vectors, 2, vectors * flip, exact=0)
        assert (rows[:50, 0] == np.arange(1000, 1050)).all()
        np.testing.assert_allclose(similarity[:50, 0], 1, atol=1e-6)

    def test_the_result_is_deterministic(self):
        vectors = clustered(2000)
        for one, other in zip(
            nearest_neighbours(vectors, 4, exact=0), nearest_neighbours(vectors, 4, exact=0), strict=True
        ):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize("spread", [0.0, 1e-3])
    def test_where_all_are_similar_only_parts_are_compared_and_copies_still_found(self, spread):
        generator = np.random.default_rng(2)
        vectors = unit(np.ones((1200, 8)) + spread * generator.normal(size=(1200, 8)))
        vectors[600:700] = vectors[:100]
        rows, similarity = nearest_neighbours(vectors, 3, exact=0, longest_list=100)
        assert (rows[:, 0] >= 0).all()
        np.testing.assert_allclose(similarity[:100, 0], 1, atol=1e-6)
        alone = np.zeros(1200, np.int32)
        parts = list(probes(vectors, vectors, alone, alone[:, None], 1, 100))
        assert sorted(np.concatenate([part.members for part in parts])) == list(range(1200))
        assert sorted(np.concatenate([part.query_rows for part in parts])) == list(range(1200))
        assert max(len(part.members) for part in parts) == 100
