"""Figures of lesson 8: dropout, L1, L2 and max-norm."""

import csv
import io
import json
from pathlib import Path

import numpy as np

from figures import Translate, figure
from kilat.report.svg_canvas import ACCENT, LINE, MUTED, SIDE, Canvas, Plot

_RESULT = Path(__file__).parents[1] / "course" / "results" / "by-heart.json"
_OTHER = "var(--layer-pool)"
_EDGE, _BINS = 0.3, 61  # of the histograms in it

_UNITS = (6, 5, 3)
"""Of the layers of the network that is drawn."""

_RADIUS, _GAP = 9, 40


@figure
def dropout(_: Translate) -> str:
    """A small network in two steps of training, each with other units dropped, and in use."""
    random = np.random.default_rng(5)
    canvas, width = Canvas(SIDE, 290), SIDE / 3
    for panel, name in enumerate(("step 1", "step 2", "afterwards")):
        rate = 0.4 if panel < 2 else 0
        kept = [random.random(units) >= rate for units in _UNITS[:-1]] + [np.ones(_UNITS[-1], bool)]
        left = width * panel + 20
        places = [
            [(left + 50 * layer, 150 + _GAP * (i - (units - 1) / 2)) for i in range(units)]
            for layer, units in enumerate(_UNITS)
        ]
        for layer in range(len(_UNITS) - 1):
            lines = [
                [a, b]
                for a, a_kept in zip(places[layer], kept[layer], strict=True)
                for b, b_kept in zip(places[layer + 1], kept[layer + 1], strict=True)
                if a_kept and b_kept
            ]
            canvas.lines(lines, (ACCENT, 0.4))
        for layer, ones in enumerate(places):
            for (x, y), is_kept in zip(ones, kept[layer], strict=True):
                if is_kept:
                    canvas.dots(x, y, ACCENT, _RADIUS)
                else:
                    canvas.rings(x, y, MUTED, _RADIUS)
        canvas.write(left - 20 + (width - 10) / 2, 14, _(name), MUTED, "middle")
    return canvas.to_svg(_("In each step of training other units are dropped; afterwards all of them are used"))


def _left(file: str) -> str:
    """Return a file that the experiment of these figures left; nothing where it was never run."""
    return str(json.loads(_RESULT.read_text("utf-8"))["files"][file]) if _RESULT.exists() else ""


@figure
def overfitting(_: Translate) -> str:
    """The loss in training and in validation by epoch, without and with dropout."""
    canvas, height = Canvas(SIDE, 0), 230
    for row, (run, title) in enumerate({"none": "without dropout", "dropout": "with a dropout of 0.5"}.items()):
        history = list(csv.DictReader(io.StringIO(_left(f"runs/{run}/history.csv"))))
        epochs = np.arange(1, len(history) + 1)
        plot = Plot(SIDE, height, (1, max(len(history), 2)), (0, 4), left=40)
        plot.right -= 84
        marks = [(n, _.number(n)) for n in (1, *range(10, len(history) + 1, 10))]
        plot.ticks(marks, [(n, _.number(n)) for n in range(5)])
        for column, name, colour in (("loss", "training", ACCENT), ("validation_loss", "validation", _OTHER)):
            heights = plot.y([float(one[column]) for one in history])
            plot.canvas.curve(plot.x(epochs), heights, colour)
            plot.canvas.write(plot.right + 8, float(heights[-1]) if history else 0, _(name), colour)
        plot.canvas.write(0, 12, _(title))
        plot.axis_titles(_("epoch"), _("loss"))
        canvas.elements += [f'<g transform="translate(0 {row * height})">', *plot.canvas.elements, "</g>"]
        canvas.height += height
    return canvas.to_svg(
        _("Without dropout the training loss falls to zero and the validation loss rises; with dropout neither does")
    )


@figure
def penalised_weights(_: Translate) -> str:
    """How weights are distributed after the same training without a penalty, with L2 and with L1."""
    found = json.loads(_left("weights.json") or "{}")
    canvas, height = Canvas(SIDE, 0), 116
    edges = np.linspace(4, SIDE - 4, _BINS + 1)
    for row, (run, title) in enumerate({"none": "no penalty", "l2": "L2", "l1": "L1"}.items()):
        if run not in found:
            continue
        base = height * (row + 1) - 22
        tall = 66 * np.array(found[run]["shares"]) / max(found[run]["shares"])
        canvas.boxes(edges[:-1], base - tall, edges[1] - edges[0] - 1, tall, [(ACCENT, 0.9)])
        canvas.lines([[(0, base), (SIDE, base)]], LINE)
        canvas.write(0, base - 78, _(title))
        near = _("{share} are within 0.001 of zero").format(share=_.number(found[run]["near_zero"], "0.0%"))
        canvas.write(SIDE, base - 78, near, MUTED, "end")
        canvas.height = base
    for value in (-0.3, -0.2, -0.1, 0, 0.1, 0.2, 0.3):
        align = {-0.3: "start", 0.3: "end"}.get(value, "middle")
        middle = SIDE / 2 + value / _EDGE * (SIDE / 2 - 4)
        canvas.write(middle, canvas.height + 14, _.number(value), MUTED, align)
    canvas.height += 28
    return canvas.to_svg(
        _("Weights without a penalty, with L2 and with L1: narrower with L2, many of them at zero with L1")
    )
