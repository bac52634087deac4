"""Uncertainty in the report: the page says what was measured, and leaves out what was not."""

import re
from typing import Any

import numpy as np
import pytest

from kilat.evaluate.conformal import ConformalSets, measure_sets
from kilat.evaluate.metrics import measure, wilson_interval
from kilat.learn.measures import SetMeasures
from kilat.learn.metrics import UnknownSection
from kilat.report import lead, uncertainty
from kilat.report.diagnosis import diagnose
from kilat.report.findings import ShownFinding
from kilat.report.page import render

NAMES = ["cat", "dog", "owl"]
UNKNOWN: dict[str, Any] = {
    "methods": ["knn", "energy"],
    "rate": 0.05,
    "auroc": {"knn": 0.77, "energy": 0.83, "knn+energy": 0.852},
    "left_out": 5,
    "test": {"n": 734, "flagged": 31, "share": 31 / 734, "interval": wilson_interval(31, 734)},
}
WITHOUT = {"n": 700, "leaked": 34, "accuracy": 0.8812, "accuracy_interval": [0.855, 0.903]}


def answered(target: float = 0.9, *, per_class: bool = False) -> dict[str, Any]:
    """Return the measures of 300 predictions, sets included."""
    random = np.random.default_rng(1)
    logits = random.normal(size=(600, 3))
    truth = random.integers(3, size=600)
    logits[np.arange(600), truth] += 2
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    members = ConformalSets.fit(probabilities[:300], truth[:300], coverage=0.9).members(probabilities[300:])
    sets = measure_sets(members, truth[300:], NAMES)
    measured = measure(truth[300:], probabilities[300:], NAMES, uncalibrated=probabilities[300:] ** 2)
    return {**measured, "sets": {"method": "lac", "target_coverage": target, "per_class": per_class, **sets}}


@pytest.fixture(name="page_of")
def _page_of(report_of, metrics_of, parse):
    """Returns the page of a run with some sections of its metrics."""

    def page_of(**sections: Any) -> Any:
        return parse(render(report_of(NAMES, metrics=metrics_of(NAMES) | sections)))

    return page_of


def test_sets_say_the_target_the_coverage_and_how_large_they_are(page_of):
    test = answered()
    text, sets = page_of(test=test).text, test["sets"]
    assert "made to contain the true class for 90% of all pictures." in text
    assert f"On the test set it did for {sets['coverage']:.1%} of 300 pictures" in text
    assert ", which agrees with the target." in text
    assert f"A set has {sets['size']:.2f} classes on average." in text
    assert "The target holds for all classes together, not for each." in text
    assert f"Coverage is lowest for “{sets['worst_class']['label']}”" in text
    assert "target: 90%" in text


@pytest.mark.parametrize(("target", "said"), [(0.995, "less"), (0.5, "more")])
def test_a_target_that_was_missed_is_said(page_of, target, said):
    assert f", which is {said} than the target." in page_of(test=answered(target)).text


def test_a_target_for_each_class_is_called_that(page_of):
    assert "The target holds for each class by itself." in page_of(test=answered(per_class=True)).text


def test_calibration_has_its_interval_and_each_class(page_of):
    test = answered()
    text = page_of(test=test).text
    assert "{:.3f} to {:.3f}".format(*test["ece_interval"]) in text
    assert f"{test['adaptive_ece']:.3f}" in text
    worst = max(test["per_class"], key=lambda name: test["per_class"][name]["ece"])
    drawn = text[text.index("the worst class comes first") :]
    assert min(NAMES, key=drawn.index) == worst


def test_the_unknown_says_how_its_score_was_chosen_and_how_often_it_is_wrong(page_of):
    text = page_of(test=answered(), unknown=UNKNOWN).text
    methods = "the distance to the nearest training picture and the energy of the logits"
    assert f"with {methods}, a picture of a class left out scores higher than an ordinary one in 85.2%" in text
    assert "made for a false-positive rate of 5%; of 734 test pictures, 4.2% were reported as unknown" in text
    assert text.index("0.852") < text.index("0.830") < text.index("0.770")
    nothing = {"n": 0, "flagged": 0, "share": None, "interval": None}
    untried = {**UNKNOWN, "methods": ["knn"], "auroc": {}, "left_out": 0, "test": nothing}
    text = page_of(test=answered(), unknown=untried).text
    assert "The score is the distance to the nearest training picture." in text
    assert "AUROC" not in text


def test_what_was_not_measured_is_left_out(page_of):
    text = page_of().text
    assert "How far to trust an answer" in text
    assert "Unknown pictures" not in text
    assert "A set of classes" not in text
    assert "for each class" not in text
    sets = SetMeasures.model_validate(
        {"method": "lac", "target_coverage": 0.9, "per_class": False, "size_interval": None,
         **measure_sets(np.zeros((0, 3), bool), np.zeros(0, int), NAMES)}
    )  # fmt: skip
    assert uncertainty.set_sentences(sets) == []
    assert uncertainty.unknown_sentences(UnknownSection.model_validate({**UNKNOWN, "methods": []})) == []


def test_leaked_pictures_are_told_in_the_verdict(page_of):
    text = page_of(test={**answered(), "without_leaked": WITHOUT}).text
    assert "34 of the 734 test pictures have a near-duplicate among the training pictures" in text
    none = page_of(test={**answered(), "without_leaked": {**WITHOUT, "leaked": 0}}).text
    assert "near-duplicate among" not in none


def found(kind: str, severity: str = "serious") -> ShownFinding:
    return ShownFinding(kind, severity, f"{kind} is bad.", "Fix it.")  # type: ignore[arg-type]


def test_serious_findings_are_told_in_the_verdict_and_the_rest_is_not(report_of, metrics_of):
    def verdict(*findings: ShownFinding, **test: Any) -> str:
        metrics = metrics_of(NAMES)
        metrics["test"] |= test
        report = report_of(NAMES, metrics=metrics)
        return " ".join(lead.verdict(report.metrics, diagnose(report.evidence()), findings))

    assert "leak is bad." in verdict(found("leak"), found("grey", "warning"))
    assert "grey" not in verdict(found("grey", "warning"))
    many = verdict(found("leak"), found("shortcut"), found("suspected_labels"))
    assert "shortcut is bad. More serious findings are listed under “The data”." in many
    assert "suspected_labels" not in many
    leaked = verdict(found("leak"), found("shortcut"), without_leaked=WITHOUT)
    assert "leak is bad." not in leaked
    assert "shortcut is bad." in leaked


def section_about_data(html: str) -> str:
    return html[html.index('<section id="data"') : html.index('<section id="curve"')]


def test_findings_stand_in_the_report_the_first_openly(page_of):
    kinds = ["uniform", "blurred", "tiny", "underexposed", "overexposed", "outlier", "grey"]
    findings = [
        {"kind": kind, "severity": "warning", "values": {"count": 7}, "pictures": [], "caption_values": []}
        for kind in kinds
    ]
    html = page_of(check={"serious": 0, "findings": findings}).html
    data = section_about_data(html)
    assert len(re.findall(r"<h3>7 pictures (.*?)</h3>", data)) == 7
    assert data.index("7 pictures are tiny") < data.index("<details>") < data.index("7 pictures are underexposed")
    assert "4 more findings" in data
    assert "<details>" not in section_about_data(page_of(check={"serious": 0, "findings": findings[:3]}).html)
