"""Prediction sets against slow obvious references, their promise over many splits, and files that cannot be trusted."""

import json
import math

import numpy as np
import pytest
from scipy.stats import binomtest

from kilat.evaluate.conformal import COVERAGE, ConformalSets, least_pictures, measure_sets

METHODS = ("lac", "raps")


def predictions(n, k, seed=0, *, hard=()):
    """Return informative probabilities, less so for the hard classes, and the true classes."""
    random = np.random.default_rng(seed)
    truth = random.integers(k, size=n)
    sure = np.where(np.isin(truth, hard), 0.5, 3.0)[:, None] * random.uniform(0.3, 1.5, (n, 1))
    weights = np.exp(random.normal(size=(n, k)) + sure * np.eye(k)[truth])
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32), truth


def covered(members, truth):
    return members[np.arange(len(truth)), truth]


def slow_members(sets, row):
    """Compute one row by the definitions, class by class."""
    ranked = sorted(range(len(row)), key=lambda c: (-row[c], c))
    inside = []
    for c in range(len(row)):
        rank = ranked.index(c)
        score = float(row[c])
        if sets.method == "raps":
            score = sum(float(row[other]) for other in ranked[rank:]) + (float(row[c]) if rank == 0 else 0)
            score -= sets.penalty * max(0, rank + 1 - sets.k_reg)
        inside.append(score >= sets.thresholds[c if len(sets.thresholds) > 1 else 0])
    return inside


@pytest.mark.parametrize(("coverage", "n"), [(0.8, 4), (0.9, 9), (0.9, 200), (0.95, 500), (0.07, 99)])
def test_lac_takes_the_probability_of_the_right_class_at_the_rank_of_the_theory(coverage, n):
    probabilities, truth = predictions(n, 4)
    true_probability = np.sort(covered(probabilities, truth))[::-1]
    (threshold,) = ConformalSets.fit(probabilities, truth, coverage=coverage).thresholds
    assert threshold == true_probability[round((n + 1) * coverage + 0.499) - 1]
    at_least = math.floor((n + 1) * coverage) / n
    assert (true_probability >= threshold).mean() >= at_least


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("k", [2, 3, 12])
def test_members_are_those_of_the_definition_and_a_row_alone_has_the_same(method, per_class, k):
    probabilities, truth = predictions(400, k, seed=3)
    probabilities[:50] = probabilities[:50].round(1)  # ties
    sets = ConformalSets.fit(probabilities, truth, method=method, per_class=per_class)
    members = sets.members(probabilities)
    for row, expected in zip(probabilities[:120], members, strict=False):
        assert slow_members(sets, row) == expected.tolist()
        assert (sets.members(row[None])[0] == expected).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [19, 90, 400])
@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_sets_reach_the_target_coverage_and_not_much_more(method, n, coverage):
    """Exact coverage is ceil((n + 1) coverage) / (n + 1) where scores differ; 4 standard errors over 300 splits."""
    probabilities, truth = predictions(20_000, 6, hard=(1, 4))
    random, got = np.random.default_rng(1), []
    for _ in range(300):
        rows = random.choice(20_000, n + 200, replace=False)
        sets = ConformalSets.fit(probabilities[rows[:n]], truth[rows[:n]], coverage=coverage, method=method)
        got.append(covered(sets.members(probabilities[rows[n:]]), truth[rows[n:]]).mean())
    kept = n if method == "lac" or n < 100 else n - n // 5 - 6
    error = 4 * np.std(got) / math.sqrt(len(got))
    assert coverage - error <= np.mean(got) <= coverage + 1 / (kept + 1) + error


@pytest.mark.parametrize("method", METHODS)
def test_one_threshold_a_class_keeps_the_promise_for_hard_classes_too(method):
    probabilities, truth = predictions(16_000, 6, hard=(2,))
    half = slice(None, 8000), slice(8000, None)
    one, each = (
        ConformalSets.fit(probabilities[half[0]], truth[half[0]], method=method, per_class=choice)
        for choice in (False, True)
    )
    names = list("abcdef")
    shared, own = (measure_sets(sets.members(probabilities[half[1]]), truth[half[1]], names) for sets in (one, each))
    assert shared["worst_class"]["label"] == "c"
    assert shared["worst_class"]["coverage"] < 0.8
    assert shared["coverage"] == pytest.approx(0.9, abs=0.015)
    for measures in own["by_class"].values():
        assert measures["coverage"] == pytest.approx(0.9, abs=0.035)


def test_raps_adapts_and_its_sets_are_the_likeliest_classes():
    probabilities, truth = predictions(6000, 10, hard=range(5))
    sets = ConformalSets.fit(probabilities[:3000], truth[:3000], method="raps", coverage=0.95)
    members = sets.members(probabilities[3000:])
    ranked = np.take_along_axis(members, np.argsort(-probabilities[3000:], axis=1, kind="stable"), axis=1)
    assert (ranked[:, 1:] <= ranked[:, :-1]).all()
    sizes = members.sum(axis=1)
    sure = probabilities[3000:].max(axis=1)
    assert sizes[sure < 0.4].mean() > sizes[sure > 0.8].mean() + 1


def test_raps_needs_sets_about_as_large_as_lac():
    probabilities, truth = predictions(6000, 8, hard=(0, 1))
    mean = {
        method: ConformalSets.fit(probabilities[:3000], truth[:3000], method=method)
        .members(probabilities[3000:])
        .sum(1)
        .mean()
        for method in METHODS
    }
    assert mean["lac"] * 0.97 <= mean["raps"] <= mean["lac"] * 1.15


def test_more_coverage_only_adds_classes():
    probabilities, truth = predictions(500, 5)
    smaller = np.zeros((500, 5), bool)
    for coverage in (0.5, 0.8, 0.9, 0.99):
        larger = ConformalSets.fit(probabilities, truth, coverage=coverage).members(probabilities)
        assert (larger >= smaller).all()
        smaller = larger


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("per_class", [False, True])
def test_sets_that_are_never_empty_hold_the_likeliest_class_and_the_right_one_at_least_as_often(method, per_class):
    probabilities, truth = predictions(900, 4)
    sets = ConformalSets.fit(probabilities, truth, coverage=0.6, method=method, per_class=per_class)
    bare, filled = sets.members(probabilities), sets.members(probabilities, never_empty=True)
    assert (bare.sum(axis=1) == 0).any()
    assert filled[np.arange(900), probabilities.argmax(1)].all()
    assert (filled >= bare).all()
    assert covered(filled, truth).mean() >= covered(bare, truth).mean()
    if not per_class:
        assert (filled == bare)[bare.any(axis=1)].all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("n", [0, 1, 8])
def test_too_few_pictures_to_promise_anything_give_all_classes(method, per_class, n):
    probabilities, truth = predictions(n, 5)
    sets = ConformalSets.fit(probabilities, truth, method=method, per_class=per_class)
    assert sets.members(predictions(30, 5)[0]).all()
    assert ConformalSets.from_dict(json.loads(json.dumps(sets.to_dict(), allow_nan=False)), 5) == sets


@pytest.mark.parametrize(("coverage", "least"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_so_many_pictures_are_enough_and_one_less_is_not(coverage, least):
    probabilities, truth = predictions(least, 3)
    assert least_pictures(coverage) == least
    assert ConformalSets.fit(probabilities, truth, coverage=coverage).thresholds[0] > 0
    assert ConformalSets.fit(probabilities[1:], truth[1:], coverage=coverage).thresholds[0] == -math.inf


def test_raps_leaves_enough_pictures_to_promise_what_can_be_promised():
    probabilities, truth = predictions(110, 3)
    assert ConformalSets.fit(probabilities, truth, coverage=0.99, method="raps").thresholds[0] > -math.inf


def test_rare_classes_share_a_threshold_and_a_single_rare_one_has_that_of_all():
    probabilities, truth = predictions(600, 5, hard=(3, 4))
    common = truth < 3
    few = np.concatenate([np.flatnonzero(common), np.flatnonzero(truth == 3)[:6], np.flatnonzero(truth == 4)[:5]])
    sets = ConformalSets.fit(probabilities[few], truth[few], per_class=True)
    rare = few[-11:]
    assert sets.thresholds[3] == sets.thresholds[4]
    assert sets.thresholds[3] == ConformalSets.fit(probabilities[rare], truth[rare]).thresholds[0]
    alone = ConformalSets.fit(probabilities[few[:-5]], truth[few[:-5]], per_class=True)
    assert (
        alone.thresholds[3]
        == alone.thresholds[4]
        == ConformalSets.fit(probabilities[few[:-5]], truth[few[:-5]]).thresholds[0]
    )
    assert alone.thresholds[:3] == sets.thresholds[:3]


def test_rare_classes_together_are_covered_as_promised():
    probabilities, truth = predictions(30_000, 12, hard=(8, 9, 10, 11))
    random, got = np.random.default_rng(2), []
    test = np.flatnonzero(truth[15_000:] >= 8) + 15_000
    for _ in range(150):
        draw = random.choice(15_000, 1200, replace=False)
        kept = [*draw[truth[draw] < 8], *(row for c in range(8, 12) for row in draw[truth[draw] == c][:5])]
        sets = ConformalSets.fit(probabilities[kept], truth[kept], per_class=True)
        got.append(covered(sets.members(probabilities[test]), truth[test]).mean())
    assert 0.9 - 0.02 <= np.mean(got) <= 0.9 + 1 / 21 + 0.02


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("per_class", [False, True])
def test_what_is_read_back_is_what_was_written(method, per_class):
    probabilities, truth = predictions(500, 4)
    sets = ConformalSets.fit(probabilities, truth, method=method, per_class=per_class)
    assert ConformalSets.fit(probabilities, truth, method=method, per_class=per_class) == sets
    back = ConformalSets.from_dict(json.loads(json.dumps(sets.to_dict(), allow_nan=False)), 4)
    assert back == sets
    assert (back.members(probabilities) == sets.members(probabilities)).all()


def test_thresholds_of_older_files_are_read():
    probabilities, truth = predictions(300, 4)
    now = ConformalSets.fit(probabilities, truth)
    assert now.coverage == COVERAGE
    assert ConformalSets.from_dict({"coverage": COVERAGE, "probability": now.thresholds[0]}, 4) == now
    assert ConformalSets.from_dict({"coverage": COVERAGE, "probability": 0.0}, 4).members(probabilities).all()


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "other"}, {"method": None}, {"method": ["lac"]}, {"coverage": 1}, {"coverage": 0},
        {"coverage": "0.9"}, {"coverage": True}, {"coverage": math.nan}, {"thresholds": []}, {"thresholds": 0.5},
        {"thresholds": [0.5, 0.5]}, {"thresholds": [math.nan]}, {"thresholds": [math.inf]}, {"thresholds": ["0.5"]},
        {"thresholds": [False]}, {"thresholds": [10**400]}, {"thresholds": {"0": 0.5}}, {"penalty": -1},
        {"penalty": math.inf}, {"penalty": None}, {"k_reg": 0}, {"k_reg": 4}, {"k_reg": 1.0}, {"k_reg": True},
        {"k_reg": 10**30},
    ],
)  # fmt: skip
def test_invalid_values_in_a_file_are_refused(changed):
    sound = {"method": "raps", "coverage": 0.9, "thresholds": [0.5], "penalty": 0.1, "k_reg": 2}
    assert ConformalSets.from_dict(sound, 3).k_reg == 2
    with pytest.raises(ValueError, match="prediction sets"):
        ConformalSets.from_dict(sound | changed, 3)


def test_the_message_names_the_value():
    sound = {"method": "lac", "coverage": 1.5, "thresholds": [0.5]}
    with pytest.raises(ValueError, match=r"^prediction sets: invalid coverage: 1\.5$"):
        ConformalSets.from_dict(sound, 3)
    with pytest.raises(
        ValueError, match=r"^prediction sets: thresholds must be one for all classes, or one for each of"
    ):
        ConformalSets.from_dict(sound | {"coverage": 0.9, "thresholds": [0.5, 0.5]}, 3)


@pytest.mark.parametrize(
    "document", [None, [], "lac", 3, {}, {"coverage": 0.9}, {"coverage": 0.9, "probability": math.nan}]
)
def test_documents_of_another_kind_are_refused(document):
    with pytest.raises(ValueError, match="prediction sets"):
        ConformalSets.from_dict(document, 3)


def test_the_measures_are_those_of_counting():
    random = np.random.default_rng(0)
    members, truth, names = random.random((500, 14)) < 0.3, random.integers(13, size=500), [f"c{i}" for i in range(14)]
    got, sizes, inside = measure_sets(members, truth, names), members.sum(1), covered(members, truth)
    assert got["n"] == 500
    assert got["coverage"] == inside.mean()
    assert got["coverage_interval"] == pytest.approx(list(binomtest(inside.sum(), 500).proportion_ci(method="wilson")))
    assert got["size"] == pytest.approx(sizes.mean())
    half = 1.96 * sizes.std(ddof=1) / math.sqrt(500)
    assert got["size_interval"] == pytest.approx([sizes.mean() - half, sizes.mean() + half], abs=1e-4)
    assert [got[key] for key in ("empty", "single", "several")] == [
        (sizes == 0).mean(),
        (sizes == 1).mean(),
        (sizes > 1).mean(),
    ]
    assert got["sizes"] == [int((sizes == size).sum()) for size in range(sizes.max() + 1)]
    for c, name in enumerate(names[:13]):
        of = got["by_class"][name]
        assert (of["n"], of["coverage"]) == ((truth == c).sum(), inside[truth == c].mean())
        assert of["size"] == pytest.approx(sizes[truth == c].mean())
        assert of["coverage_interval"][0] <= of["coverage"] <= of["coverage_interval"][1]
    assert got["by_class"]["c13"] == {"n": 0, "coverage": None, "coverage_interval": None, "size": None}
    assert got["worst_class"]["coverage"] == min(inside[truth == c].mean() for c in range(13))
    assert [(of["low"], of["high"]) for of in got["by_size"]] == [(0, 0), (1, 1), (2, 2), (3, 3), (4, sizes.max())]
    for of in got["by_size"]:
        stratum = (sizes >= of["low"]) & (sizes <= of["high"])
        assert (of["n"], of["coverage"]) == (stratum.sum(), inside[stratum].mean())
    assert json.loads(json.dumps(got, allow_nan=False)) == got


def test_measures_of_nothing_are_none_and_of_one_set_have_no_spread():
    nothing = measure_sets(np.zeros((0, 2), bool), np.zeros(0, int), ["a", "b"])
    json.dumps(nothing, allow_nan=False)
    for name in ("coverage", "coverage_interval", "size", "size_interval", "empty", "single", "several", "worst_class"):
        assert nothing[name] is None
    assert nothing["sizes"] == nothing["by_size"] == []
    one = measure_sets(np.array([[True, False]]), np.array([1]), ["a", "b"])
    assert (one["coverage"], one["size"], one["size_interval"], one["sizes"]) == (0, 1, None, [0, 1])
    assert one["worst_class"]["label"] == "b"
