"""The page about new pictures beside those that a model was made for."""

from kilat.report.drift_page import DifferentPicture, DriftPage, render
from kilat.report.pictures import Thumbnail


def test_the_result_the_pictures_that_differ_and_the_answers_are_shown(parse):
    hostile = "<script>x</script>\ud800"
    shown = DriftPage(
        name="pets · street",
        command="kilat drift runs/pets street/",
        begun="2026-05-01T09:30",
        pictures=40,
        sentences=["Drift: the new pictures differ."],
        predicted={"cat": 10, hostile: 30},
        most_different=[
            DifferentPicture("street/1.jpg", 7.25, "cat", Thumbnail(uri="data:,")),
            DifferentPicture(hostile, 3.0, hostile, None),
        ],
    )
    page = parse(render(shown))
    page.html.encode("utf-8")
    assert "kilat drift runs/pets street/ 40 pictures, 2 classes 1 May 2026, 09:30 Drift: the new" in page.text
    assert "7.2 answered cat street/1.jpg" in page.text
    assert len([tag for tag, _attributes in page.tags if tag == "img"]) == 1
    assert page.html.count("<script") == 1
    assert render(shown) == page.html
