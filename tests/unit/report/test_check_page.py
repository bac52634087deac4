"""The page about the data: it says first what matters, says when there is nothing, stands alone, no name breaks it."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kilat.data.catalog import Catalog
from kilat.data.image_stats import IMAGE_STATS
from kilat.locale.notes import Note
from kilat.report.check_page import render, sizes_and_formats
from kilat.report.findings import NamedPicture, ShownFinding, ShownGroup
from kilat.report.pictures import ShownPicture, Thumbnail

SUMMARY: dict[str, Any] = {
    "used": 3670,
    "refused": 5,
    "classes": {"daisy": 633, "roses": 641},
    "cross_validated": {"accuracy": 0.9214, "accuracy_interval": [0.912, 0.93], "n": 3670},
    "seconds": 7.26,
    "suspects_file": "suspects.csv",
    "command": "kilat check flowers/",
    "request": "kilat check flowers/ --name spring",
    "begun": "2026-05-01T09:30",
}
PICTURE = ShownPicture("daisy/a b.jpg", "daisy", Thumbnail(uri="data:,"), "test")
OTHER = ShownPicture("roses/c.jpg", "roses", Thumbnail(uri="data:,"), "train")


def group(*pictures: ShownPicture, caption: str = "", paths: tuple[str, ...] = (), more: int = 0) -> ShownGroup:
    named = tuple(NamedPicture(path, caption) for path in paths)
    return ShownGroup(caption, pictures, named, len(pictures) + len(paths) + more)


LEAK = ShownFinding(
    "leak", "serious", "2 test pictures leak.", "Put them on one side.", (group(PICTURE, OTHER, caption="mirrored"),)
)
SUSPECTED = ShownFinding(
    "suspected_labels", "warning", "9 pictures look mislabelled.", "Fill in.",
    (group(PICTURE, caption="daisy → roses? 97%"),), 8,
)  # fmt: skip
REFUSED = ShownFinding(
    "refused", "warning", "3 cannot be used.", "Replace.", (group(paths=("x.jpg",), caption="empty file", more=2),)
)
GREY = ShownFinding("grey", "note", "One picture is grey.", "Replace it.", (group(PICTURE),))


@pytest.fixture(name="page_of")
def _page_of(parse):
    def page_of(*findings: ShownFinding, **changes: Any) -> Any:
        return parse(render("flowers", findings, {**SUMMARY, **changes}))

    return page_of


def test_the_verdict_says_what_there_is_and_what_to_do_first(page_of):
    text = page_of(LEAK, SUSPECTED, GREY).text
    assert "1 serious problem was found in 3,670 pictures of 2 classes." in text
    assert "Begin here: 2 test pictures leak." in text
    assert "agrees with the labels of 92.1% of 3,670 pictures (95% interval 91.2 to 93.0)." in text
    assert "2 serious problems were found" in page_of(LEAK, LEAK).text
    assert "No serious problem was found in 3,670 pictures of 1 class." in page_of(GREY, classes={"a": 3}).text
    assert "nothing has to be done" in page_of(GREY).text


def test_notes_stand_in_the_lead(parse):
    note = Note("class_imbalance", {"largest": "a", "most": 900, "smallest": "b", "count": 1, "section": "head"})
    html = render("flowers", [], SUMMARY, [note])
    assert note.sentence() in parse(html[: html.index("</header>")]).text


def test_findings_stand_in_their_order_under_how_much_they_matter():
    html = render("flowers", [LEAK, SUSPECTED, REFUSED, GREY], SUMMARY)
    assert re.findall(r'<section id="(\w+)"', html) == ["serious", "warning", "note", "data", "checks", "next", "words"]
    assert re.findall(r"<h3>(.*?)</h3>", html) == [one.title for one in (LEAK, SUSPECTED, REFUSED, GREY)]
    assert '<a href="#warning">Worth a look (2)</a>' in html


def test_pictures_are_shown_with_what_there_is_to_say(page_of):
    page = page_of(LEAK, SUSPECTED, REFUSED)
    for said in ("mirrored", "daisy → roses? 97%", "And 8 more.", "x.jpg empty file", "2 more", "daisy/a b.jpg"):
        assert said in page.text, said
    assert "daisy test daisy/a b.jpg roses train roses/c.jpg" in page.text
    assert len([tag for tag, _attrs in page.tags if tag == "img"]) == 3


def test_a_shortcut_stands_with_and_without(page_of):
    groups = (group(PICTURE, PICTURE, caption="with it: daisy"), group(OTHER, OTHER, caption="without it: the others"))
    text = page_of(ShownFinding("shortcut", "serious", "Told by size.", "Fix it.", groups)).text
    assert "with it: daisy" in text
    assert "without it: the others" in text


def test_nothing_found_is_said_plainly_with_what_was_checked(page_of):
    page = page_of(suspects_file=None)
    assert "Nothing that needs fixing was found in 3,670 pictures of 2 classes." in page.text
    assert "Labels that look wrong nothing found" in page.text
    assert page.text.count("nothing found") == 13
    assert not {"serious", "warning", "note"} & set(page.values("id"))


def test_what_could_not_be_checked_is_not_said_to_be_fine(page_of):
    page = page_of(cross_validated=None)
    assert "Labels that look wrong could not be checked" in page.text
    assert "Classes that look alike could not be checked" in page.text
    assert "agrees with the labels" not in page.text


def test_the_next_step_is_a_command_to_copy(page_of):
    assert "kilat train flowers/ --labels suspects.csv" in page_of(SUSPECTED).text
    text = page_of(LEAK, suspects_file=None).text
    assert "kilat train flowers/" in text
    assert "--labels" not in text
    assert "kilat check flowers/ --name spring 3,670 pictures, 2 classes 1 May 2026, 09:30" in text


def test_the_page_loads_nothing(page_of):
    page = page_of(LEAK, SUSPECTED, REFUSED, GREY)
    assert not {"link", "iframe", "object", "base"} & {tag for tag, _attrs in page.tags}
    assert all(address.startswith(("data:", "#")) for name in ("src", "href") for address in page.values(name))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {address[1:] for address in page.values("href") if address.startswith("#")} <= set(ids)


@pytest.mark.parametrize(
    "name", ["<b>x</b>", "$a_b$", "{{ 7*7 }}{n}{", "\"'><img src=x onerror=y>", "\ud800\x00日本語"]
)
def test_names_are_only_ever_text(parse, name: str):
    shown = replace(PICTURE, path=name, label=name, thumbnail=OTHER.thumbnail)
    groups = (group(shown, OTHER, caption=name), group(paths=(name,), caption=name))
    found = [ShownFinding(kind, "serious", name, name, groups) for kind in ("shortcut", "near_duplicates")]
    found.append(ShownFinding("blurred", "warning", name, name, (group(shown, caption=name),)))
    html = render(
        name, found, {**SUMMARY, "classes": {name: 3, "b": 4}, "command": f"kilat check {name}", "request": name}
    )
    page = parse(html)
    html.encode("utf-8")
    assert "onerror" not in {key for _tag, attrs in page.tags for key in attrs}
    assert "b" not in {tag for tag, _attrs in page.tags}
    assert name.replace("\ud800\x00", "") in page.text
    assert len([tag for tag, _attrs in page.tags if tag == "img"]) == 5


def test_equal_input_gives_equal_pages():
    assert render("x", [LEAK, GREY], SUMMARY) == render("x", [LEAK, GREY], SUMMARY)


def test_sizes_and_formats_are_of_used_pictures(page_of):
    table = pd.DataFrame(
        {"status": ["used", "used", "used", "refused: x"], "width": [30, 500, 90, 9], "height": [20, 400, 10, 9]}
    )
    catalog = Catalog(table)
    assert sizes_and_formats(catalog) == {"sizes": {"smallest": [30, 20], "median": [90, 10], "largest": [500, 400]}}
    catalog.image_stats = np.zeros(4, IMAGE_STATS)
    catalog.image_stats["format"] = [b"PNG", b"JPEG", b"JPEG", b"GIF"]
    made = sizes_and_formats(catalog)
    assert made["formats"] == {"JPEG": 2, "PNG": 1}
    text = page_of(**made).text
    assert "median 90×10" in text
    assert "JPEG 2 PNG 1" in text
    assert sizes_and_formats(Catalog(table[3:])) == {}
