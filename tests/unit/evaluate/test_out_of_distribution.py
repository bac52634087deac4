"""Out-of-distribution scores: every method against a reference, and the promised false-positive rate."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from sklearn.covariance import shrunk_covariance
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from kilat.evaluate.out_of_distribution import (
    COMBINATIONS,
    LEAST_SQUARE,
    MAX_INDEX,
    EmbeddingStatistics,
    LeftOutTrial,
    OodDetector,
    auroc,
    choose_methods,
    compare_methods,
    stratified_sample,
)
from kilat.recipe import METHODS


def clouds(n, k, d, seed=0, apart=3.0):
    """Embeddings of ``n`` pictures of ``k`` classes and their logits; more of the first classes."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, k, n) * random.integers(0, 2, n)
    centres = apart * np.random.default_rng(99).normal(size=(k, d)) / np.sqrt(d)
    stretch = np.linspace(0.2, 1.5, d)
    embeddings = (centres[truth] + stretch * random.normal(size=(n, d)) / np.sqrt(d)).astype(np.float32)
    logits = (embeddings @ centres.T * 4 + random.normal(size=(n, k))).astype(np.float32)
    return embeddings, logits, truth


def nothing(n, k=3):
    return np.zeros((n, k), np.float32)


@pytest.mark.parametrize(("n", "d", "m"), [(1, 1, 1), (700, 5, 33), (1300, 128, 900)])
def test_knn_is_the_distance_to_the_nearest(n, d, m):
    random = np.random.default_rng(n)
    index, queries = (random.normal(size=(rows, d)).astype(np.float16).astype(np.float32) for rows in (m, n))
    statistics = EmbeddingStatistics.fit(index, np.arange(m) % 2)
    expected, _ = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(index.astype(float)).kneighbors(queries)
    got = statistics.score("knn", queries, nothing(n))
    assert got.shape == (n,)
    np.testing.assert_allclose(got, expected[:, 0], rtol=1e-4, atol=2e-3)


def test_knn_leaves_excluded_pictures_out():
    """Each picture of the index queries about itself, itself and two others passed over; -1 passes nobody over."""
    random = np.random.default_rng(5)
    m = 600
    index = random.normal(size=(m, 4)).astype(np.float16).astype(np.float32)
    own = np.arange(m)
    excluded = np.stack([own, (own + 1) % m, np.where(own % 2, (own + 7) % m, -1)], axis=1)
    got = EmbeddingStatistics.fit(index, own % 3).score("knn", index, nothing(m), excluded)
    order = NearestNeighbors(n_neighbors=4).fit(index).kneighbors(index, return_distance=False)
    nearest = [next(at for at in row if at not in set(left_out)) for row, left_out in zip(order, excluded, strict=True)]
    np.testing.assert_allclose(got, np.linalg.norm(index - index[nearest], axis=1), rtol=1e-4)
    assert (EmbeddingStatistics.fit(index, own % 3).score("knn", index, nothing(m)) < 0.011).all()


def test_a_copy_of_a_training_picture_is_as_near_as_can_be():
    index = np.random.default_rng(0).normal(size=(50, 128)).astype(np.float32) / 11
    statistics = EmbeddingStatistics.fit(index, np.arange(50) % 2)
    got = statistics.score("knn", statistics.index, nothing(50))
    assert np.abs(got - np.sqrt(LEAST_SQUARE)).max() < 1e-3
    assert statistics.index.astype(np.float16).astype(np.float32).tobytes() == statistics.index.tobytes()


@pytest.mark.parametrize(("n", "k", "d"), [(60, 2, 1), (300, 5, 16), (20, 3, 40)])
def test_mahalanobis_is_relative_to_the_distance_from_all(n, k, d):
    embeddings, _, truth = clouds(n, k, d)
    queries = clouds(50, k, d, seed=1)[0].astype(float)
    exact, classes = embeddings.astype(float), np.unique(truth)
    means = np.stack([exact[truth == c].mean(0) for c in classes])
    residuals = exact - means[np.searchsorted(classes, truth)]

    def squares(deviations, around):
        precision = np.linalg.inv(shrunk_covariance(deviations.T @ deviations / n, shrinkage=0.1))
        away = queries[:, None] - around
        return np.einsum("nkd,de,nke->nk", away, precision, away)

    expected = squares(residuals, means).min(1) - squares(exact - exact.mean(0), exact.mean(0)[None])[:, 0]
    got = EmbeddingStatistics.fit(embeddings, truth).score("mahalanobis", queries.astype(np.float32), nothing(50, k))
    np.testing.assert_allclose(got, expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize("scale", [0.01, 1, 300])
def test_energy_and_max_softmax_are_those_of_scipy(scale):
    logits = (scale * np.random.default_rng(2).normal(size=(40, 7))).astype(np.float32)
    statistics = EmbeddingStatistics.fit(*clouds(20, 2, 3)[::2])
    queries = np.zeros((40, 3), np.float32)
    np.testing.assert_allclose(statistics.score("energy", queries, logits), -logsumexp(logits, axis=1), rtol=1e-5)
    np.testing.assert_allclose(statistics.score("max_softmax", queries, logits), -softmax(logits, 1).max(1), rtol=1e-5)


def test_classes_without_pictures_and_classes_of_one():
    embeddings = np.random.default_rng(3).normal(size=(9, 4)).astype(np.float32)
    statistics = EmbeddingStatistics.fit(embeddings, np.array([0, 0, 0, 2, 2, 2, 2, 7, 9]))
    assert statistics.class_means.shape == (4, 4)
    for method in METHODS:
        assert np.isfinite(statistics.score(method, 100 * embeddings, nothing(9))).all()


@pytest.mark.parametrize("embeddings", [np.zeros((6, 3)), np.ones((1, 1)), np.tile([[1.0, 2.0]], (8, 1))])
def test_pictures_that_all_lie_in_one_place(embeddings):
    given = embeddings.astype(np.float32)
    truth = np.arange(len(given)) % 2
    statistics = EmbeddingStatistics.fit(given, truth)
    detector = OodDetector.fit(statistics, METHODS, given, nothing(len(given), 2), false_positive_rate=0.1)
    scores = detector.score(given, nothing(len(given), 2))
    assert np.isfinite(scores).all()
    assert (scores <= 0).all()
    nearest = OodDetector.fit(statistics, ("knn",), given, nothing(len(given), 2), false_positive_rate=0.1)
    assert (nearest.score(given + 1, nothing(len(given), 2)) > 0).all()


@pytest.mark.parametrize("seed", range(20))
def test_auroc_is_that_of_scikit_learn_ties_counted_half(seed):
    random = np.random.default_rng(seed)
    known, new = (random.integers(0, 6, random.integers(1, 40)).astype(np.float32) for _ in range(2))
    expected = roc_auc_score(np.repeat([0, 1], [len(known), len(new)]), np.concatenate([known, new]))
    assert auroc(known, new) == pytest.approx(expected, abs=1e-12)


class TestThreshold:
    @pytest.mark.parametrize(("n", "rate"), [(19, 0.05), (40, 0.05), (99, 0.1), (250, 0.2), (30, 0.5)])
    def test_no_more_false_positives_than_were_stated(self, n, rate):
        """Over many draws of known pictures, others like them lie above it at most as often as stated."""
        statistics = EmbeddingStatistics.fit(*clouds(120, 3, 6)[::2])
        share, draws = [], 100
        for seed in range(draws):
            embeddings, logits, _ = clouds(n + 200, 3, 6, seed=100 + seed)
            detector = OodDetector.fit(
                statistics, ("knn", "energy"), embeddings[:n], logits[:n], false_positive_rate=rate
            )
            assert detector.false_positive_rate == rate
            share.append((detector.score(embeddings[n:], logits[n:]) > 0).mean())
        promised = math.floor((n + 1) * rate + 1e-9) / (n + 1)
        noise = np.std(share) / math.sqrt(draws)
        assert np.mean(share) <= rate + 3 * noise
        assert np.mean(share) == pytest.approx(promised, abs=4 * noise)

    def test_of_pictures_that_set_it_no_more_than_the_rate_lie_above(self):
        embeddings, logits, truth = clouds(400, 4, 8)
        statistics = EmbeddingStatistics.fit(embeddings[:200], truth[:200])
        for rate in (0.01, 0.05, 0.3, 0.9):
            detector = OodDetector.fit(statistics, ("knn",), embeddings[200:], logits[200:], false_positive_rate=rate)
            flagged = (detector.score(embeddings[200:], logits[200:]) > 0).sum()
            assert flagged == math.floor(201 * rate + 1e-9) - 1

    def test_too_few_pictures_promise_less_and_say_so(self):
        embeddings, logits, truth = clouds(80, 2, 3)
        statistics = EmbeddingStatistics.fit(embeddings[:60], truth[:60])
        detector = OodDetector.fit(statistics, ("knn",), embeddings[60:64], logits[60:64], false_positive_rate=0.05)
        assert detector.false_positive_rate == pytest.approx(1 / 5)
        assert (detector.score(embeddings[60:64], logits[60:64]) <= 0).all()

    def test_pictures_of_the_index_are_measured_by_others(self):
        """Compared with itself a picture is its own nearest one, and nothing else would come below the threshold."""
        embeddings, logits, truth = clouds(300, 3, 6)
        statistics, own = EmbeddingStatistics.fit(embeddings, truth), np.arange(300)[:, None]
        with_itself = OodDetector.fit(statistics, ("knn",), embeddings, logits, false_positive_rate=0.05)
        without = OodDetector.fit(statistics, ("knn",), embeddings, logits, false_positive_rate=0.05, excluded=own)
        others, query_logits, _ = clouds(500, 3, 6, seed=8)
        assert (with_itself.score(others, query_logits) > 0).mean() > 0.9
        assert (without.score(others, query_logits) > 0).mean() < 0.15

    def test_the_score_is_the_sum_of_standardised_methods_less_the_threshold(self):
        embeddings, logits, truth = clouds(200, 3, 5)
        statistics = EmbeddingStatistics.fit(embeddings[:100], truth[:100])
        calibration, scaled = embeddings[100:], logits[100:] / 10
        detector = OodDetector.fit(statistics, METHODS, calibration, scaled, false_positive_rate=0.1)
        total = np.zeros(100)
        for method in METHODS:
            raw = statistics.score(method, calibration, scaled).astype(float)
            middle = np.quantile(raw, 0.5)
            total += (raw - middle) / (np.quantile(raw, 0.95) - middle)
        expected = total - np.sort(total)[math.ceil(101 * 0.9) - 1]
        np.testing.assert_allclose(detector.score(calibration, scaled), expected, atol=1e-4)

    def test_equal_pictures_give_an_equal_detector(self):
        one, other = (
            OodDetector.fit(EmbeddingStatistics.fit(e[:90], t[:90]), METHODS, e[90:], x[90:], false_positive_rate=0.1)
            for e, x, t in (clouds(150, 3, 5), clouds(150, 3, 5))
        )
        assert (one.threshold, one.medians, one.spreads) == (other.threshold, other.medians, other.spreads)
        assert one.statistics.within_whitening.tobytes() == other.statistics.within_whitening.tobytes()


def trial(seed, informative):
    """A round in which pictures of left-out classes differ by one thing alone."""
    random = np.random.default_rng(seed)
    embeddings, logits, truth = clouds(400, 3, 6, seed)
    is_left_out = np.arange(200) % 3 == 0
    queries, query_logits = embeddings[200:].copy(), logits[200:].copy()
    if informative == "knn":  # far from everything along one direction of the classes, with logits as high as ever
        queries[is_left_out] *= 4
    elif informative == "energy":  # among the others, with low logits for every class
        query_logits[is_left_out] -= 30
    elif informative == "max_softmax":
        query_logits[is_left_out] = (
            query_logits[is_left_out].mean(1, keepdims=True) + 4 + 0.01 * random.normal(size=(is_left_out.sum(), 3))
        )
    elif informative == "mahalanobis":  # in the direction in which pictures of a class hardly differ
        queries[is_left_out] = embeddings[200:][is_left_out] + np.eye(6, dtype=np.float32)[0] * 0.5
    return LeftOutTrial(embeddings[:200], truth[:200], queries, query_logits.astype(np.float32), is_left_out)


class TestChoice:
    @pytest.mark.parametrize("method", METHODS)
    def test_the_method_that_tells_them_is_found(self, method):
        aurocs = compare_methods([trial(seed, method) for seed in range(3)])
        alone = {name: aurocs[name] for name in METHODS}
        assert max(alone, key=alone.get) == method
        assert alone[method] > 0.8
        chosen = choose_methods(aurocs)
        assert method in chosen
        assert chosen[0] == "knn"

    def test_where_nothing_tells_them_auroc_is_a_half(self):
        aurocs = compare_methods([trial(seed, None) for seed in range(4)])
        assert all(abs(area - 0.5) < 0.1 for area in aurocs.values())

    def test_every_combination_is_measured_over_all_trials(self):
        trials = [trial(seed, "energy") for seed in range(3)]
        aurocs = compare_methods(trials)
        assert list(aurocs) == [*METHODS, *("+".join(names) for names in COMBINATIONS[1:])]
        each = [compare_methods([one]) for one in trials]
        for name, area in aurocs.items():
            assert area == pytest.approx(np.mean([one[name] for one in each]))

    def test_logits_of_a_single_class_say_nothing(self):
        one = trial(0, "knn")
        one = replace(one, train_truth=0 * one.train_truth, logits=one.logits[:, :1])
        aurocs = compare_methods([one])
        assert list(aurocs) == ["knn"]

    def test_knn_takes_part_in_every_choice(self):
        names = [*METHODS, *("+".join(combination) for combination in COMBINATIONS[1:])]
        random = np.random.default_rng(0)
        for _ in range(50):
            chosen = choose_methods(dict(zip(names, random.random(len(names)), strict=True)))
            assert chosen in COMBINATIONS
        assert choose_methods({"energy": 1.0, "knn": 0.2}) == ("knn",)

    def test_in_doubt_the_simplest(self):
        assert choose_methods({}) == ("knn",)
        assert choose_methods(dict.fromkeys(["+".join(names) for names in COMBINATIONS], 0.7)) == ("knn",)

    def test_equal_trials_give_equal_results(self):
        assert compare_methods([trial(1, "knn")]) == compare_methods([trial(1, "knn")])


class TestStratifiedSample:
    def test_few_are_all_taken(self):
        assert stratified_sample(np.array([2, 0, 1]), 3).tolist() == [0, 1, 2]
        assert stratified_sample(np.zeros(0, np.int64), MAX_INDEX).tolist() == []

    @pytest.mark.parametrize("most", [10, 100, 999])
    def test_every_class_alike_and_rising(self, most):
        truth = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [700, 200, 100]))
        found = stratified_sample(truth, most)
        assert len(found) == most == len(set(found.tolist()))
        assert (np.diff(found) > 0).all()
        shares = np.bincount(truth[found], minlength=3) / most
        assert np.abs(shares - [0.7, 0.2, 0.1]).max() <= 1 / most
