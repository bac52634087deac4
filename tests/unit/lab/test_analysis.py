"""From answers to results: what is compared with what, and what is said of it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from kilat.lab.analysis import analyse
from kilat.lab.answers import Dropped, Failure
from kilat.report.lab_content import verdict
from kilat.report.lab_results import LabResults

GRID = {
    "plain": {"fit.optimizer": "sgd", "model.normalisation": "none"},
    "norm": {"fit.optimizer": "sgd", "model.normalisation": "batch_norm"},
    "adam": {"fit.optimizer": "adam", "model.normalisation": "none"},
    "both": {"fit.optimizer": "adam", "model.normalisation": "batch_norm"},
}


def codes(results):
    return [note.code for note in results.notes]


def test_a_large_gain_is_found_and_a_small_one_is_not(draw_lab):
    results = analyse(draw_lab({"plain": 0.0, "better": 1.5, "alike": 0.05, "worse": -1.5}))
    assert {effect.second: effect.finding for effect in results.effects} == {
        "better": "better", "alike": "undecided", "worse": "worse"
    }  # fmt: skip
    assert (results.reference, results.best) == ("plain", "better")
    better, alike, worse = results.effects
    low, high = better.accuracy.interval
    assert 0 < low < better.accuracy.difference < high
    assert better.accuracy.better > 0.99
    assert worse.accuracy.better < 0.01
    assert better.accuracy.more_seeds is None
    assert alike.log_loss.more_pictures or alike.accuracy.more_pictures
    assert [(pair.first, pair.second) for pair in results.pairs] == [
        ("better", "alike"), ("better", "worse"), ("alike", "worse")
    ]  # fmt: skip
    assert results.notes == []


def test_effects_are_differences_of_the_measures_beside_them(draw_lab):
    answers = draw_lab({"plain": 0.0, "other": 0.5}, kind="frozen", folds=5, seeds=2)
    results = analyse(answers)
    truth = answers.pictures.truth
    for variant in results.variants:
        trials = [trial for trial in answers.trials if trial.variant == variant.name]
        right = np.concatenate([trial.predicted == truth[trial.pictures] for trial in trials])
        losses = -np.log(np.concatenate([trial.label_probability for trial in trials]))
        assert variant.accuracy == pytest.approx(right.mean())
        assert variant.log_loss == pytest.approx(losses.mean())
    plain, other = results.variants
    effect = results.against_reference("other")
    assert effect.accuracy.difference == pytest.approx(other.accuracy - plain.accuracy)
    assert effect.log_loss.difference == pytest.approx(other.log_loss - plain.log_loss)
    assert (effect.seeds, effect.trials, effect.pictures, results.folds) == (2, 10, 150, 5)


def test_the_order_of_trials_changes_no_byte_and_the_document_reads_back(draw_lab):
    answers = draw_lab({"plain": 0.0, "other": 0.5, "third": 0.2})
    shuffled = replace(answers, trials=[answers.trials[i] for i in np.random.default_rng(0).permutation(15)])
    document = analyse(answers).document()
    assert json.dumps(analyse(shuffled).document()) == json.dumps(document)
    assert LabResults.model_validate(json.loads(json.dumps(document))).document() == document
    assert document["schema"] == 1


def test_whichever_is_the_reference_the_effect_is_the_same(draw_lab):
    there, back = (analyse(draw_lab(gains)).effects[0] for gains in ({"a": 0.0, "b": 0.8}, {"b": 0.8, "a": 0.0}))
    assert (there.finding, back.finding) == ("better", "worse")
    for one, other in ((there.accuracy, back.accuracy), (there.log_loss, back.log_loss)):
        assert other.difference == -one.difference
        assert other.interval == pytest.approx((-one.interval[1], -one.interval[0]))
        assert other.adjusted_p == pytest.approx(one.adjusted_p)
        assert other.better == pytest.approx(1 - one.better)


def test_what_answers_alike_is_said_to(draw_lab):
    results = analyse(draw_lab({"plain": 0.0, "same": 0.0}))
    (effect,) = results.effects
    assert effect.identical
    assert effect.finding == "undecided"
    assert (effect.accuracy.difference, effect.accuracy.adjusted_p, effect.log_loss.interval) == (0, 1, None)
    assert codes(results) == ["lab_identical"]
    assert "no difference to measure" in verdict(results)[0]


@pytest.mark.parametrize("seeds", [1, 2, 3, 4])
def test_few_seeds_of_trained_networks_decide_nothing(draw_lab, seeds):
    results = analyse(draw_lab({"plain": 0.0, "better": 2.5}, seeds=seeds))
    (effect,) = results.effects
    assert (effect.finding, results.best) == ("too_few_seeds", "plain")
    assert codes(results) == ["lab_few_seeds"]
    assert (effect.accuracy.interval is None) == (seeds == 1)
    assert f"at least {5 - seeds} more seed" in verdict(results)[1]


def test_a_head_on_frozen_features_needs_one_repeat_of_its_folds(draw_lab):
    results = analyse(draw_lab({"plain": 0.0, "better": 2.5}, kind="frozen", folds=5, seeds=1))
    assert (results.effects[0].finding, results.best) == ("better", "better")


def test_a_trial_that_failed_leaves_the_seeds_that_both_have(draw_lab):
    answers = draw_lab({"plain": 0.0, "better": 2.5, "other": 0.1}, seeds=6)
    trials = [trial for trial in answers.trials if (trial.variant, trial.seed) != ("better", 2)]
    failure = Failure("better", 2, 0, "the loss is not finite")
    results = analyse(replace(answers, trials=trials, failures=[failure]))
    assert [effect.seeds for effect in results.effects] == [5, 6]
    assert codes(results) == ["lab_failed", "lab_fewer_seeds"]
    assert (results.variant("better").failed, results.variant("better").reasons) == (1, ["the loss is not finite"])


def test_a_dropped_variant_is_compared_at_the_effort_that_it_had(draw_lab):
    full, third = draw_lab({"plain": 0.0, "slow": -0.5}), draw_lab({"plain": -0.3, "slow": -0.9})
    early = [replace(trial, effort=1 / 3) for trial in third.trials]
    late = [trial for trial in full.trials if trial.variant == "plain"]
    results = analyse(replace(full, trials=[*early, *late], dropped=[Dropped("slow", 5, 1 / 3)]))
    (effect,) = results.effects
    assert effect.effort == pytest.approx(1 / 3)
    assert effect.accuracy.difference == analyse(third).effects[0].accuracy.difference
    assert results.variant("plain").accuracy == analyse(full).variant("plain").accuracy
    assert codes(results) == ["lab_dropped", "lab_effort"]


def test_without_a_reference_the_next_variant_is_one(draw_lab):
    answers = draw_lab({"plain": 0.0, "second": 0.1, "third": 1.5})
    results = analyse(replace(answers, trials=[trial for trial in answers.trials if trial.variant != "plain"]))
    assert (results.reference, results.best) == ("second", "third")
    assert codes(results) == ["lab_other_reference", "lab_not_compared"]
    nothing = analyse(replace(answers, trials=[]))
    assert (nothing.best, nothing.effects) == (None, [])
    assert "nothing to compare" in verdict(nothing)[0]


def test_options_of_a_grid_are_averaged_and_their_interactions_are_what_is_left(draw_lab):
    results = analyse(draw_lab({"plain": 0.0, "norm": 0.6, "adam": 0.3, "both": 2.0}, options=GRID))
    accuracy = {variant.name: variant.accuracy for variant in results.variants}
    by_option = {(one.option, one.value): one.accuracy.difference for one in results.options}
    assert by_option == {
        ("fit.optimizer", "adam"): pytest.approx(
            (accuracy["adam"] + accuracy["both"] - accuracy["plain"] - accuracy["norm"]) / 2
        ),
        ("model.normalisation", "batch_norm"): pytest.approx(
            (accuracy["norm"] + accuracy["both"] - accuracy["plain"] - accuracy["adam"]) / 2
        ),
    }
    (grid,) = results.grids
    assert [[cell.accuracy for cell in row] for row in grid.cells] == [
        [accuracy["plain"], accuracy["norm"]], [accuracy["adam"], accuracy["both"]]
    ]  # fmt: skip
    together = accuracy["both"] - accuracy["adam"] - accuracy["norm"] + accuracy["plain"]
    assert grid.cells[1][1].interaction.difference == pytest.approx(together)
    assert [cell.interaction for row in grid.cells for cell in row][:3] == [None] * 3


def test_lists_of_variants_are_no_grid(draw_lab):
    gains = {"plain": 0.0, "norm": 0.6, "adam": 0.3}
    assert analyse(draw_lab(gains, options=GRID)).grids == []
    assert analyse(draw_lab(gains, options=GRID)).options == []


def test_what_is_lost_are_pictures_that_the_best_answers_rightly(draw_lab):
    answers = draw_lab({"plain": 0.0, "better": 1.5})
    results = analyse(answers)
    (lost,) = results.lost
    truth = answers.pictures.truth
    balance = np.zeros(len(truth), int)
    for trial in answers.trials:
        sign = 1 if trial.variant == "better" else -1
        np.add.at(balance, trial.pictures, sign * (trial.predicted == truth[trial.pictures]))
    assert (lost.variant, lost.count, lost.won) == ("plain", (balance > 0).sum(), (balance < 0).sum())
    assert lost.shown
    assert all(balance[picture.row - 10] > 0 and picture.predicted != picture.label for picture in lost.shown)
    assert results.shown_rows == sorted(picture.row for picture in lost.shown)
