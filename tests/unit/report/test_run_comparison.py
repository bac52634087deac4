"""Runs compared on their common test pictures: which those are, what is said, and the page."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kilat import recipe as recipes
from kilat.errors import KilatError
from kilat.report import compare_page
from kilat.report.illustrations import Illustrations
from kilat.report.pictures import Thumbnail
from kilat.report.run_comparison import compare_runs, differing_options

CLASSES = ["cat", "dog"]


def digest(picture):
    return hashlib.sha256(str(picture).encode()).hexdigest()


@pytest.fixture
def run_of(report_of, metrics_of):
    """A run on numbered pictures, of which some are test pictures and some of these are answered wrongly.

    Its first picture is number ``first``; even ones are cats. ``sure`` is the probability of every answer.
    """

    def make(test=range(100), wrong=(), *, train=range(1000, 1010), sure=0.9, recipe=None, classes=CLASSES, folder=""):
        pictures = [*train, *test]
        catalog = pd.DataFrame(
            {
                "path": [f"{folder}{picture}.jpg" for picture in pictures],
                "label": [CLASSES[picture % 2] for picture in pictures],
                "split": ["train"] * len(train) + ["test"] * len(test),
                "status": "used",
                "digest": [digest(picture) for picture in pictures],
                "width": 32,
                "height": 32,
            }
        )
        answered = catalog[catalog["split"] == "test"].assign(row=lambda rows: rows.index)
        is_wrong = np.isin(list(test), list(wrong))
        other = {"cat": "dog", "dog": "cat"}
        predicted = [
            other[label] if missed else label for label, missed in zip(answered["label"], is_wrong, strict=True)
        ]
        answered = answered[["path", "split", "label", "row"]].assign(
            predicted=predicted, probability=sure, label_probability=np.where(is_wrong, 1 - sure, sure)
        )
        return replace(
            report_of(classes, metrics=metrics_of(classes)),
            catalog=catalog,
            predictions=answered.reset_index(drop=True),
            recipe=recipes.load(recipe or "transfer"),
            illustrations=Illustrations(thumbnails={path: Thumbnail(uri="data:,") for path in catalog["path"]}),
        )

    return make


class TestTwoRuns:
    def test_a_clear_difference(self, run_of):
        found = compare_runs({"small": run_of(wrong=range(20)), "large": run_of(wrong=range(18, 22))})
        (pair,) = found.pairs
        assert (found.n, pair.test.only_first, pair.test.only_second) == (100, 2, 18)
        assert pair.test.accuracy.value == pytest.approx(0.16)
        assert [run.accuracy for run in found.runs] == [0.8, 0.96]
        assert pair.p_value == pytest.approx(0.000402, abs=1e-6)
        (sentence,) = found.verdict()
        assert sentence == (
            "large answers 96.0% rightly, small 80.0%: a difference of 16.0 points (95% interval 7.2 to 24.2), more "
            "than chance explains."
        )
        assert found.notes == []

    def test_a_difference_that_chance_may_explain(self, run_of):
        found = compare_runs({"one": run_of(wrong=[1, 2]), "other": run_of(wrong=[2, 3, 4])})
        assert found.verdict()[0].endswith("which chance may explain.")

    def test_probabilities_tell_more_than_answers(self, run_of):
        found = compare_runs({"unsure": run_of(sure=0.7), "sure": run_of(sure=0.99)})
        assert found.pairs[0].test.accuracy.value == 0
        assert found.verdict()[1] == (
            "The probabilities of sure are the better ones: its log loss is 0.010, that of unsure 0.357, more than "
            "chance explains."
        )

    def test_the_document_is_strict_json(self, run_of):
        document = compare_runs({"one": run_of(wrong=[1]), "other": run_of()}).document()
        assert json.loads(json.dumps(document, allow_nan=False)) == json.loads(json.dumps(document))
        assert document["pairs"][0]["only_second"] == 1
        assert document["runs"][0]["accuracy"] == 0.99


class TestWhichPictures:
    def test_the_same_content_under_other_names(self, run_of):
        found = compare_runs({"one": run_of(), "other": run_of(test=range(99, -1, -1), wrong=[7], folder="elsewhere/")})
        assert found.n == 100
        assert found.pairs[0].test.only_first == 1
        assert found.notes == []

    def test_those_that_another_run_was_trained_on_are_left_out_and_said(self, run_of):
        found = compare_runs({"one": run_of(test=range(100)), "other": run_of(test=range(60), train=range(60, 90))})
        assert found.n == 60
        said = [note.sentence() for note in found.notes]
        assert said[0].startswith("Test pictures that another run was trained on are not compared: 'one' (30).")
        assert said[1].startswith("10 of the 100 test pictures of one are not compared")

    def test_those_with_another_label_are_left_out_and_said(self, run_of):
        other = run_of()
        other.predictions.loc[3, "label"] = "cat"
        found = compare_runs({"one": run_of(), "other": other})
        assert found.n == 99
        assert "One test picture does not have the same label in every run" in found.notes[0].sentence()

    def test_the_same_paths_where_no_content_is_the_same(self, run_of):
        other = run_of(wrong=[5])
        other.catalog["digest"] = [digest(f"resized {path}") for path in other.catalog["path"]]
        found = compare_runs({"one": run_of(), "other": other})
        assert (found.n, found.pairs[0].test.only_first) == (100, 1)
        assert found.notes[0].code == "compared_by_path"

    def test_few_are_said_to_say_little(self, run_of):
        found = compare_runs({"one": run_of(test=range(9)), "other": run_of(test=range(9))})
        assert "only 9 test pictures in common" in found.notes[0].sentence()

    def test_runs_that_share_none_are_refused(self, run_of):
        with pytest.raises(KilatError, match="no test picture in common"):
            compare_runs({"one": run_of(test=range(10)), "other": run_of(test=range(10, 20))})

    def test_a_run_without_test_pictures_is_refused(self, run_of):
        with pytest.raises(KilatError, match="other has no test pictures"):
            compare_runs({"one": run_of(), "other": run_of(test=range(0))})

    def test_a_class_that_one_does_not_know_is_said(self, run_of):
        found = compare_runs({"one": run_of(), "other": run_of(classes=["cat", "owl"])})
        assert [note.sentence().partition(",")[0] for note in found.notes] == [
            "one does not know the classes 'owl'",
            "other does not know the classes 'dog'",
        ]


class TestManyRuns:
    def test_p_values_are_adjusted_and_the_best_is_named(self, run_of):
        runs = {"a": run_of(wrong=range(30)), "b": run_of(wrong=range(12)), "c": run_of(wrong=range(10)),
                "d": run_of(wrong=range(25))}  # fmt: skip
        found = compare_runs(runs)
        assert len(found.pairs) == 6
        assert all(pair.p_value >= pair.test.p_value for pair in found.pairs)
        assert {pair.first.name for pair in found.main_pairs} | {pair.second.name for pair in found.main_pairs} == {
            *runs
        }
        assert len(found.main_pairs) == 3
        assert found.verdict() == [
            "c answers 90.0% rightly, the most.",
            "That is more than chance explains against a, d.",
            "Chance may explain its lead over b.",
        ]
        assert found.notes[-1].code == "compared_holm"


class TestRecipes:
    def test_only_what_differs_is_named(self):
        base = recipes.load("transfer")
        other = recipes.load("transfer", {"features.size": 128, "head.folds": 3})
        assert differing_options([base, base]) == []
        assert differing_options([base, other, base]) == [
            ("features.size", ["auto", "128", "auto"]),
            ("head.folds", ["5", "3", "5"]),
        ]

    def test_a_section_that_only_one_has_is_one_line(self):
        rows = dict(differing_options([recipes.load("transfer"), recipes.load("small-cnn")]))
        assert rows["model"][0] is None
        assert "conv" in rows["model"][1]
        assert rows["head"] == ["defaults", None]
        assert not any(path.startswith(("model.", "head.")) for path in rows)

    def test_of_a_section_that_some_have_is_named_what_differs_among_these(self):
        one, other = recipes.load("small-cnn"), recipes.load("small-cnn", {"epochs": 3})
        rows = dict(differing_options([one, recipes.load("transfer"), other]))
        assert rows["model"] == rows["fit"] == ["yes", None, "yes"]
        assert rows["fit.epochs"] == [str(one.fit.epochs), None, "3"]
        assert [path for path in rows if "." in path] == ["fit.epochs"]


class TestThePage:
    def test_it_says_who_is_better_and_shows_where_they_differ(self, run_of, parse):
        runs = {
            "small": run_of(wrong=range(20), recipe={"features": {"size": 96}}),
            "large": run_of(wrong=range(18, 22)),
        }
        page = parse(compare_page.render(compare_runs(runs), "kilat compare runs/small runs/large"))
        assert "kilat compare runs/small runs/large" in page.text
        assert "large answers 96.0% rightly, small 80.0%" in page.text
        assert "features.size 96 auto" in page.text
        assert sum("data-right" in attributes for _tag, attributes in page.tags) == 20
        assert "✗ dog 90.0%" in page.text

    def test_names_are_only_ever_text(self, run_of, parse):
        html = compare_page.render(
            compare_runs({"<script>1</script>": run_of(wrong=[1]), "\udc80\"'{{ 7*7 }}": run_of()})
        )
        html.encode("utf-8")
        assert html.count("<script") == 1
        assert "<script>1</script>" in parse(html).text

    def test_where_they_agree_on_every_picture_there_is_none_to_show(self, run_of, parse):
        page = parse(compare_page.render(compare_runs({"one": run_of(), "other": run_of()})))
        assert "There are none to show." in page.text
        assert "Nothing: the recipes are the same." in page.text

    def test_curves_lie_over_each_other(self, run_of):
        history = pd.DataFrame({"epoch": [1.0, 2.0], "validation_loss": [1.0, 0.5], "validation_accuracy": [0.5, 0.8]})
        runs = {name: replace(run_of(), history=history * [1, scale, scale]) for name, scale in (("a", 1), ("b", 0.9))}
        html = compare_page.render(compare_runs(runs))
        figure = html[html.index("Validation accuracy") :].partition("</svg>")[0]
        assert figure.count("stroke-dasharray") >= 1
        assert ">a</text>" in figure
        assert ">b</text>" in figure
