"""The page about the data: it says first what matters, says when there is nothing, stands alone, no name breaks it."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kilat.data.catalog import Catalog
from kilat.data.image_stats import IMAGE_STATS
from kilat.report.check_page import described, render
from kilat.report.findings import ShownFinding, ShownGroup
from kilat.report.pictures import Shown

SUMMARY: dict[str, Any] = {
    "used": 3670,
    "refused": 5,
    "classes": {"daisy": 633, "roses": 641},
    "cross_validated": {"accuracy": 0.9214, "accuracy_interval": [0.912, 0.93], "n": 3670},
    "seconds": 7.26,
    "suspects_file": "suspects.csv",
    "command": "kilat check flowers/",
}
PICTURE = Shown("daisy/a b.jpg", "daisy", b"\xff\xd8jpeg", "/data/a b#.jpg", "test")
OTHER = Shown("roses/c.jpg", "roses", b"\xff\xd8jpeg", None, "train")


def group(*pictures: Shown, caption: str = "", paths: tuple[str, ...] = (), more: int = 0) -> ShownGroup:
    return ShownGroup(caption, pictures, paths, len(pictures) + len(paths) + more)


LEAK = ShownFinding(
    "leak", "serious", "2 test pictures leak.", "Put them on one side.", (group(PICTURE, OTHER, caption="mirrored"),)
)
SUSPECTED = ShownFinding(
    "suspected_labels", "look", "9 pictures look mislabelled.", "Fill in.",
    (group(PICTURE, caption="daisy → roses? 97%"),), 8,
)  # fmt: skip
REFUSED = ShownFinding(
    "refused", "look", "3 cannot be used.", "Replace.", (group(paths=("x.jpg",), caption="empty file", more=2),)
)
GREY = ShownFinding("grey", "note", "One picture is grey.", "Replace it.", (group(PICTURE),))


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text without runs of space."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._text = ""
        self.feed(html)
        self.text = " ".join(self._text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self._text += " " if tag in {"th", "td"} else ""

    def handle_data(self, data: str) -> None:
        self._text += data

    def values(self, attribute: str) -> list[str]:
        return [found for _tag, attrs in self.tags if (found := attrs.get(attribute)) is not None]


def page_of(*findings: ShownFinding, **changes: Any) -> Page:
    return Page(render("flowers", findings, {**SUMMARY, **changes}))


def test_the_verdict_says_what_there_is_and_what_to_do_first() -> None:
    text = page_of(LEAK, SUSPECTED, GREY).text
    assert "One serious thing was found in 3,670 pictures of 2 classes." in text
    assert "Begin here: 2 test pictures leak." in text
    assert "names the class of 92.1% of 3,670 as it is labelled (95% interval 91.2 to 93.0)." in text
    assert "2 serious things were found" in page_of(LEAK, LEAK).text
    assert "Nothing serious was found in 3,670 pictures of one class." in page_of(GREY, classes={"a": 3}).text
    assert "nothing has to be done" in page_of(GREY).text


def test_findings_stand_in_their_order_under_how_much_they_matter() -> None:
    html = render("flowers", [LEAK, SUSPECTED, REFUSED, GREY], SUMMARY)
    assert re.findall(r'<section id="(\w+)"', html) == ["data", "serious", "look", "note", "looked", "next"]
    assert re.findall(r"<h3>(.*?)</h3>", html) == [one.title for one in (LEAK, SUSPECTED, REFUSED, GREY)]
    assert '<a href="#look">Worth a look (2)</a>' in html


def test_pictures_are_shown_with_what_there_is_to_say() -> None:
    page = page_of(LEAK, SUSPECTED, REFUSED)
    for said in ("mirrored", "daisy → roses? 97%", "And 8 more.", "x.jpg empty file", "2 more", "daisy/a b.jpg"):
        assert said in page.text, said
    assert "daisy test daisy/a b.jpg roses train roses/c.jpg" in page.text
    assert page.values("href").count("file:///data/a%20b%23.jpg") == 4
    assert len([tag for tag, _attrs in page.tags if tag == "img"]) == 3


def test_a_shortcut_stands_with_and_without() -> None:
    groups = (group(PICTURE, PICTURE, caption="daisy"), group(OTHER, OTHER, caption="the others"))
    text = page_of(ShownFinding("shortcut", "serious", "Told by size.", "Mend.", groups)).text
    assert "with it: daisy" in text
    assert "without it: the others" in text


def test_nothing_found_is_said_plainly_with_what_was_looked_for() -> None:
    page = page_of(suspects_file=None)
    assert "Nothing was found that needs mending in 3,670 pictures of 2 classes." in page.text
    assert "Labels that look wrong nothing found" in page.text
    assert page.text.count("nothing found") == 12
    assert not {"serious", "look", "note"} & set(page.values("id"))


def test_what_could_not_be_looked_for_is_not_said_to_be_fine() -> None:
    page = page_of(cross_validated=None)
    assert "Labels that look wrong could not be looked for" in page.text
    assert "Classes that look alike could not be looked for" in page.text
    assert "names the class" not in page.text


def test_the_way_on_is_a_command_to_copy() -> None:
    assert "kilat train flowers/ --labels suspects.csv" in page_of(SUSPECTED).text
    text = page_of(LEAK, suspects_file=None).text
    assert "kilat train flowers/" in text
    assert "--labels" not in text
    assert "made by kilat check flowers/ in 7.3 s" in text


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    page = page_of(LEAK, SUSPECTED, REFUSED, GREY)
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _attrs in page.tags}
    assert all(address.startswith(("data:", "file:", "#")) for name in ("src", "href") for address in page.values(name))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {address[1:] for address in page.values("href") if address.startswith("#")} <= set(ids)


@pytest.mark.parametrize(
    "name", ["<b>x</b>", "$a_b$", "{{ 7*7 }}{n}{", "\"'><img src=x onerror=y>", "\ud800\x00日本語"]
)
def test_names_are_only_ever_text(name: str) -> None:
    shown = replace(PICTURE, path=name, label=name, link=None)
    groups = (group(shown, OTHER, caption=name), group(paths=(name,), caption=name))
    found = [ShownFinding(kind, "serious", name, name, groups) for kind in ("shortcut", "near_duplicates")]
    found.append(ShownFinding("blurred", "look", name, name, (group(shown, caption=name),)))
    html = render(name, found, {**SUMMARY, "classes": {name: 3, "b": 4}, "command": f"kilat check {name}"})
    page = Page(html)
    html.encode("utf-8")
    assert "onerror" not in {key for _tag, attrs in page.tags for key in attrs}
    assert "b" not in {tag for tag, _attrs in page.tags}
    assert name.replace("\ud800\x00", "") in page.text
    assert len([tag for tag, _attrs in page.tags if tag == "img"]) == 5


def test_equal_input_gives_equal_pages() -> None:
    assert render("x", [LEAK, GREY], SUMMARY) == render("x", [LEAK, GREY], SUMMARY)


def test_sizes_and_formats_are_of_used_pictures() -> None:
    table = pd.DataFrame(
        {"status": ["used", "used", "used", "refused: x"], "width": [30, 500, 90, 9], "height": [20, 400, 10, 9]}
    )
    catalog = Catalog(table)
    assert described(catalog) == {"sizes": {"smallest": [30, 20], "median": [90, 10], "largest": [500, 400]}}
    catalog.image_stats = np.zeros(4, IMAGE_STATS)
    catalog.image_stats["format"] = [b"PNG", b"JPEG", b"JPEG", b"GIF"]
    made = described(catalog)
    assert made["formats"] == {"JPEG": 2, "PNG": 1}
    text = page_of(**made).text
    assert "median size 90×10" in text
    assert "JPEG 2 PNG 1" in text
    assert described(Catalog(table[3:])) == {}
