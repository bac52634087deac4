"""The page about a finished model on other pictures."""

from typing import Any

import pandas as pd
import pytest

from kilat.learn.metrics import Evaluation
from kilat.report.evaluation_page import EvaluationPage, render
from kilat.report.pictures import Thumbnail

NAMES = ["cat", "dog", "owl"]
CONFUSION = [[40, 0, 0], [7, 40, 0], [0, 0, 40]]
OWN = {"n": 700, "accuracy": 0.99, "accuracy_interval": [0.98, 0.995]}


@pytest.fixture(name="page_of")
def _page_of(measures, catalog_of, parse):
    def page_of(
        confusion: list[list[int]] = CONFUSION, *, names: list[str] = NAMES, own: Any = OWN, **sections: Any
    ) -> Any:
        test = measures(names, confusion)
        del test["uncalibrated"]
        n = test["n"]
        data = {"used": n, "refused": 1, "classes": names, "test": n}
        document = {"schema": 1, "notes": [], "data": data, "test": test | sections.pop("test", {}), "timing": {}}
        answers = {"path": ["dog/0.jpg"], "split": "test", "label": "dog", "predicted": "cat", "probability": 0.9}
        shown = EvaluationPage(
            name="pets · street",
            command="kilat eval runs/pets street/",
            begun="2026-05-01T09:30",
            evaluation=Evaluation.model_validate(document | sections),
            own_test=own,
            catalog=catalog_of(names, [("bad.jpg", "empty_file", "")]),
            predictions=pd.DataFrame(answers),
            thumbnails={"dog/0.jpg": Thumbnail(uri="data:,")},
        )
        return parse(render(shown))

    return page_of


def test_it_begins_like_a_report_and_compares_with_the_models_own_test(page_of):
    text = page_of().text
    assert "kilat eval runs/pets street/ 127 pictures, 3 classes 1 May 2026, 09:30" in text
    assert "94.5% of 127 test pictures are answered rightly, 95% interval 87.1 to 94.2" in text
    assert "it was right for 99.0%: these pictures are harder for it" in text
    assert "labelled doganswered cat 90.0%" in text
    assert "Refused pictures" in text


def test_pictures_that_the_model_was_trained_on_are_said_to_be_no_test(page_of):
    part = {"n": 12, "accuracy": 1.0, "accuracy_interval": [0.75, 1.0], "log_loss": 0, "brier": 0, "ece": 0}
    assert "12 more pictures are no test: the model was trained on them (100.0% right)." in page_of(train=part).text


def test_pictures_of_other_classes_are_told_from_the_models_own(page_of):
    others = {"n": 50, "flagged": 40, "share": 0.8, "interval": [0.67, 0.89], "auroc": 0.93}
    unknown = {"n": 127, "flagged": 6, "share": 6 / 127, "interval": [0.02, 0.1], "other_classes": others}
    text = page_of(test={"unknown": unknown}).text
    assert "4.7% of 127 pictures of the model's classes were reported as unknown, which is a mistake." in text
    assert "Of 50 pictures of other classes, 80.0% were, as they should be." in text


def test_nothing_to_measure_is_said(page_of):
    text = page_of([[0] * 3] * 3, own={}).text
    assert "Nothing could be measured" in text
    assert "There was nothing to measure this on." in text
    assert "nan" not in text


def test_names_are_only_ever_text(page_of):
    hostile = "</style><script>x</script>\ud800"
    page = page_of(names=[hostile, "dog", "owl"])
    page.html.encode("utf-8")
    assert page.html.count("<script") == 1
