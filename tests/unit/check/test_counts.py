"""Refused pictures are grouped by why, and uneven or small classes are reported with their numbers."""

import pandas as pd
import pytest

from kilat.check import counts


def catalog(labels, refusals=()):
    """The table of a catalog; the last pictures are refused with these codes and details."""
    table = pd.DataFrame({"path": [f"{i}.png" for i in range(len(labels))], "label": labels})
    table = table.assign(status="used", code="", detail="")
    for row, (code, detail) in enumerate(refusals, len(labels) - len(refusals)):
        table.loc[row, ["status", "code", "detail"]] = "refused", code, detail
    return table


def test_balanced_classes_with_enough_pictures_are_fine():
    assert counts.find(catalog(["a", "b"] * counts.FEW)) == []


def test_refused_pictures_stand_together_by_code_the_commonest_first():
    refusals = [("empty_file", ""), ("truncated", "byte 12"), ("duplicate", "3.png"), ("truncated", "byte 99")]
    (finding,) = counts.find(catalog(["a", "b"] * 30, refusals))
    assert (finding.kind, finding.severity) == ("refused", "warning")
    assert finding.title() == "4 of 60 pictures cannot be used."
    assert finding.groups == ((57, 59), (58,), (56,))
    assert finding.captions() == ["cut off: …", "byte-identical to 3.png, which counts once", "empty file"]
    assert "delete them" in finding.advice()


def test_one_refused_picture_is_named_with_why():
    (finding,) = counts.find(catalog(["a", "b"] * 30, [("truncated", "byte 12")]))
    assert finding.title() == "1 of 60 pictures cannot be used: 59.png (cut off: byte 12)."
    assert "delete it" in finding.advice()


def test_labels_that_may_be_one_class_are_named_with_their_pictures():
    refused_as_well = catalog(["Dog"] * 30 + ["dog"] * 30 + ["cat"] * 30, [("empty_file", "")])
    _refused, similar = counts.find(refused_as_well)
    assert (similar.kind, similar.severity) == ("similar_labels", "warning")
    assert similar.values == {"labels": {"Dog": 30, "dog": 30}}
    assert similar.title() == "Labels differ only in case, blanks, hyphens or Unicode form: “Dog” (30), “dog” (30)."
    assert "correct_label" in similar.advice()


def test_imbalance_and_few_pictures_are_counted():
    imbalance, few = counts.find(catalog(["a"] * 57 + ["b"] * 3))
    assert (imbalance.kind, few.kind) == ("imbalance", "few_pictures")
    assert imbalance.title() == "“a” has 57 pictures, “b” only 3: 19 times as many."
    assert imbalance.values["counts"] == {"b": 3, "a": 57}
    assert few.values["counts"] == {"b": 3}
    assert few.title() == "“b” has only 3 pictures."


@pytest.mark.parametrize(
    ("classes", "title"),
    [
        (1, "“a” has only 1 picture."),
        (2, "2 classes have fewer than 20 pictures: “a” (1), “b” (1)."),
        (7, "7 classes have fewer than 20 pictures: “a” (1), “b” (1), “c” (1), “d” (1), “e” (1) and 2 more."),
    ],
)
def test_small_classes_are_named_up_to_five(classes, title):
    assert counts.find(catalog(list("abcdefg"[:classes])))[-1].title() == title


def test_nothing_stops_where_all_pictures_are_refused():
    (finding,) = counts.find(catalog(["a"] * 3, [("empty_file", "")] * 3))
    assert finding.title() == "3 of 3 pictures cannot be used."
