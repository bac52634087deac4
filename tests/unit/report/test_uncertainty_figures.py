"""The figures about trust: what they show, for few classes and for many, and that no name can break them."""

import html
import re

import numpy as np
import pytest

from kilat.evaluate.conformal import measure_sets
from kilat.evaluate.metrics import measure, wilson_interval
from kilat.learn.measures import Coverage, Measures
from kilat.report import uncertainty_figures

NAMES = ["daisy", "dandelion", "roses", "sunflowers", "tulips"]


def answers(names: list[str]) -> Measures:
    random = np.random.default_rng(0)
    truth = random.integers(len(names), size=400)
    probabilities = random.dirichlet(np.ones(len(names)), 400)
    return Measures.model_validate(measure(truth, probabilities, names, uncalibrated=probabilities[:, ::-1]))


def covered(names: list[str]) -> dict[str, Coverage]:
    counts = [44 + i % 7 for i in range(len(names))]
    return {
        name: Coverage(n=50, coverage=count / 50, coverage_interval=wilson_interval(count, 50), size=1.2)
        for name, count in zip(names, counts, strict=True)
    }


def all_figures(names: list[str]) -> dict[str, str]:
    measured = answers(names)
    assert measured.uncalibrated is not None
    return {
        "sizes": uncertainty_figures.sizes([2, 300, 40, 7]),
        "coverage": uncertainty_figures.class_coverage(covered(names), 0.9, covered(names[::-1])),
        "reliability": uncertainty_figures.class_reliability(measured.per_class, measured.uncalibrated.per_class),
    }


def texts(svg: str) -> list[str]:
    return [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)<", svg)]


@pytest.mark.parametrize("name", ["sizes", "coverage", "reliability"])
def test_a_figure_takes_its_colours_and_fonts_from_the_page(name):
    svg = all_figures(NAMES)[name]
    assert "var(--accent)" in svg
    assert not re.search(r"#[0-9a-f]{6}", svg)
    assert "font-family" not in svg
    assert "<title>" in svg
    assert len(svg) < 50_000


def test_equal_input_gives_equal_text_and_ids_are_unique():
    figures = all_figures(NAMES)
    assert all_figures(NAMES) == figures
    ids = re.findall(r' id="([^"]+)"', "".join(figures.values()))
    assert len(ids) == len(set(ids))


def test_names_are_text_whatever_they_contain():
    names = ["$a_b$", "<b>&", 'x" #040404', "日本語", "\udc80\n"]
    for figure in ("coverage", "reliability"):
        assert {"$a_b$", "<b>&", 'x" #040404', "日本語"} <= set(texts(all_figures(names)[figure]))


def test_sizes_show_every_size_with_its_share():
    shown = texts(uncertainty_figures.sizes([2, 300, 40, 7]))
    assert shown[::2] == ["no class", "1 class", "2 classes", "3 classes"]
    assert "300 (86.0%)" in shown
    assert "no class" not in texts(uncertainty_figures.sizes([0, 5]))


def test_many_sizes_share_a_bar():
    shown = texts(uncertainty_figures.sizes([0, 100, *[1] * 120]))
    assert len(shown) == 18
    assert shown[-2:] == ["9 to 121 classes", "113 (51.4%)"]


def test_coverage_shows_the_least_covered_class_first_and_the_target():
    shown = texts(uncertainty_figures.class_coverage(covered(NAMES), 0.95))
    assert "target: 95%" in shown
    assert [text for text in shown if text in NAMES] == NAMES
    assert "88.0%" in shown


def test_classes_without_pictures_are_left_out():
    members, truth = np.ones((3, 3), bool), np.array([0, 0, 1])
    by_class = measure_sets(members, truth, ["a", "b", "owl"])["by_class"]
    coverage = {name: Coverage.model_validate(measured) for name, measured in by_class.items()}
    assert "owl" not in texts(uncertainty_figures.class_coverage(coverage, 0.9))


def test_many_classes_become_a_shape():
    names = [f"class {i}" for i in range(1000)]
    svg = uncertainty_figures.class_coverage(covered(names), 0.9, covered(names))
    assert "class 7" not in svg
    assert "target: 90%" in texts(svg)
    assert len(svg) < 60_000


def test_at_most_twelve_classes_have_a_small_figure():
    names = [f"c{i}" for i in range(20)]
    measured = answers(names)
    shown = texts(uncertainty_figures.class_reliability(measured.per_class))
    assert [text for text in shown if text in names] == names[:12]
    assert f"{measured.per_class['c0'].ece * 100:.1f}" in shown


def test_the_smallest_inputs_are_drawn():
    assert uncertainty_figures.sizes([])
    assert uncertainty_figures.sizes([4])
    assert uncertainty_figures.class_coverage({}, 0.9)
    single = {"a": Coverage(n=1, coverage=1.0, coverage_interval=(0.2, 1.0), size=1.0)}
    assert uncertainty_figures.class_coverage(single, 0.9)
    assert uncertainty_figures.class_reliability({})
