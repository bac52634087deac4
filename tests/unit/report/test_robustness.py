"""Robustness as a figure and as lines of text."""

import html
import re
from typing import Any

import pytest

from kilat.evaluate.corruptions import CORRUPTIONS, GROUPS
from kilat.report import robustness, svg_canvas


def share(accuracy: float) -> dict[str, Any]:
    return {"accuracy": accuracy, "accuracy_interval": [accuracy - 0.05, min(accuracy + 0.05, 1.0)]}


@pytest.fixture
def measured() -> dict[str, Any]:
    """Every cell with a number of its own."""
    numbers = iter(range(10, 85))
    corruptions = {}
    for group, names in GROUPS.items():
        for name in names:
            severities = [{"severity": s, **share(next(numbers) / 100)} for s in range(1, 6)]
            corruptions[name] = {"group": group, **severities[2], "severities": severities}
    return {
        "n": 1234,
        "tables": {"32": 0, "64": 0, "224": 1234},
        "clean": share(0.93),
        "corruptions": corruptions,
        "groups": {group: share(0.4) for group in GROUPS},
        "mean": share(0.47),
        "mean_error": 0.53,
        "relative_drop": 0.495,
        "frost": "drawn",
    }


def texts(svg: str) -> list[str]:
    return [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)<", svg)]


def test_the_figure_has_every_cell_and_name_in_the_pages_colours(measured):
    svg = robustness.figure(measured)
    shown = texts(svg)
    for number in (*range(10, 85), 93):
        assert str(number) in shown
    assert {robustness.names()[name] for name in CORRUPTIONS} <= set(shown)
    assert "mean under corruption 47, 1,234 pictures" in shown
    assert "var(--accent)" in svg
    assert not re.search(r"#[0-9a-f]{6}", svg)
    assert len(svg) < 30_000
    assert svg == robustness.figure(measured)


def test_the_figure_stands_in_a_file_of_its_own(measured):
    alone = svg_canvas.standalone(robustness.figure(measured))
    assert alone.startswith("<svg xmlns=")
    assert "var(" not in alone


def test_the_table_has_a_row_for_each_corruption_and_its_sums(measured):
    lines = robustness.table(measured).splitlines()
    assert "1,234 pictures (clean 93.0%, 88.0% to 98.0%)" in lines[0]
    assert lines[3].split() == ["Gaussian", "noise", "10", "11", "12", "13", "14", "12"]
    last = next(line for line in lines if line.startswith("JPEG compression"))
    assert last.split()[2:] == ["80", "81", "82", "83", "84", "82"]
    assert len({len(line) for line in lines[2:18]}) == 1
    assert "mean 47.0% (95% interval 42.0% to 52.0%), mean corruption error 53.0%" in lines
    assert "noise 40.0%, blur 40.0%, weather 40.0%, digital 40.0%" in lines
    assert lines[-1] == "relative drop from clean accuracy 49.5%"


def test_nothing_measured_is_said_without_numbers(measured):
    nothing = {"accuracy": None, "accuracy_interval": None}
    for name, one in measured["corruptions"].items():
        measured["corruptions"][name] = (
            one | nothing | {"severities": [{"severity": s, **nothing} for s in range(1, 6)]}
        )
    empty = measured | {"n": 0, "clean": nothing, "mean": nothing, "mean_error": None, "relative_drop": None}
    assert robustness.table(empty).startswith("No pictures were left")
    assert "–" in texts(robustness.figure(empty))
