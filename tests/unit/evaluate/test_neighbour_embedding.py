"""Points in the plane: which neighbours stay, against scikit-learn's t-SNE; the same whatever the number of threads."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from kilat.evaluate.neighbour_embedding import FEWEST, embed


@pytest.fixture(scope="module")
def digits():
    """Principal components of 200 handwritten digits, and what they are."""
    found = load_digits()
    return PCA(40).fit_transform(found.data[:200]).astype(np.float32), found.target[:200]


def neighbours(points, count=10):
    return NearestNeighbors(n_neighbors=count).fit(points).kneighbors(return_distance=False)


def kept(points, places):
    pairs = zip(neighbours(points), neighbours(places), strict=True)
    return np.mean([len(np.intersect1d(before, after)) / 10 for before, after in pairs])


def test_neighbours_stay_as_near_as_with_scikit_learns_tsne(digits):
    points, labels = digits
    placed = embed(points)
    reference = TSNE(init="pca", perplexity=10, random_state=0, max_iter=500).fit_transform(points)
    assert kept(points, placed.places) > kept(points, reference) - 0.05
    assert placed.neighbours_kept == pytest.approx(kept(points, placed.places))
    # Most of the nearest have the same label, and more than in the two leading components.
    same = (labels[neighbours(placed.places, 5)] == labels[:, None]).mean()
    assert same > 0.85 > (labels[neighbours(points[:, :2], 5)] == labels[:, None]).mean()


def test_equal_points_give_equal_places_whatever_the_number_of_threads(digits):
    with threadpool_limits(1):
        one = embed(digits[0])
    with threadpool_limits(2):
        two = embed(digits[0])
    assert one.places.tobytes() == two.places.tobytes()
    assert one.neighbours_kept == two.neighbours_kept


def test_the_unit_of_the_points_does_not_matter(digits):
    assert embed(digits[0] * 2.0**60).places.tobytes() == embed(digits[0]).places.tobytes()


def test_groups_that_lie_apart_stay_apart():
    generator = np.random.default_rng(0)
    group = np.repeat(np.arange(6), 30)
    points = PCA(8).fit_transform(generator.standard_normal((6, 20))[group] * 20 + generator.standard_normal((180, 20)))
    places = embed(points.astype(np.float32)).places
    assert (group[neighbours(places, 5)] == group[:, None]).all()
    assert places[:, 0].std() >= places[:, 1].std()


def test_few_points_lie_where_their_leading_components_are():
    points = np.random.default_rng(0).standard_normal((FEWEST - 1, 5)).astype(np.float32)
    places = embed(points).places
    centred = points[:, :2] - points[:, :2].mean(0)
    np.testing.assert_allclose(places / np.abs(places).max(), centred / np.abs(centred).max(), atol=1e-6)


@pytest.mark.parametrize(
    "points",
    [
        np.ones((100, 3)),
        np.repeat(np.random.default_rng(0).standard_normal((4, 3)), 30, axis=0),
        np.random.default_rng(0).standard_normal((60, 1)),
        np.concatenate([np.random.default_rng(0).standard_normal((99, 4)), np.full((1, 4), 1e6)]),
        np.eye(3),
        np.random.default_rng(0).standard_normal((300, 60)),
    ],
    ids=["all the same", "copies", "one component", "one far away", "three", "without groups"],
)
def test_places_are_finite_and_near_each_other(points):
    places = embed(points.astype(np.float32)).places
    assert places.shape == (len(points), 2)
    assert np.isfinite(places).all()
    assert np.ptp(places, axis=0).max() < 100
