"""How far to trust an answer: the page says what was measured, and leaves out what was not."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kilat.evaluate.conformal import ConformalSets, measure_sets
from kilat.evaluate.metrics import measure, wilson_interval
from kilat.report import uncertainty
from kilat.report.findings import ShownFinding
from kilat.report.page import Report, render

NAMES = ["cat", "dog", "owl"]
UNKNOWN: dict[str, Any] = {
    "methods": ["knn", "energy"],
    "rate": 0.05,
    "auroc": {"knn": 0.77, "energy": 0.83, "knn+energy": 0.852},
    "left_out": 5,
    "test": {"n": 734, "flagged": 31, "share": 31 / 734, "interval": wilson_interval(31, 734)},
}


def answered(asked: float = 0.9, *, promise: bool = False) -> dict[str, Any]:
    """Measures of 600 answers, sets included."""
    random = np.random.default_rng(1)
    logits = random.normal(size=(600, 3))
    truth = random.integers(3, size=600)
    logits[np.arange(600), truth] += 2
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    members = ConformalSets.fit(probabilities[:300], truth[:300], coverage=0.9).members(probabilities[300:])
    sets = measure_sets(members, truth[300:], NAMES)
    measured = measure(truth[300:], probabilities[300:], NAMES, uncalibrated=probabilities[300:] ** 2)
    return {**measured, "sets": {"method": "lac", "target_coverage": asked, "per_class": promise, **sets}}


def page(test: dict[str, Any], *findings: ShownFinding, **metrics: Any) -> str:
    """The page of a report that holds little else."""
    data = {"used": 900, "refused": 0, "classes": NAMES}
    catalog = pd.DataFrame({"path": [], "label": [], "split": [], "status": []}, dtype=object)
    return render(
        Report("pets", {"data": data, "test": test, **metrics}, "", catalog, [], [], [], [], findings=findings)
    )


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<style>.*?</style>|<[^<>]*>", "", html, flags=re.DOTALL).split())


def page_with(test: dict[str, Any], **metrics: Any) -> str:
    return text_of(page(test, **metrics))


def test_sets_say_what_was_asked_what_was_kept_and_how_large_they_are() -> None:
    test = answered()
    text = page_with(test)
    sets = test["sets"]
    assert f"for 90% of all pictures, the sets held it for {sets['coverage']:.1%} of 300 test pictures" in text
    assert ", as was asked." in text
    assert f"A set has {sets['size']:.2f} classes on average." in text
    assert "promised for all classes together, not for each" in text
    assert f"missed most often for “{sets['worst_class']['label']}”" in text
    assert "target: 90%" in text


@pytest.mark.parametrize(("target_coverage", "said"), [(0.995, "less often"), (0.5, "more often")])
def test_a_promise_that_was_not_kept_is_said(asked: float, said: str) -> None:
    assert f"that is {said} than was asked." in page_with(answered(asked))


def test_a_promise_to_each_class_is_called_that() -> None:
    assert "promised for each class by itself" in page_with(answered(promise=True))


def test_calibration_has_its_interval_and_each_class() -> None:
    test = answered()
    text = page_with(test)
    assert "{:.3f} to {:.3f}".format(*test["ece_interval"]) in text
    assert f"{test['adaptive_ece']:.3f}" in text
    worst = max(test["per_class"], key=lambda name: test["per_class"][name]["ece"])
    drawn = text[text.index("the worst class comes first") :]
    assert min(NAMES, key=drawn.index) == worst


def test_the_unknown_says_how_it_was_chosen_and_how_often_it_is_wrong() -> None:
    text = page_with(answered(), unknown=UNKNOWN)
    taken = "the distance to the nearest training picture and the energy of the answer"
    assert f"by {taken} it finds a picture of a class left out stranger than an ordinary one in 85.2%" in text
    assert "wrong about 5% of ordinary pictures; of the 734 test pictures it called 4.2% unknown" in text
    assert text.index("0.852") < text.index("0.830") < text.index("0.770")
    untried = {**UNKNOWN, "methods": ["knn"], "auroc": {}, "left_out": 0, "test": {"n": 0}}
    text = page_with(answered(), unknown=untried)
    assert "It tells by: the distance to the nearest training picture." in text
    assert "AUROC" not in text


@pytest.mark.parametrize("unknown", [None, {}])
def test_what_was_not_measured_is_left_out(unknown: Any) -> None:
    text = page_with({"n": 300, "accuracy": 0.9, "ece": 0.01}, unknown=unknown)
    assert "How far to trust an answer" in text
    assert "None of these" not in text
    assert "A set of classes" not in text
    assert "for each class" not in text
    assert uncertainty.figures({"n": 0, "sets": {"n": 0}}) == {}


def test_leaked_pictures_are_told_in_the_verdict() -> None:
    rest = {"n": 700, "leaked": 34, "accuracy": 0.8812, "accuracy_interval": [0.855, 0.903]}
    text = page_with({**answered(), "without_leaked": rest})
    assert "34 of these pictures have a near copy among those that were learnt from. Without them 88.1% of 700" in text
    assert "One of these pictures has" in uncertainty.without_leaked({"without_leaked": {**rest, "leaked": 1}})
    only = {"n": 0, "leaked": 3, "accuracy": None, "accuracy_interval": None}
    assert uncertainty.without_leaked({"without_leaked": only}).endswith("learnt from.")
    assert uncertainty.without_leaked({"without_leaked": {**rest, "leaked": 0}}) == ""


def verdict(*findings: ShownFinding, **test: Any) -> str:
    return text_of(page({"n": 300, "accuracy": 0.9, "ece": 0.01, **test}, *findings)).split("Balanced accuracy")[0]


def test_serious_findings_are_told_in_the_verdict_and_the_rest_is_not() -> None:
    leak, shortcut, wrong = (
        ShownFinding(kind, "serious", f"{kind} is bad.", "Mend.") for kind in ("leak", "shortcut", "suspected_labels")
    )
    assert "leak is bad." in verdict(leak, ShownFinding("grey", "look", "Something grey.", "Look."))
    assert "grey" not in verdict(ShownFinding("grey", "look", "Something grey.", "Look."))
    many = verdict(leak, shortcut, wrong)
    assert "shortcut is bad. More like this is listed under “The data”." in many
    assert "suspected_labels" not in many
    rest = {"n": 70, "leaked": 34, "accuracy": 0.8812, "accuracy_interval": [0.855, 0.903]}
    told = verdict(leak, shortcut, without_leaked=rest)
    assert "leak is bad." not in told
    assert "shortcut is bad." in told


def test_findings_stand_in_the_report_the_first_openly() -> None:
    found = [ShownFinding(f"kind{i}", "look", f"Finding {i}.", f"Advice {i}.") for i in range(7)]
    html = page({"n": 300}, *found)
    data = html[html.index('<section id="data"') : html.index('<section id="curve"')]
    assert re.findall(r"<h3>(.*?)</h3>", data) == [one.title for one in found]
    assert data.index("Finding 2.") < data.index("<details>") < data.index("Finding 3.")
    assert "4 more things that were found" in data
    assert "<details>" not in page({"n": 300}, *found[:3])
