"""The course of training as figures: what they show, on which axis, and whatever is missing."""

import html
import math
import re
from typing import Any

import numpy as np
import pytest

from kilat.report import curves
from kilat.report.svg_canvas import standalone


def rows(epochs: int = 8) -> list[dict[str, Any]]:
    return [
        {
            "epoch": e,
            "loss": 2 / e,
            "accuracy": 1 - 0.6 / e,
            "validation_loss": 2 / e + 0.02 * e * e,
            "validation_accuracy": 0.9 - 0.5 / e,
            "learning_rate": 0.001 if e < 5 else 0.0005,
        }
        for e in range(1, epochs + 1)
    ]


def texts(svg: str) -> list[str]:
    return [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)<", svg)]


def test_there_is_a_figure_for_everything_that_was_measured():
    figures = curves.history(rows())
    assert list(figures) == ["loss", "accuracy", "rate"]
    assert {"training", "validation", "epoch"} <= set(texts(figures["loss"]))
    assert "80%" in texts(figures["accuracy"])
    assert "0.0005" in texts(figures["rate"])


def test_the_epoch_that_was_kept_is_marked():
    assert "best: 4" in texts(curves.history(rows())["loss"])
    chosen = curves.history(rows(), best=7)
    assert "best: 7" in texts(chosen["loss"])
    assert "best: 7" in texts(chosen["accuracy"])
    assert "best" not in "".join(texts(curves.history(rows(), best=99)["loss"]))


@pytest.mark.parametrize("spike", [40.0, 1e6])
def test_a_spike_flattens_no_axis_and_is_said(spike):
    history = rows(12)
    for epoch in (3, 6, 7, 8, 9):
        history[epoch]["validation_loss"] = spike / 2
    history[6]["loss"] = spike
    drawn = texts(curves.history(history)["loss"])
    assert f"↑ up to {spike:.3g}" in drawn
    assert not [text for text in drawn if re.fullmatch(r"[\d.]+", text) and float(text) > 20]


def test_a_loss_that_falls_fast_from_its_start_is_drawn_whole():
    assert curves.visible_range(np.array([2.3, 0.9, 0.6, 0.5, 0.45, 0.44, 0.43, 0.43]))[1] == 2.3
    assert curves.visible_range(np.array([5.0, 1.0])) == (1.0, 5.0)
    assert curves.visible_range(np.full(9, 0.5)) == (0.5, 0.5)


def test_a_planned_rate_is_drawn_as_smooth_as_it_is_and_only_where_it_was_kept():
    planned = np.linspace(0, 8, 81), 0.01 * np.sin(np.linspace(0, np.pi, 81))
    kept = [{"epoch": e, "learning_rate": float(np.interp(e, *planned))} for e in range(1, 9)]
    other = [row | {"learning_rate": row["learning_rate"] / 2} for row in kept]

    def points(history: list[dict[str, float]]) -> int:
        return curves.history(history, planned=planned)["rate"].count("L")

    assert points(kept) > 70
    assert 40 < points(kept[:5]) < points(kept)
    assert points(other) < 20


def test_what_is_missing_or_not_finite_is_left_out():
    bare = [{"epoch": e, "loss": 1.0 / e if e != 2 else math.nan, "validation_loss": None} for e in (1, 2, 3)]
    figures = curves.history(bare)
    assert list(figures) == ["loss"]
    assert "validation" not in texts(figures["loss"])
    assert "nan" not in figures["loss"]
    assert curves.history([]) == {}
    assert curves.history([{"epoch": 1, "loss": math.inf}]) == {}


@pytest.mark.parametrize("epochs", [1, 2, 250])
def test_one_epoch_and_many_are_drawn(epochs):
    for svg in curves.history(rows(epochs)).values():
        labels = texts(svg)
        assert str(epochs) in labels
        assert len(labels) < 16
        assert len(svg) < 30_000


def test_a_rate_that_falls_by_factors_has_a_logarithmic_axis_and_others_a_linear_one():
    epochs = np.linspace(0, 20, 101)
    exponential = curves.schedule(epochs.tolist(), [(0.01 * 0.1 ** (epochs / 5)).tolist()], ["exponential"])
    cosine = curves.schedule(epochs.tolist(), [(0.005 * (1 + np.cos(np.pi * epochs / 20))).tolist()], ["cosine"])
    constant = curves.schedule([0, 1], [[0.01, 0.01]], ["constant"])
    assert {"10⁻²", "10⁻⁴", "10⁻⁶"} <= set(texts(exponential))
    assert {"0", "0.005", "0.01", "cosine"} <= set(texts(cosine))
    assert "0.01" in texts(constant)


def test_schedules_can_be_compared():
    names = texts(curves.schedule([0, 1, 2], [[1, 0.5, 0.2], [1, 1, 0.1]], ["linear", "piecewise"]))
    assert {"linear", "piecewise"} <= set(names)


def test_the_suggested_rate_is_marked_and_divergence_left_out():
    rates = np.geomspace(1e-6, 10, 60)
    losses = 2.3 - 1.0 / (1 + np.exp(-3 * (np.log10(rates) + 3))) + np.where(rates > 0.5, 1e4 * rates, 0)
    losses[-1] = math.nan
    svg = curves.rate_finder(rates.tolist(), losses.tolist(), losses.tolist(), 1e-3)
    labels = texts(svg)
    assert "suggested: 0.001" in labels
    assert {"10⁻⁶", "10⁻³", "10⁰"} <= set(labels)
    heights = [float(label) for label in labels if re.fullmatch(r"\d+(\.\d+)?", label)]
    assert max(heights) < 5
    assert "suggested" not in "".join(texts(curves.rate_finder([1e-3, 1e-2], [1.0, 2.0], [1.1, 1.9], None)))
    assert curves.rate_finder([1e-3], [math.nan], [math.nan], None) == ""


def test_figures_of_one_page_share_no_id_and_none_of_its_own_colours():
    page = "".join(curves.history(rows()).values())
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert not re.search(r"#[0-9a-f]{6}", page)
    assert curves.history(rows()) == curves.history(rows())


def test_a_figure_can_be_a_file():
    alone = standalone(curves.rate_finder([1e-4, 1e-3, 1e-2], [2.0, 1.0, 3.0], [1.9, 1.2, 3.0], 1e-3))
    assert "var(" not in alone
    assert alone.startswith("<svg xmlns=")
