"""Planted mistakes are found and little else is, hard pictures are no mistakes, and any shape of data is survived."""

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from kilat.check.confident_learning import candidates
from kilat.check.head_refit import HeadRefit
from kilat.check.label_issues import find_label_issues, findings, table
from kilat.data.catalog import Catalog, Entry
from kilat.evaluate.calibration import apply_temperature
from kilat.features.backbone import Block
from kilat.probe import fit
from kilat.recipe import Head

COUNT = 1500


def world(classes=5, spread=1.0, wrong=0.0, count=COUNT, seed=0):
    """Bayes-optimal answers to Gaussian classes, true classes, labels of which some are wrong, and the points."""
    generator = np.random.default_rng(seed)
    truth = np.sort(generator.integers(0, classes, count))
    points = 3 * np.eye(classes)[truth] + spread * generator.normal(size=(count, classes))
    labels = truth.copy()
    bad = generator.permutation(count)[: round(wrong * count)]
    labels[bad] = (truth[bad] + generator.integers(1, classes, len(bad))) % classes
    return apply_temperature(3 * points / spread**2, 1.0), truth, labels, points.astype(np.float32)


def catalog(count):
    return Catalog.from_entries([Entry(f"{i}.jpg", "a", "train") for i in range(count)])


def test_planted_mistakes_are_ranked_first_flagged_and_corrected():
    probabilities, truth, labels, _points = world(wrong=0.1)
    found = find_label_issues(labels, probabilities)
    bad = labels != truth
    assert roc_auc_score(bad, -found.label_probability) > 0.98
    assert bad[found.flagged].mean() > 0.9
    assert found.flagged[bad].mean() > 0.85
    assert (found.suggested[found.flagged & bad] == truth[found.flagged & bad]).mean() > 0.95
    assert found.noise_rate == pytest.approx(0.1, abs=0.015)


def test_the_probabilities_mean_what_they_say():
    probabilities, truth, labels, _points = world(wrong=0.2, spread=1.5, count=40_000)
    found = find_label_issues(labels, probabilities)
    right = found.label_probability[found.label_probability < 0.99]
    assert right.mean() == pytest.approx((labels == truth)[found.label_probability < 0.99].mean(), abs=0.03)
    suggested = found.suggested_probability[found.flagged].mean()
    assert suggested == pytest.approx((found.suggested == truth)[found.flagged].mean(), abs=0.03)


def test_hard_pictures_with_right_labels_are_left_alone():
    probabilities, truth, _labels, _points = world(spread=2.0)
    assert (probabilities.argmax(1) == truth).mean() < 0.9
    found = find_label_issues(truth, probabilities)
    assert candidates(truth, probabilities).mean() > 0.03
    assert found.flagged.mean() < 0.01
    assert found.noise_rate < 0.01


def noisy(seed, classes, prior, wrong, round_to=None):
    """Labels and answers of a classifier that errs; rounded logits make ties of many kinds."""
    generator = np.random.default_rng(seed)
    truth = generator.choice(classes, generator.integers(2, 600), p=prior / np.sum(prior))
    logits = generator.choice([0.5, 1, 3, 8]) * np.eye(classes)[truth] + generator.normal(size=(len(truth), classes))
    answers = apply_temperature(logits if round_to is None else logits.round(round_to), 1.0)
    labels = np.where(generator.random(len(truth)) < wrong, generator.choice(truth, len(truth)), truth)
    return labels, answers.astype(generator.choice([np.float32, np.float64]))


def cleanlab_flags(labels, probabilities, monkeypatch):
    """Its answer with ties in the order of a stable sort; that of NumPy's quicksort is the processor's."""
    from cleanlab.filter import find_label_issues

    sort = np.argsort
    with monkeypatch.context() as patched, warnings.catch_warnings():
        patched.setattr(np, "argsort", lambda values, axis=-1, kind=None: sort(values, axis, "stable"))
        warnings.filterwarnings("ignore", "May not flag all label issues", UserWarning)
        return find_label_issues(labels, probabilities, n_jobs=1)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("classes", [2, 3, 7, 20])
@pytest.mark.parametrize("kind", ["even", "imbalanced", "absent", "mostly wrong", "ties"])
def test_candidates_are_those_of_cleanlab(kind, classes, seed, monkeypatch):
    prior = 0.5 ** np.arange(classes) if kind == "imbalanced" else np.ones(classes)
    if kind == "absent":
        prior[1::3] = classes == 2
    made = noisy(seed, classes, prior, 0.8 if kind == "mostly wrong" else 0.1, 0 if kind == "ties" else None)
    np.testing.assert_array_equal(candidates(*made), cleanlab_flags(*made, monkeypatch))


def test_of_candidates_as_good_as_each_other_the_first_are_taken():
    """Of 50 pictures of class 0 ten answers are confidently 1 and thirty 0, so 12 of 50 are wrong: two of the tied."""
    ones = np.array([0.96] * 10 + [0.6] * 10 + [0.1] * 30 + [0.95] * 20)
    found = candidates(np.array([0] * 50 + [1] * 20), np.stack([1 - ones, ones], axis=1))
    assert np.flatnonzero(found).tolist() == list(range(12))


def test_judging_labels_needs_neither_cleanlab_nor_scikit_learn():
    code = (
        "import sys, numpy as np; from kilat.check.label_issues import find_label_issues"
        "; find_label_issues(np.arange(9) % 2, np.eye(2)[[0] * 9])"
        "; print({'cleanlab', 'sklearn', 'scipy'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_temperature_of_the_answers_does_not_matter():
    probabilities, _truth, labels, _points = world(wrong=0.1)
    plain, blunt = (
        find_label_issues(labels, probabilities),
        find_label_issues(labels, apply_temperature(np.log(probabilities), 2.0)),
    )
    np.testing.assert_array_equal(plain.flagged, blunt.flagged)


def test_heads_fitted_without_the_candidates_find_systematic_mistakes():
    _answers, truth, _labels, points = world(classes=3)
    generator = np.random.default_rng(1)
    labels = np.where(generator.random(len(truth)) < 0.15, (truth + 1) % 3, truth)
    fold, rows = np.arange(len(truth)) % 5, np.arange(len(truth))
    head = fit(points, rows, labels, fold, 3, [Block("last", 3)], Head())
    held_out = apply_temperature(head.held_out_logits, 1.0)
    bad = labels != truth
    alone = find_label_issues(labels, held_out)
    again = find_label_issues(labels, held_out, HeadRefit.of(head, rows, labels, fold, 3))
    assert roc_auc_score(bad, -again.label_probability) > 0.97
    assert again.flagged[bad].mean() > max(0.8, alone.flagged[bad].mean())


def test_a_refit_to_all_pictures_gives_the_same_answers_again():
    _answers, truth, _labels, points = world(classes=3, count=300)
    fold = np.where(np.arange(300) == 7, -1, np.arange(300) % 4)
    everyone = np.concatenate([points, points[:20]])
    head = fit(everyone, np.arange(300), truth, fold, 3, [Block("last", 3)], Head(l2=(1e-2,)))
    again = HeadRefit.of(head, np.arange(300), truth, fold, 3)(np.ones(299, bool))
    np.testing.assert_allclose(apply_temperature(again, 1), apply_temperature(head.held_out_logits, 1), atol=0.02)


def test_a_refit_pickles_and_copies_no_scores():
    _answers, truth, _labels, points = world(classes=3, count=300)
    rows, fold = np.arange(300), np.arange(300) % 4
    head = fit(points, rows, truth, fold, 3, [Block("last", 3)], Head(l2=(1e-2,)))
    refit = HeadRefit.of(head, rows, truth, fold, 3)
    assert refit.scores is head.scores
    sent = pickle.loads(pickle.dumps(refit))
    kept = np.arange(300) % 7 > 0
    np.testing.assert_array_equal(sent(kept), refit(kept))


def test_the_result_is_deterministic():
    probabilities, _truth, labels, _points = world(wrong=0.1)
    first, second = find_label_issues(labels, probabilities), find_label_issues(labels, probabilities)
    assert first.label_probability.tobytes() == second.label_probability.tobytes()


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("classes", [2, 5])
def test_a_handful_of_pictures(count, classes):
    probabilities = np.full((count, classes), 1 / classes, np.float32)
    found = find_label_issues(np.arange(count), probabilities, lambda kept: np.log(probabilities))
    assert findings(found, np.arange(count), list("abcde"[:classes]), catalog(count)) == []
    assert len(table(found, np.arange(count), list("abcde"[:classes]), catalog(count))) <= count


def test_classes_without_pictures_and_classes_of_one():
    probabilities, _truth, labels, _points = world(classes=4, count=200)
    wider = np.concatenate([probabilities, np.full((200, 2), 1e-9, np.float32)], axis=1)
    labels[0] = 5
    found = find_label_issues(labels, wider, lambda kept: np.log(wider))
    assert found.flagged.tolist() == [True] + [False] * 199


def test_many_classes():
    generator = np.random.default_rng(0)
    labels = np.arange(3000) % 1000
    logits = generator.normal(size=(3000, 1000)).astype(np.float32)
    logits[np.arange(3000), labels] += 12
    labels[:90] = (labels[:90] + 500) % 1000
    found = find_label_issues(labels, apply_temperature(logits, 1.0))
    assert np.flatnonzero(found.flagged).tolist() == list(range(90))
    assert found.noise_rate == pytest.approx(0.03, abs=0.005)


def test_findings_count_the_pictures_and_name_label_and_answer():
    probabilities, truth, labels, _points = world(wrong=0.1, spread=0.5)
    found = find_label_issues(labels, probabilities)
    rows = np.arange(COUNT) + 10
    first = findings(found, rows, list("abcde"), catalog(COUNT + 10))[0]
    assert (first.kind, first.severity) == ("suspected_labels", "serious")
    assert first.title() == f"{found.flagged.sum()} of 1,500 pictures look mislabelled ({found.flagged.mean():.1%})."
    worst = first.groups[0][0] - 10
    assert first.captions()[0].startswith(f"label: {'abcde'[labels[worst]]}, answer: {'abcde'[truth[worst]]} (")
    assert first.count == first.values["count"] == found.flagged.sum()


def test_one_wrong_label_is_a_warning_that_names_it():
    probabilities, truth, labels, _points = world(spread=0.5)
    labels[3] = 4
    (only,) = findings(find_label_issues(labels, probabilities), np.arange(COUNT), list("abcde"), catalog(COUNT))
    assert only.severity == "warning"
    named = f"3.jpg is labelled “e”, the answer is “{'abcde'[truth[3]]}”"
    assert only.title() == f"1 of 1,500 pictures looks mislabelled: {named}."
    assert only.groups == ((3,),)


def test_classes_that_look_alike_are_named_with_pictures():
    probabilities, truth, labels, _points = world()
    generator = np.random.default_rng(2)
    unsure = truth < 2
    shown = np.where(generator.random(COUNT) < 0.3, 1 - truth, truth)[unsure]
    probabilities[unsure] = 0.7 * np.eye(5, dtype=np.float32)[shown] + 0.3 * np.eye(5, dtype=np.float32)[1 - shown]
    alike = findings(find_label_issues(labels, probabilities), np.arange(COUNT), list("abcde"), catalog(COUNT))[-1]
    assert (alike.kind, alike.severity) == ("classes_alike", "warning")
    assert alike.title().startswith("“a” and “b” look alike: ")
    low, high = alike.values["pairs"][0]["interval"]
    assert low < alike.values["pairs"][0]["share"] < high
    assert all(truth[row] < 2 for row in alike.groups[0])


def test_the_table_begins_with_the_suspected_and_goes_on_with_the_contradicted():
    probabilities, _truth, labels, _points = world(wrong=0.1)
    found = find_label_issues(labels, probabilities)
    written = table(found, np.arange(COUNT), list("abcde"), catalog(COUNT))
    suspected = int(found.flagged.sum())
    assert written["suspected"].tolist() == [True] * suspected + [False] * (len(written) - suspected)
    assert written["label_probability"][:suspected].is_monotonic_increasing
    assert (written["label"] != written["suggested"]).all()
    assert (written["correct_label"] == "").all()
    assert suspected < len(written) <= 2 * suspected


@pytest.mark.parametrize("n", [0, 4, 170])
def test_uninformative_answers_doubt_no_label(n):
    random = np.random.default_rng(n)
    truth = random.integers(0, 3, n)
    answers = random.dirichlet([0.2] * 3, n).astype(np.float32).reshape(n, 3)
    issues = find_label_issues(truth, answers)
    assert not issues.flagged.any()
    assert findings(issues, np.arange(n), ["a", "b", "c"], catalog(n)) == []
