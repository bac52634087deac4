"""The confusion matrix: every count, names on both axes for any number of classes, and that no name can break it."""

import html
import re
from collections import Counter
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from hostile_texts import HOSTILE, MARKUP, controls_of
from kilat.locale.escapes import visible
from kilat.report import confusion_matrix
from kilat.report.svg_canvas import standalone

NAMES = ["daisy", "dandelion", "roses", "sunflowers", "tulips"]
MATRIX = [[120, 4, 5, 1, 3], [2, 190, 1, 3, 2], [1, 0, 113, 1, 14], [0, 2, 1, 136, 1], [0, 1, 10, 2, 147]]


def texts(svg: str) -> list[str]:
    return [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)<", svg)]


def titles(svg: str) -> list[str]:
    return [html.unescape(text) for text in re.findall(r"<title>([^<]*)</title>", svg)]


def many(classes: int) -> tuple[list[str], np.ndarray]:
    """Right five times each; the last three classes are mistaken for one another."""
    matrix = np.eye(classes, dtype=int) * 5
    matrix[-1, -2], matrix[-2, -3], matrix[-3, -1] = 3, 2, 1
    return [f"class {i}" for i in range(classes)], matrix


def test_every_count_but_zero_is_shown_and_says_what_it_is():
    svg = confusion_matrix.figure(NAMES, MATRIX)
    numbers = sorted(int(text) for text in texts(svg) if text.isdigit())
    assert numbers == sorted(n for row in MATRIX for n in row if n)
    assert "“roses” answered as “tulips”: 14 of 129 (10.9%)" in titles(svg)
    assert all(texts(svg).count(name) == 2 for name in NAMES)


def test_of_many_classes_the_most_confused_are_drawn_with_their_names_and_nothing_is_lost():
    names, matrix = many(60)
    svg = confusion_matrix.figure(names, matrix)
    labels = texts(svg)
    assert {"class 57", "class 58", "class 59", "40 others"} <= set(labels)
    assert sum(int(text) for text in labels if text.isdigit()) == matrix.sum()
    assert "“class 59” answered as “class 58”: 3 of 8 (37.5%)" in titles(svg)


@pytest.mark.parametrize("classes", [21, 60, 1000])
def test_the_whole_of_many_classes_names_every_one(classes):
    names, matrix = many(classes)
    svg = confusion_matrix.whole(names, matrix)
    written = Counter(texts(svg))
    assert {written[name] for name in names} == {2}
    assert len(svg) < 700 * classes


def test_a_full_matrix_of_many_classes_stays_light():
    assert len(confusion_matrix.whole([f"class {i}" for i in range(200)], np.ones((200, 200)))) < 1_600_000


def test_names_are_text_whatever_they_contain():
    names = ["$a_b$", "<b>&", 'x" id="y #040404', "日本語 עברית", "\udc80\n"]
    labels = texts(confusion_matrix.figure(names, MATRIX))
    for shown in ("$a_b$", "<b>&", 'x" id="y #040404', "日本語 עברית", "\\x80\\n"):
        assert labels.count(shown) == 2


@pytest.mark.parametrize("name", [*HOSTILE.values(), *MARKUP.values()])
def test_a_file_of_its_own_is_well_formed_whatever_names_contain(name):
    alone = standalone(confusion_matrix.figure([name, "b", "c", "d", "e"], MATRIX))
    assert not controls_of(alone)
    shown = [element.text or "" for element in ET.fromstring(alone).iter()]
    assert any(visible(name) in text for text in shown)


def test_its_colours_are_the_pages_and_equal_input_gives_equal_text():
    svg = confusion_matrix.figure(NAMES, MATRIX)
    assert "var(--accent)" in svg
    assert not re.search(r"#[0-9a-f]{6}| (style|id)=", svg)
    assert svg == confusion_matrix.figure(NAMES, MATRIX)
    assert confusion_matrix.figure(["a", "b"], [[0, 0], [0, 0]])
