"""Every measure against scikit-learn, SciPy or a slow obvious reference, and at the edges."""

import json
import warnings
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from kilat.evaluate.metrics import calibration_interval, mean_share_interval, measure, wilson_interval


def predictions(n, k, seed=0, dtype=np.float32):
    """Truth, probabilities that know something of it, and class names."""
    random = np.random.default_rng(seed)
    truth = random.integers(k, size=n)
    logits = random.normal(size=(n, k)) + 1.5 * np.eye(k)[truth]
    weights = np.exp(logits)
    return truth, (weights / weights.sum(axis=1, keepdims=True)).astype(dtype), [f"class {i}" for i in range(k)]


def without_calibration(measured):
    """Return the sections of ``per_class`` without the metrics of probabilities."""
    names = ("precision", "recall", "f1", "support")
    return {label: {name: of[name] for name in names} for label, of in measured["per_class"].items()}


def none_if_undefined(values):
    return [None if np.isnan(v) else pytest.approx(v, abs=1e-12) for v in values]


@pytest.mark.parametrize(("n", "k"), [(1, 2), (7, 3), (40, 2), (500, 4), (3000, 12), (60, 100)])
def test_the_numbers_are_those_of_scikit_learn(n, k):
    truth, probabilities, classes = predictions(n, k)
    got, predicted, every = measure(truth, probabilities, classes), probabilities.argmax(1), np.arange(k)

    assert got["n"] == n
    assert got["accuracy"] == pytest.approx(reference.accuracy_score(truth, predicted))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes that are predicted and never occur
        assert got["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(truth, predicted))
    assert got["confusion"] == reference.confusion_matrix(truth, predicted, labels=every).tolist()
    exact = probabilities / probabilities.sum(axis=1, keepdims=True, dtype=float)
    assert got["log_loss"] == pytest.approx(reference.log_loss(truth, exact, labels=every), rel=1e-6)
    assert got["brier"] == pytest.approx(
        reference.brier_score_loss(truth, exact, labels=every, scale_by_half=False), rel=1e-6
    )

    columns = reference.precision_recall_fscore_support(truth, predicted, labels=every, zero_division=np.nan)
    for name, column in zip(("precision", "recall", "f1", "support"), columns, strict=True):
        assert [got["per_class"][c][name] for c in classes] == none_if_undefined(column)


def test_the_log_loss_is_that_of_scikit_learn_to_the_last_digits_and_finite_at_zero():
    truth, probabilities, classes = predictions(300, 5, dtype=np.float64)
    assert measure(truth, probabilities, classes)["log_loss"] == pytest.approx(
        reference.log_loss(truth, probabilities), rel=1e-13
    )
    sure = np.eye(2, dtype=np.float32)
    labels = np.array([0, 0])
    assert measure(labels, sure, ["a", "b"])["log_loss"] == pytest.approx(
        reference.log_loss(labels, sure, labels=[0, 1]), abs=1e-6
    )


@pytest.mark.parametrize("k", [2, 3, 4, 5, 6, 30])
def test_top_k_is_given_below_the_number_of_classes(k):
    truth, probabilities, classes = predictions(400, k)
    got = measure(truth, probabilities, classes)["top_k"]
    assert list(got) == [str(top) for top in (3, 5) if top < k]
    for top, share in got.items():
        expected = reference.top_k_accuracy_score(truth, probabilities, k=int(top), labels=range(k))
        assert share == pytest.approx(expected)


def test_ties_go_to_the_lowest_index_everywhere():
    truth, classes = np.array([0, 1, 3]), list("abcdef")
    got = measure(truth, np.full((3, 6), 1 / 6), classes)
    assert [row.index(1) for row in got["confusion"] if 1 in row] == [0, 0, 0]
    assert got["accuracy"] == pytest.approx(1 / 3)
    assert got["top_k"] == {"3": pytest.approx(2 / 3), "5": 1}


def obvious_calibration_error(truth, probabilities, bins=15):
    total = 0.0
    for b in range(bins):
        inside = [
            (row.max(), row.argmax() == label)
            for row, label in zip(probabilities.astype(float), truth, strict=True)
            if b / bins < row.max() <= (b + 1) / bins
        ]
        if inside:
            confidence, correct = np.mean(inside, axis=0)
            total += len(inside) / len(truth) * abs(confidence - correct)
    return total


@pytest.mark.parametrize(("n", "k"), [(1, 2), (20, 2), (700, 3), (700, 40)])
def test_calibration_error_and_reliability_against_the_definition(n, k):
    truth, probabilities, classes = predictions(n, k)
    got = measure(truth, probabilities, classes)
    assert got["ece"] == pytest.approx(obvious_calibration_error(truth, probabilities), abs=1e-12)
    assert sum(b["n"] for b in got["reliability"]) == n
    assert got["ece"] == pytest.approx(
        sum(b["n"] * abs(b["confidence"] - b["accuracy"]) for b in got["reliability"]) / n
    )
    for b in got["reliability"]:
        assert b["low"] < b["confidence"] <= b["high"]
        assert b["accuracy_interval"][0] <= b["accuracy"] <= b["accuracy_interval"][1]


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    got = measure(np.array([0, 0]), np.array([[1.0, 0.0], [0.6, 0.4]]), ["a", "b"])["reliability"]
    assert [(b["low"], b["high"]) for b in got] == [(8 / 15, 9 / 15), (14 / 15, 1)]


@pytest.mark.parametrize(("n", "k"), [(15, 2), (1500, 3), (750, 40)])
def test_the_adaptive_error_is_that_of_scikit_learns_bins_of_equal_size(n, k):
    truth, probabilities, classes = predictions(n, k, dtype=np.float64)
    correct, confidence = probabilities.argmax(1) == truth, probabilities.max(1)
    share, mean = calibration_curve(correct, confidence, n_bins=15, strategy="quantile")
    got = measure(truth, probabilities, classes)["adaptive_ece"]
    assert got == pytest.approx(np.abs(share - mean).mean(), abs=1e-12)


@pytest.mark.parametrize("n", [1, 7, 100, 1001])
def test_bins_of_equal_size_take_parts_of_pictures_and_equal_probabilities_as_one(n):
    """Every picture copied 15 times fills whole bins; copies of equal probability are in no order."""
    truth, probabilities, classes = predictions(n, 3, seed=n)
    probabilities = (probabilities * 32).round() / 32
    confidence, correct = probabilities.max(1).astype(float), probabilities.argmax(1) == truth
    gaps = [confidence[i] - correct[confidence == confidence[i]].mean() for i in np.argsort(confidence)]
    expected = np.abs(np.repeat(gaps, 15).reshape(15, n).sum(axis=1)).sum() / (15 * n)
    assert measure(truth, probabilities, classes)["adaptive_ece"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("n", "k"), [(1, 2), (300, 2), (400, 7), (50, 120)])
def test_each_class_by_itself_is_calibrated_as_the_definition_says(n, k):
    truth, probabilities, classes = predictions(n, k)
    got = measure(truth, probabilities, classes)
    for c, name in enumerate(classes):
        of, confidence, true = got["per_class"][name], probabilities[:, c].astype(float), truth == c
        edges = np.arange(16) / 15
        bins = [(confidence > low) & (confidence <= high) for low, high in pairwise(edges)]
        bins[0] |= confidence == 0
        error = sum(abs(confidence[b].sum() - true[b].sum()) for b in bins) / n
        assert of["ece"] == pytest.approx(error, abs=1e-12)
        assert of["brier"] == pytest.approx(reference.mean_squared_error(true, confidence), abs=1e-12)
        assert ("reliability" in of) == (k <= 100)
        if k <= 100:
            filled = [b for b in bins if b.any()]
            assert [b["n"] for b in of["reliability"]] == [b.sum() for b in filled]
            assert [b["accuracy"] for b in of["reliability"]] == [true[b].mean() for b in filled]
            assert [b["confidence"] for b in of["reliability"]] == pytest.approx([confidence[b].mean() for b in filled])
    assert sum(of["brier"] for of in got["per_class"].values()) == pytest.approx(got["brier"], rel=1e-12)


def simulated(n, shift, random):
    """Simulate n predictions whose confidences are too high by ``shift``: counts, correct ones, confidences of bins."""
    confidence = random.uniform(0.3, 1, n)
    bins = np.ceil(confidence * 15).astype(int) - 1
    correct = random.random(n) < confidence - shift
    return [np.bincount(bins, weights, minlength=15) for weights in (None, correct, confidence)]


@pytest.mark.parametrize("n", [100, 2000])
@pytest.mark.parametrize("shift", [0, 0.05, 0.2])
def test_the_interval_of_the_calibration_error_covers_it(n, shift):
    """That of a calibrated classifier too, whose measured error is never the true one, 0."""
    random = np.random.default_rng(4)
    intervals = [calibration_interval(*simulated(n, shift, random)) for _ in range(80)]
    assert np.mean([low <= shift <= high for low, high in intervals]) >= 0.85


def test_the_interval_holds_the_measured_error_and_shrinks():
    widths = []
    for n in (100, 1000, 10_000):
        counts, correct, confidence = simulated(n, 0.1, np.random.default_rng(n))
        low, high = calibration_interval(counts, correct, confidence)
        assert 0 <= low <= np.abs(confidence - correct).sum() / n <= high <= 1
        assert calibration_interval(counts, correct, confidence) == [low, high]
        widths.append(high - low)
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


@pytest.mark.parametrize("n", [1, 2, 10, 57, 1000, 100_000])
def test_wilson_intervals_are_those_of_scipy(n):
    for successes in {0, 1, n // 3, n - 1, n}:
        expected = binomtest(successes, n).proportion_ci(method="wilson")
        assert wilson_interval(successes, n) == pytest.approx(list(expected), abs=1e-12)
    assert wilson_interval(0, n)[0] == 0
    assert wilson_interval(n, n)[1] == 1


@pytest.mark.parametrize("pictures", [30, 400, 100_000])
@pytest.mark.parametrize("correct", [0, 0.3, 0.9, 1])
def test_the_interval_of_one_class_is_wilsons_with_one_picture_less(pictures, correct):
    """With one share the constrained likelihood has nothing to choose, and the score interval is in closed form."""
    share, spread = correct, 1.959963984540054**2 / (pictures - 1)
    centre = (share + spread / 2) / (1 + spread)
    half = np.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    got = mean_share_interval(np.array([round(correct * pictures)]), np.array([pictures]))
    assert got == pytest.approx([centre - half, centre + half], abs=1e-9)


def test_the_interval_of_the_mean_share_tends_to_the_normal_one():
    n = np.array([20_000, 50_000, 30_000])
    successes = np.array([15_000, 25_000, 27_000])
    share = successes / n
    half = 1.96 * np.sqrt((share * (1 - share) / n).sum()) / 3
    assert mean_share_interval(successes, n) == pytest.approx([share.mean() - half, share.mean() + half], abs=2e-5)


@pytest.mark.parametrize(
    "n", [[1], [1, 1], [5, 1000], [3] * 20, [1] * 100], ids=["one", "pair", "uneven", "small", "ones"]
)
def test_the_interval_of_the_mean_share_contains_it_and_is_symmetric(n):
    n = np.array(n)
    for successes in (0 * n, n // 2, n - (np.arange(len(n)) == 0), n):
        low, high = mean_share_interval(successes, n)
        assert 0 <= low <= (successes / n).mean() + 1e-9 <= high + 2e-9 <= 1 + 2e-9
        assert low < high
        assert mean_share_interval(n - successes, n) == pytest.approx([1 - high, 1 - low], abs=1e-12)


@pytest.mark.parametrize(
    ("shares", "n"),
    [
        ([0.9] * 3, [5] * 3),
        ([0.7, 0.98], [500, 10]),
        ([0.98] * 10, [36] * 10),
        ([0.8] * 60, [1] * 60),
        (np.linspace(0.99, 0.3, 30), np.maximum(1, 200 // np.arange(1, 31))),
    ],
    ids=["three small classes", "imbalance", "nearly all correct", "one picture a class", "long tail"],
)
def test_the_interval_of_balanced_accuracy_covers_it(shares, n):
    """Within three standard errors of 0.95 over 300 simulated test sets."""
    random, truth = np.random.default_rng(1), np.mean(shares)
    draws = random.binomial(n, shares, size=(300, len(n)))
    kept, of_each_draw = np.unique(draws, axis=0, return_counts=True)
    intervals = np.array([mean_share_interval(successes, np.asarray(n)) for successes in kept])
    covered = (intervals[:, 0] <= truth) & (truth <= intervals[:, 1])
    assert covered @ of_each_draw / 300 == pytest.approx(0.95, abs=0.04)


def test_no_pictures_give_none_and_no_nan():
    got = measure(np.zeros(0, int), np.zeros((0, 4), np.float32), list("abcd"), uncalibrated=np.zeros((0, 4)))
    json.dumps(got, allow_nan=False)
    numbers = ("accuracy", "accuracy_interval", "balanced_accuracy", "balanced_accuracy_interval", "log_loss", "brier")
    assert [got[name] for name in (*numbers, "ece", "ece_interval", "adaptive_ece")] == [None] * 9
    assert got["n"] == 0
    assert got["top_k"] == {"3": None}
    assert got["reliability"] == []
    assert got["majority"] == {"label": None, "accuracy": None}
    nothing = {"brier": None, "ece": None, "reliability": []}
    assert got["per_class"]["a"] == {"precision": None, "recall": None, "f1": None, "support": 0, **nothing}
    errors = {"log_loss": None, "brier": None, "ece": None, "ece_interval": None, "adaptive_ece": None}
    assert got["uncalibrated"] == {**errors, "reliability": [], "per_class": dict.fromkeys("abcd", nothing)}
    assert measure(np.zeros(0, int), np.zeros((0, 4)), list("abcd"), majority=2)["majority"]["label"] == "c"


def test_one_picture():
    got = measure(np.array([1]), np.array([[0.25, 0.75]]), ["a", "b"])
    assert got["accuracy"] == got["balanced_accuracy"] == 1
    assert got["brier"] == pytest.approx(0.125)
    assert got["ece"] == pytest.approx(0.25)
    assert got["log_loss"] == pytest.approx(-np.log(0.75))
    assert got["adaptive_ece"] == pytest.approx(0.25)
    assert got["ece_interval"][0] <= 0.25 <= got["ece_interval"][1] <= 1
    assert got["top_k"] == {}
    assert without_calibration(got)["a"] == {"precision": None, "recall": None, "f1": None, "support": 0}
    assert got["per_class"]["a"]["brier"] == got["per_class"]["b"]["brier"] == pytest.approx(0.0625)


def test_undefined_is_none_class_by_class():
    truth, predicted = np.array([0, 0, 1]), np.array([0, 2, 0])
    per_class = without_calibration(measure(truth, np.eye(4)[predicted], list("abcd")))
    assert per_class["a"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert per_class["b"] == {"precision": None, "recall": 0, "f1": 0, "support": 1}
    assert per_class["c"] == {"precision": 0, "recall": None, "f1": 0, "support": 0}
    assert per_class["d"] == {"precision": None, "recall": None, "f1": None, "support": 0}


def test_the_majority_is_the_given_class_or_the_commonest_here():
    truth, probabilities = np.array([0, 1, 1, 2]), np.full((4, 3), 1 / 3)
    assert measure(truth, probabilities, list("abc"))["majority"] == {"label": "b", "accuracy": 0.5}
    assert measure(truth, probabilities, list("abc"), majority=2)["majority"] == {"label": "c", "accuracy": 0.25}


def test_uncalibrated_answers_have_their_own_measures():
    truth, probabilities, classes = predictions(200, 4)
    _, others, _ = predictions(200, 4, seed=1)
    got, alone = measure(truth, probabilities, classes, uncalibrated=others), measure(truth, others, classes)
    names = ("log_loss", "brier", "ece", "ece_interval", "adaptive_ece", "reliability")
    before = got["uncalibrated"]
    assert {name: before[name] for name in names} == {name: alone[name] for name in names}
    for label, of in before["per_class"].items():
        assert of == {name: alone["per_class"][label][name] for name in ("brier", "ece", "reliability")}
    assert "uncalibrated" not in alone


def test_the_order_of_classes_and_of_pictures_does_not_matter():
    truth, probabilities, classes = predictions(5000, 7)
    random = np.random.default_rng(2)
    rows, columns = random.permutation(5000), random.permutation(7)
    moved = measure(np.argsort(columns)[truth[rows]], probabilities[rows][:, columns], [classes[c] for c in columns])
    got = measure(truth, probabilities, classes)
    for name in set(got) - {"confusion", "per_class", "majority", "reliability"}:
        assert moved[name] == pytest.approx(got[name], rel=1e-12)
    assert without_calibration(moved) == without_calibration(got)
    for label, of in got["per_class"].items():
        for name in ("brier", "ece"):
            assert moved["per_class"][label][name] == pytest.approx(of[name], rel=1e-12)
    assert moved["majority"] == got["majority"]


def test_small_integer_labels_and_json():
    truth, probabilities, classes = predictions(300, 200)
    got = measure(truth.astype(np.uint8), probabilities, classes, uncalibrated=probabilities)
    assert got == measure(truth, probabilities, classes, uncalibrated=probabilities)
    assert json.loads(json.dumps(got, allow_nan=False)) == got


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_probabilities_that_are_not_finite_are_never_measured(value):
    with pytest.raises(AssertionError, match="finite"):
        measure(np.array([0]), np.array([[value, 0.5]]), ["a", "b"])
