"""Layers by epoch as figures: a few with their names, many by number, and nothing drawn of what is not there."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest

from kilat.report import layer_figures, page
from kilat.report.layer_figures import Layers

WATCHED = {"fit": {
    "epochs": 3, "best_epoch": 3, "stop_reason": "all_epochs", "optimizer": "sgd", "schedule": "constant", "batch": 8,
    "micro_batch": 8, "precision": "fp32", "device": "cpu", "devices": 1, "rollbacks": 0, "averaged": 0,
    "horizontal_flip": False, "precise_batch_norm": 0, "parameters": 9, "trainable": 9, "macs": 9, "temperature": 1.0,
    "watched": {"pictures": 15, "layers": []},
}}  # fmt: skip


def table(count, epochs=3, **columns):
    """A table of so many dense layers, each with an activation layer behind it."""
    rows = []
    for epoch in range(1, epochs + 1):
        for number in range(count):
            gradient = 10.0 ** (number - count) / epoch
            row = {"epoch": epoch, "layer": f"dense_{number}", "kind": "dense", "weight_norm": 2.0}
            row |= {"gradient_norm": 2 * gradient, "relative_gradient": gradient, "relative_update": gradient / 10}
            row |= {"activation_mean": 0.5, "activation_std": 0.25, "zero_share": 0.5, "dead_share": number / count}
            bare = dict.fromkeys(("weight_norm", "gradient_norm", "relative_gradient", "relative_update"), np.nan)
            other = {**row, **bare, "layer": f"activation_{number}", "kind": "activation", "saturated_share": 0.1}
            rows += [{**row, "saturated_share": np.nan, **columns}, other]
    return pd.DataFrame(rows)


def figures(*given, **columns):
    found = Layers.of(table(*given, **columns))
    return {name: str(svg) for name, svg in layer_figures.figures(found).items() if svg}


class TestFigures:
    def test_few_layers_have_their_names(self):
        drawn = figures(3)
        assert set(drawn) == {"layer_gradients", "layer_updates", "layer_activations", "layer_shares"}
        for name in ("dense_0", "dense_2"):
            assert all(f">{name}<" in svg for svg in drawn.values())
        assert ">activation_1<" in drawn["layer_activations"]
        assert "activation_1" not in drawn["layer_gradients"], "which has no weights"

    def test_many_have_their_numbers(self):
        drawn = figures(50)
        assert "dense_17" not in drawn["layer_gradients"]
        for number in (1, 50):
            assert f">{number}</text>" in drawn["layer_gradients"]
        assert ">100</text>" in drawn["layer_shares"], "activation layers count here"
        assert all(len(svg) < 40_000 for svg in drawn.values())

    def test_powers_of_ten_stand_beside_a_gradient_that_falls_by_them(self):
        svg = figures(6)["layer_gradients"]
        assert re.findall(r">(10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)<", svg) == ["10⁻⁷", "10⁻⁵", "10⁻³", "10⁻¹"]

    def test_epochs_lie_over_each_other_and_of_many_some(self):
        assert re.findall(r"epoch (\d+)", figures(3, 2)["layer_updates"]) == ["1", "2"]
        assert re.findall(r"epoch (\d+)", figures(3, 20)["layer_updates"]) == ["1", "7", "14", "20"]

    @pytest.mark.parametrize("value", [0.0, np.nan])
    def test_without_gradients_the_others_are_drawn(self, value):
        drawn = figures(3, relative_gradient=value, relative_update=value)
        assert set(drawn) == {"layer_activations", "layer_shares"}

    def test_a_single_layer_has_no_line(self):
        assert "layer_gradients" not in figures(1)

    def test_nothing_without_a_table(self):
        assert Layers.of(pd.DataFrame()) is None


class TestPage:
    def test_the_section_is_there_where_layers_were_watched(self, report_of, parse):
        report = report_of(metrics=WATCHED, history=[{"epoch": 1, "validation_loss": 1.0}])
        watched = parse(page.render(dataclasses.replace(report, layers=table(3))))
        assert 'id="watched"' not in page.render(report)
        assert "Layers in training" in watched.text
        assert "15 validation pictures" in watched.text
        assert "dense_2 0.067 0.033 0.0033 0.5 0.25 50.0% 66.7% –" in watched.text
