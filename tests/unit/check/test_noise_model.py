"""Shares of labels that were drawn at random, or given as one other class, are found as large as they were planted."""

import numpy as np
import pytest

from kilat.check.noise_model import fit

EVIDENCE = 3.0


def world(classes=4, count=4000, spread=1.0, seed=0):
    """Bayes-optimal log-probabilities of Gaussian classes, and the true classes."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, count)
    points = 3 * np.eye(classes)[truth] + spread * generator.normal(size=(count, classes))
    return (3 * points / spread**2).astype(np.float32), truth


def given_as(truth, a, b, share, seed=1):
    """The labels, a share of class ``a`` given as ``b``."""
    own = np.random.default_rng(seed).permutation(np.flatnonzero(truth == a))
    labels = truth.copy()
    labels[own[: round(share * len(own))]] = b
    return labels


@pytest.mark.parametrize("share", [0.05, 0.25])
def test_a_share_of_a_class_given_as_another_is_found_with_its_direction(share):
    scores, truth = world()
    (pair,) = fit(scores, given_as(truth, 2, 0, share), EVIDENCE).one_way
    assert (pair.truth, pair.label) == (2, 0)
    assert pair.share == pytest.approx(share, abs=0.02)


def test_several_pairs_are_found_and_random_labels_beside_them():
    scores, truth = world()
    labels = given_as(given_as(truth, 2, 0, 0.2), 3, 1, 0.1)
    generator = np.random.default_rng(3)
    labels = np.where(generator.random(len(labels)) < 0.1, generator.integers(0, 4, len(labels)), labels)
    found = fit(scores, labels, EVIDENCE)
    assert found.random == pytest.approx(0.1, abs=0.02)
    shares = {(pair.truth, pair.label): pair.share for pair in found.one_way}
    assert shares == pytest.approx({(2, 0): 0.2, (3, 1): 0.1}, abs=0.03)


def test_random_labels_are_no_one_way_mistakes():
    scores, truth = world()
    generator = np.random.default_rng(2)
    labels = np.where(generator.random(len(truth)) < 0.2, generator.integers(0, 4, len(truth)), truth)
    found = fit(scores, labels, EVIDENCE)
    assert found.one_way == ()
    assert found.random == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("spread", [1.0, 2.0, 3.0])
def test_classes_that_overlap_are_no_mistakes(spread):
    scores, truth = world(spread=spread)
    assert fit(scores, truth, EVIDENCE).one_way == ()


def test_mistakes_in_both_directions_are_not_one_way():
    scores, truth = world()
    generator = np.random.default_rng(4)
    swapped = (truth < 2) & (generator.random(len(truth)) < 0.15)
    assert fit(scores, np.where(swapped, 1 - truth, truth), EVIDENCE).one_way == ()


def test_without_evidence_only_random_labels_are_looked_for():
    scores, truth = world()
    assert fit(scores, given_as(truth, 2, 0, 0.2)).one_way == ()


def test_the_truth_of_a_label_follows_from_bayes_rule():
    scores, truth = world()
    labels = given_as(truth, 2, 0, 0.25)
    _answers, probabilities = fit(scores, labels, EVIDENCE).truth_given_label(scores, labels)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    doubtful = (labels == 0) & (probabilities[:, 2] > 0.02) & (probabilities[:, 2] < 0.98)
    expected = probabilities[doubtful, 2].mean()
    assert (truth[doubtful] == 2).mean() == pytest.approx(expected, abs=3 * 0.5 / np.sqrt(doubtful.sum()))


@pytest.mark.parametrize(("count", "classes"), [(0, 3), (1, 3), (2, 2), (30, 1)])
def test_a_handful_of_pictures_or_a_single_class(count, classes):
    found = fit(np.zeros((count, classes), np.float32), np.arange(count) % classes, 0.0)
    assert 0 <= found.random <= 1
    assert all(0 <= pair.share <= 1 for pair in found.one_way)


def test_a_class_that_no_answer_names_does_not_upset_it():
    scores, truth = world(count=200)
    wider = np.concatenate([scores, np.full((200, 2), -40, np.float32)], axis=1)
    labels = np.where(np.arange(200) == 0, 5, truth)
    found = fit(wider, labels, 0.0)
    assert 0 <= found.random <= 0.05
    assert all(0 <= pair.share <= 1 for pair in found.one_way)
