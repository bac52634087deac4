"""The page of predictions: every picture with its answer, the unknown as a fact of its own, and no name breaks it."""

import re

import pytest

from kilat.bundle.prediction import Prediction, RefusedPicture
from kilat.errors import PictureError
from kilat.report.pictures import Thumbnail
from kilat.report.predictions_page import render

SMALL = Thumbnail(uri="data:image/webp;base64,AAAA")


def prediction(label: str, *, unknown: bool = False, path: str = "a.jpg") -> Prediction:
    return Prediction(path, label, 0.75, {label: 0.75, "other": 0.25}, [label], unknown)


def page(*given: Prediction | RefusedPicture, shown: int | None = None, top: int | None = None) -> str:
    places = [place for place, one in enumerate(given) if isinstance(one, Prediction)][:shown]
    return render("runs/flowers", "kilat predict runs/flowers photos/", given, dict.fromkeys(places, SMALL), top)


def test_it_says_first_how_many_were_answered_and_how() -> None:
    refused = RefusedPicture("b.jpg", PictureError("empty_file"))
    unknown = [prediction("rose", unknown=True)] * 3
    html = page(prediction("rose"), *unknown, prediction("rose"), prediction("tulip"), refused)
    assert "6 pictures were answered: rose 2, tulip 1, none of these 3; 1 was refused." in html
    assert "empty file" in html


def test_the_class_that_an_unknown_picture_would_be_is_a_fact_of_its_own() -> None:
    (caption,) = re.findall(r"<figcaption>(.*?)</figcaption>", page(prediction("rose", unknown=True)), re.DOTALL)
    words = re.sub(r"<[^>]*>", " ", caption).split()
    assert " ".join(words).startswith(
        "none of these unlike the training pictures if it is one of the classes: rose 75.0%"
    )


@pytest.mark.parametrize(("top", "named"), [(None, 0), (1, 0), (2, 1)])
def test_so_many_further_classes_are_named(top: int | None, named: int) -> None:
    assert page(prediction("rose"), top=top).count('"name">other<') == named


def test_pictures_that_are_not_shown_are_counted() -> None:
    html = page(*[prediction("rose")] * 5, shown=2)
    assert html.count("<figure") == 2
    assert "The first 2 pictures are shown; 3 more are counted." in html


def test_where_nothing_was_answered_there_are_only_refusals() -> None:
    html = page(RefusedPicture("<b>.jpg", PictureError("empty_file")))
    assert "0 pictures were answered; 1 was refused." in html
    assert "<figure" not in html
    assert "<b>" not in html


def test_no_name_breaks_it() -> None:
    html = page(prediction('"><script>alert(1)</script>', path="\udcff<img src=x>.jpg"), prediction("{{ 7 * 7 }}"))
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert "{{ 7 * 7 }}" in html
    html.encode("utf-8")
