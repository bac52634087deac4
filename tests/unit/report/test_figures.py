"""The figures: what they show, in whose colours, and that no name can break them."""

import html
import re

import pytest

from kilat.learn.measures import Bin
from kilat.report import figures
from kilat.report.svg_canvas import short_names, shorten

NAMES = ["daisy", "dandelion", "roses", "sunflowers", "tulips"]
MATRIX = [[120, 4, 5, 1, 3], [2, 190, 1, 3, 2], [1, 0, 113, 1, 14], [0, 2, 1, 136, 1], [0, 1, 10, 2, 147]]
BINS = [
    Bin(low=0.5, high=0.6, n=40, confidence=0.55, accuracy=0.5, accuracy_interval=(0.35, 0.65)),
    Bin(low=0.6, high=0.7, n=0, confidence=0.65, accuracy=None, accuracy_interval=None),
]


def all_figures(names: list[str] = NAMES) -> dict[str, str]:
    return {
        "balance": figures.balance(names, {"train": [500, 700, 512, 559, 639], "test": [133, 198, 129, 140, 160]}),
        "curve": figures.learning_curve([184, 734, 2936], [0.85, 0.9, 0.93], [0.83, 0.89, 0.92], [0.87, 0.91, 0.94]),
        "reliability": figures.reliability(BINS, before=BINS),
    }


def texts(svg: str) -> list[str]:
    return [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)<", svg)]


@pytest.mark.parametrize("name", ["balance", "curve", "reliability"])
def test_a_figure_takes_its_colours_and_fonts_from_the_page(name):
    svg = all_figures()[name]
    assert "var(--accent)" in svg
    assert not re.search(r"#[0-9a-f]{6}", svg)
    assert "font-family" not in svg
    assert "<style" not in svg
    assert 'role="img"' in svg
    assert "<title>" in svg
    assert len(svg) < 30_000


def test_equal_input_gives_equal_text():
    assert all_figures() == all_figures()


def test_figures_have_no_styles_of_their_own_and_no_ids():
    """A policy that names the page's one style would switch others off, and ids have to differ within a page."""
    assert not re.search(r' (style|id|href)="', "".join(all_figures().values()))


def test_names_are_text_whatever_they_contain():
    names = ["$a_b$", "<b>&", 'x" id="y #040404', "日本語 עברית", "\udc80\n"]
    labels = texts(figures.balance(names, {"train": [1, 2, 3, 4, 5]}))
    assert {"$a_b$", "<b>&", 'x" id="y #040404', "日本語 עברית", "\\x80\\n"} <= set(labels)


def test_long_names_keep_both_ends():
    assert shorten("a" * 300 + "xyz").endswith("xyz")
    assert len(shorten("a" * 300)) <= 22


def test_long_names_that_differ_in_the_middle_are_told_apart():
    names = [f"the class with the number {i:03d} of all classes" for i in range(30)]
    assert short_names(names)[:2] == ["…00…", "…01…"]
    assert short_names(["cat", "dog"]) == ["cat", "dog"]


def test_the_balance_shows_totals():
    assert {"633", "898", "641", "699", "799"} <= set(texts(all_figures()["balance"]))


@pytest.mark.parametrize("classes", [31, 1000])
def test_bars_of_many_classes_have_no_names(classes):
    names = [f"class {i}" for i in range(classes)]
    bars = figures.balance(names, {"train": list(range(classes)), "test": [3] * classes})
    assert "class 7" not in bars
    assert len(bars) < 40_000


def test_the_smallest_inputs_are_drawn():
    assert figures.balance(["a", "b"], {"train": [0, 0]})
    assert figures.learning_curve([10, 10], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0])
    assert figures.reliability([])
    assert figures.reliability(BINS[1:], BINS[1:])
