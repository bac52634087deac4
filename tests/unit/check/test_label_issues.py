"""Planted mistakes are found and little else is, hard pictures are no mistakes, and any shape of data is survived."""

import pickle
import subprocess
import sys
import warnings
from dataclasses import replace

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


def given_as(truth, a, b, share, seed=1):
    """The labels, a share of class ``a`` given as ``b``."""
    own = np.random.default_rng(seed).permutation(np.flatnonzero(truth == a))
    labels = truth.copy()
    labels[own[: round(share * len(own))]] = b
    return labels


def judged(points, labels, classes):
    """What heads on points say of labels, as a check asks them."""
    rows, fold = np.arange(len(labels)), np.arange(len(labels)) % 5
    refit = HeadRefit.of(
        fit(points, rows, labels, fold, classes, [Block("last", classes)], Head()), rows, labels, fold, classes
    )
    heads = refit.fit()
    probabilities = apply_temperature(refit.logits(heads), 1.0)
    return find_label_issues(labels, probabilities, replace(refit, starts=tuple(heads)))


@pytest.mark.parametrize(("count", "share"), [(1500, 0.1), (1500, 0.25), (300, 0.25)])
def test_a_share_of_one_class_given_as_another_is_found(count, share):
    _answers, truth, _labels, points = world(classes=3, count=count)
    labels = given_as(truth, 2, 0, share)
    found, bad = judged(points, labels, 3), labels != truth
    assert bad[found.flagged].mean() > 0.9
    assert found.flagged[bad].mean() > 0.8
    assert (found.suggested[found.flagged & bad] == 2).all()
    (pair,) = found.one_way
    assert (pair.truth, pair.label) == (2, 0)
    assert found.noise_rate == pytest.approx(bad.mean(), abs=0.02)


def test_without_time_for_rounds_the_first_answers_count():
    probabilities, truth, _labels, _points = world(classes=3)
    labels = given_as(truth, 2, 0, 0.1)
    found = find_label_issues(labels, probabilities, lambda kept: 1 / 0, has_time=lambda: False)
    assert (labels != truth)[found.flagged].mean() > 0.9


def one_way_findings(share=0.25):
    probabilities, truth, _labels, _points = world(classes=3, spread=0.7)
    labels = given_as(truth, 2, 0, share)
    found = find_label_issues(labels, probabilities)
    return found, findings(found, np.arange(COUNT), ["rose", "tulip", "daisy"], catalog(COUNT))


def test_labels_that_are_wrong_in_one_direction_are_named_with_it():
    found, (finding,) = one_way_findings()
    assert finding.severity == "serious"
    (pair,) = finding.values["one_way"]
    first = [f"{row}.jpg" for row in found.ranking[:3]]
    assert pair == {"label": "rose", "suggested": "daisy", "count": found.flagged.sum(), "paths": first}
    named = f"{', '.join(first)} and {pair['count'] - 3} more."
    sentence = f"{pair['count']} labelled “rose” look like “daisy”, hardly any the other way round: {named}"
    assert finding.title().endswith(sentence)
    assert "suspects.csv" in finding.advice()
    assert "--labels" in finding.advice()


def test_one_way_confusion_that_is_not_sure_enough_is_shown_by_rank_and_no_merging_is_advised():
    """A fifth of the roses is answered as daisy, never with confidence, and no daisy as rose."""
    truth = np.arange(600) % 2
    unsure = (truth == 0) & (np.arange(600) % 10 < 2)
    daisy = np.where(unsure, 0.55 + np.arange(600) / 1e4, np.where(truth == 1, 0.9, 0.1))
    found = find_label_issues(truth, np.stack([1 - daisy, daisy], axis=1).astype(np.float32))
    assert not found.flagged.any()
    (finding,) = findings(found, np.arange(600), ["rose", "daisy"], catalog(600))
    assert (finding.kind, finding.severity) == ("one_way_confusion", "warning")
    assert finding.title() == (
        "60 of 300 pictures of “rose” are taken for “daisy”, but only 0 of 300 the other way round."
    )
    assert [row for (row,) in finding.groups] == np.flatnonzero(unsure)[::-1].tolist()
    assert "“daisy” may be labelled “rose”, such as 590.jpg, 580.jpg, 570.jpg." in finding.advice()
    assert "merge" not in finding.advice()
    written = table(found, np.arange(600), ["rose", "daisy"], catalog(600))
    assert written["path"].tolist()[:2] == ["590.jpg", "580.jpg"]


def confused_both_ways(wrong=0):
    """Two classes of which a third is answered as the other; with ``wrong`` confident contradictions on top."""
    probabilities, truth, _labels, _points = world()
    shown = np.where((np.arange(COUNT) % 3 == 0) & (truth < 2), 1 - truth, truth)
    unsure = truth < 2
    probabilities[unsure] = (
        0.7 * np.eye(5, dtype=np.float32)[shown][unsure] + 0.3 * np.eye(5, dtype=np.float32)[1 - shown[unsure]]
    )
    labels = truth.copy()
    for row in np.flatnonzero(truth == 0)[:wrong]:
        labels[row], probabilities[row] = 1, [1 - 4e-7, *[1e-7] * 4]
    return findings(find_label_issues(labels, probabilities), np.arange(COUNT), list("abcde"), catalog(COUNT))


def test_classes_confused_both_ways_may_be_merged():
    alike = confused_both_ways()[-1]
    assert alike.kind == "classes_alike"
    assert "merge the classes" in alike.advice()


def test_no_merging_is_advised_while_labels_between_the_classes_are_suspected():
    mislabelled, alike = confused_both_ways(wrong=4)
    assert (mislabelled.kind, alike.kind) == ("suspected_labels", "classes_alike")
    assert alike.advice() == (
        "Correct the suspected labels first: 4 are between such classes, and may be why they are confused."
    )


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
