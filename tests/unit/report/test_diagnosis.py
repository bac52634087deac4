"""The diagnosis: what follows from what is known, what is said first, and what is not said."""

from dataclasses import replace
from typing import Any

import pytest

from kilat.learn.metrics import Metrics, NoteSection
from kilat.locale.diagnosis_sentences import DIAGNOSES
from kilat.report.diagnosis import Evidence, diagnose, diagnose_other_pictures
from kilat.report.learning_curve import Point
from kilat.report.training_course import Course

NAMES = ["cat", "dog", "owl"]
EVEN = [[60, 2, 1], [1, 60, 2], [2, 1, 60]]
SETTLED = Course(
    epochs=20, best=18, first_loss=1.1, best_loss=0.3, last_loss=0.3, worst_loss=1.1, recent_fall=0.02,
    training_accuracy=0.95, validation_accuracy=0.95,
)  # fmt: skip
FIT: dict[str, Any] = {
    "epochs": 20, "best_epoch": 18, "stop_reason": "all_epochs", "optimizer": "adam", "schedule": "one_cycle",
    "batch": 64, "micro_batch": 64, "precision": "fp32", "device": "cpu", "devices": 1, "rollbacks": 0, "averaged": 0,
    "horizontal_flip": False, "precise_batch_norm": 0, "parameters": 9, "trainable": 9, "macs": 9, "temperature": 1.0,
}  # fmt: skip
RISING = [Point(500, 0.85, 0.82, 0.88), Point(1000, 0.9, 0.88, 0.92)]
FLAT = [Point(500, 0.899, 0.88, 0.92), Point(1000, 0.9, 0.88, 0.92)]
SUSPECTS = {
    "kind": "suspected_labels", "severity": "serious", "pictures": [], "caption_values": [],
    "values": {"count": 59, "n": 1008, "share": 0.0585},
}  # fmt: skip


@pytest.fixture(name="evidence")
def _evidence(metrics_of):
    """Returns what is known of a run with a head that is neither bad nor perfect; sections may be changed."""

    def evidence(confusion: list[list[int]] = EVEN, **known: Any) -> Evidence:
        sections = {name: known.pop(name) for name in ("notes", "check", "fit", "data", "test") if name in known}
        document = metrics_of(NAMES, confusion)
        for name, section in sections.items():
            document[name] = {**document.get(name, {}), **section} if isinstance(section, dict) else section
        return Evidence(Metrics.model_validate(document), **known)

    return evidence


def codes(evidence: Evidence) -> list[str]:
    return [note.code.removeprefix("diagnosis_") for note in diagnose(evidence)]


def test_every_code_is_a_sentence_that_its_values_fill(evidence):
    for note in diagnose(evidence(curve=RISING)):
        assert note.code in DIAGNOSES
        assert "{" not in note.sentence()


def test_nothing_measured_is_said_alone(evidence):
    assert codes(evidence([[0] * 3] * 3)) == ["nothing_measured"]


def test_more_pictures_help_where_the_curve_rises_and_nothing_else_was_found(evidence):
    assert codes(evidence(curve=RISING)) == ["more_pictures"]
    assert codes(evidence(curve=FLAT)) == ["more_pictures_help_little"]
    assert codes(evidence()) == ["good"]
    by_chance = [Point(40, 0.895, 0.76, 0.96), Point(76, 0.92, 0.79, 0.97)]
    assert codes(evidence(curve=by_chance)) == ["good"]


@pytest.mark.parametrize(
    "known",
    [
        {"check": {"findings": [SUSPECTS]}},
        {"notes": [{"code": "batch_norm_unsettled", "values": {"count": 3, "share": 0.4}}], "fit": FIT,
         "course": SETTLED},
        {"fit": FIT | {"rollbacks": 1}, "course": SETTLED},
        {"fit": FIT, "course": replace(SETTLED, training_accuracy=0.97, validation_accuracy=0.83)},
        {"fit": FIT, "course": replace(SETTLED, best=20, recent_fall=0.3)},
        {"confusion": [[60, 20, 0], [12, 50, 1], [1, 0, 60]]},
        {"notes": [{"code": "time_limit_pictures", "values": {"count": 300, "total": 900}}]},
        {"notes": [{"code": "small_network_needs_torch", "values": {}}]},
    ],
    ids=["suspects", "batch norm", "diverged", "overfitting", "unfinished", "pair", "time limit", "small pictures"],
)  # fmt: skip
def test_more_pictures_are_never_advised_where_something_else_comes_first(evidence, known):
    sentences = " ".join(note.sentence() for note in diagnose(evidence(curve=RISING, **known)))
    assert "more pictures" not in sentences.lower()


@pytest.mark.parametrize(
    ("course", "code"),
    [
        (replace(SETTLED, training_accuracy=0.97, validation_accuracy=0.83), "overfitting"),
        (replace(SETTLED, training_accuracy=0.62, validation_accuracy=0.61), "underfitting"),
        (replace(SETTLED, best=20, recent_fall=0.3), "unfinished"),
        (replace(SETTLED, worst_loss=4e9), "unstable"),
        (SETTLED, "good"),
        (replace(SETTLED, training_accuracy=None), "good"),
    ],
)
def test_training_and_validation_are_read_together(evidence, course, code):
    assert codes(evidence(fit=FIT, course=course)) == [code]


def test_the_sentence_about_training_has_both_accuracies(evidence):
    course = replace(SETTLED, training_accuracy=0.9996, validation_accuracy=0.83)
    (note,) = diagnose(evidence(fit=FIT, course=course))
    assert note.sentence().startswith("Training 99%, validation 83%: ")


def test_labels_that_a_poor_network_suspects_are_not_blamed(evidence):
    in_part = {"notes": [{"code": "labels_checked_in_part", "values": {"count": 566, "total": 1797}}], "fit": FIT}
    suspected = {**in_part, "check": {"findings": [SUSPECTS]}, "course": SETTLED}
    assert codes(evidence(**suspected)) == ["suspected_labels"]
    assert codes(evidence(**suspected, test={"ece": 0.11})) == ["good"]
    overfitted = replace(SETTLED, training_accuracy=0.99, validation_accuracy=0.8)
    assert codes(evidence(**{**suspected, "course": overfitted})) == ["overfitting"]


def test_accuracy_on_mixed_pictures_is_compared_with_nothing(evidence):
    course = replace(SETTLED, training_accuracy=0.6, validation_accuracy=0.8)
    assert codes(evidence(fit=FIT, course=course)) == ["underfitting"]
    assert codes(evidence(fit=FIT, course=course, mixes=True)) == ["good"]


def test_a_time_limit_is_named_where_it_ended_what_still_fell(evidence):
    course = replace(SETTLED, best=20, recent_fall=0.3)
    assert codes(evidence(fit=FIT | {"stop_reason": "time_limit"}, course=course)) == ["time_limit"]
    assert codes(evidence(fit=FIT | {"stop_reason": "time_limit"})) == ["cut_short"]


def test_batch_norm_that_had_not_settled_comes_before_all_else(evidence):
    notes = [{"code": "batch_norm_unsettled", "values": {"count": 3, "share": 0.4}}]
    course = replace(SETTLED, training_accuracy=0.97, validation_accuracy=0.3)
    found = evidence([[5, 3, 2]] * 3, notes=notes, fit=FIT, course=course, check={"findings": [SUSPECTS]})
    assert codes(found) == ["batch_norm", "few_measured"]


def test_a_network_that_learned_nothing_is_told_from_one_that_needs_pictures(evidence):
    baseline = {"majority": {"label": "cat", "accuracy": 0.9}, "balanced_accuracy": 0.4}
    course = replace(SETTLED, training_accuracy=0.4, validation_accuracy=0.4)
    assert codes(evidence(fit=FIT, course=course, test=baseline)) == ["nothing_learned"]
    assert codes(evidence(test=baseline, data={"train": 20})) == ["too_few_pictures"]
    assert codes(evidence(test=baseline, data={"train": 2000})) == ["no_better_than_baseline"]
    same = [{"code": "parity_inconclusive", "values": {"count": 64}}]
    assert codes(evidence(notes=same, fit=FIT, course=course)) == ["same_answer"]
    assert codes(evidence(notes=same, fit=FIT, course=course, is_penalised=True)) == ["same_answer_penalised"]


def test_an_uneven_set_whose_rare_classes_are_found_is_no_baseline(evidence):
    uneven = {"majority": {"label": "cat", "accuracy": 0.9}, "balanced_accuracy": 0.8}
    course = replace(SETTLED, training_accuracy=0.95, validation_accuracy=0.94)
    assert codes(evidence(fit=FIT, course=course, test=uneven)) == ["good"]


def test_a_gap_that_chance_explains_is_no_overfitting(evidence):
    course = replace(SETTLED, training_accuracy=0.95, validation_accuracy=0.85)
    few = evidence(fit=FIT, course=course)
    validation = few.metrics.validation.model_copy(update={"n": 30})
    few = replace(few, metrics=few.metrics.model_copy(update={"validation": validation}))
    assert codes(few) == ["good"]
    assert codes(evidence(fit=FIT, course=course)) == ["overfitting"]


def test_a_leak_is_said_first_and_then_what_to_do(evidence):
    clean = {"n": 150, "leaked": 39, "accuracy": 0.8, "accuracy_interval": [0.73, 0.86]}
    assert codes(evidence(test={"without_leaked": clean}, curve=RISING)) == ["leak", "more_pictures"]
    every = {"n": 0, "leaked": 189, "accuracy": None, "accuracy_interval": None}
    assert codes(evidence(test={"without_leaked": every}, curve=RISING)) == ["only_leaked"]


def test_a_shortcut_and_few_measured_make_the_measurement_doubtful(evidence):
    shortcut = {**SUSPECTS, "kind": "shortcut", "values": {}}
    assert codes(evidence(check={"findings": [shortcut]}))[0] == "shortcut"
    assert codes(evidence([[9, 1, 0], [1, 9, 0], [0, 0, 9]]))[0] == "few_measured"


def test_a_rare_class_that_is_not_recognised_is_named(evidence):
    confusion = [[90, 1, 0], [2, 88, 0], [4, 3, 1]]
    document = evidence(confusion, train_counts={"cat": 400, "dog": 380, "owl": 12})
    measured = document.metrics.test
    weak = measured.per_class["owl"].model_copy(update={"recall": 0.125, "support": 8})
    classes = {**measured.per_class, "owl": weak}
    test = measured.model_copy(update={"per_class": classes, "accuracy": 0.94})
    (note,) = diagnose(replace(document, metrics=document.metrics.model_copy(update={"test": test})))
    assert "Too few pictures of “owl”: it has 12 to train on, and 1 of 8 in the test are" in note.sentence()
    refused = [NoteSection(code="class_mostly_refused", values={"label": "owl", "count": 90, "total": 110})]
    metrics = document.metrics.model_copy(update={"test": test, "notes": refused})
    (note,) = diagnose(replace(document, metrics=metrics))
    assert "Most pictures of “owl” were refused (90 of 110)" in note.sentence()


def test_a_pair_that_holds_most_of_the_mistakes_is_named(evidence):
    (note,) = diagnose(evidence([[60, 9, 0], [7, 60, 1], [0, 1, 60]]))
    assert note.sentence().startswith("89% of all mistakes are between “cat” and “dog” (16 of 18)")


def test_no_mistake_at_all_is_said(evidence):
    assert codes(evidence([[60, 0, 0], [0, 60, 0], [0, 0, 60]], curve=RISING)) == ["all_right"]


def test_other_pictures_are_measured_against_the_models_own_test(evidence):
    measured = evidence().metrics.test  # 95.2%, with the interval 87.1 to 94.2
    for low, high, code in ((0.95, 0.99, "worse_than"), (0.7, 0.8, "better_than"), (0.9, 0.96, "as")):
        own = {"n": 700, "accuracy": (low + high) / 2, "accuracy_interval": [low, high]}
        (note,) = diagnose_other_pictures(measured, own, NAMES)
        assert note.code == f"diagnosis_{code}_own_test"
    assert [note.code for note in diagnose_other_pictures(measured, {}, NAMES)] == ["diagnosis_good"]
