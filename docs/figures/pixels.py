"""Lesson 1: a picture as numbers, one distribution on three scales, a label as a row of zeros with a single one."""

import numpy as np
from sklearn.datasets import load_digits

from figures import Translate, figure, grids
from kilat.report.svg_canvas import ACCENT, LINE, MUTED, SIDE, TEXT, Canvas

_INK = 16  # the largest value of scikit-learn's digits


@figure
def digit_as_numbers(_: Translate) -> str:
    """A digit as a screen shows it, and the numbers that are stored."""
    canvas = Canvas(SIDE, 262)
    picture = grids.digit(3) / _INK
    for left, text in ((6, _("as a screen shows it")), (250, _("as a network gets it"))):
        canvas.write(left, 14, text, MUTED)
    grids.grey(canvas, 6, 30, 28, picture)
    grids.numbers(canvas, 250, 30, 28, np.round(picture * 255), size=11.5)
    return canvas.to_svg(_("A handwritten three, and its 64 numbers"))


@figure
def one_distribution_three_scales(_: Translate) -> str:
    """How often each grey level occurs in all digits, with the same levels as bytes, scaled and as z-scores."""
    canvas = Canvas(SIDE, 300)
    levels, counts = np.unique(load_digits().images, return_counts=True)
    share = counts / counts.sum()
    mean, deviation = float(levels @ share), float(np.sqrt((levels**2) @ share - (levels @ share) ** 2))
    left, right, base = 100, 456, 170
    step = (right - left) / _INK

    def across(level: float) -> float:
        return left + level * step

    heights = np.sqrt(share / share.max()) * 140  # areas of rare levels would vanish beside that of black
    canvas.boxes(left + levels * step - 8, base - heights, 16, heights, [ACCENT])
    canvas.write(left - 12, 14, _("share of the pixels (root)"), MUTED)
    for level in (0, _INK):
        high = float(base - heights[level] - 9) if level else 40.0
        canvas.write(
            across(level) + (0 if level else 14),
            high,
            _.number(share[level], "0%"),
            MUTED,
            "middle" if level else "start",
            12,
        )
    scales = (
        (_("stored"), [0, 64, 128, 191, 255], lambda value: value / 255 * _INK),
        ("scale", [0, 0.25, 0.5, 0.75, 1], lambda value: value * _INK),
        ("zscore", [-0.5, 0, 0.5, 1, 1.5], lambda value: value * deviation + mean),
    )
    for row, (name, ticks, level_of) in enumerate(scales):
        y = base + 24 + row * 38
        canvas.write(6, y, name, TEXT)
        canvas.lines([[(left - 8, y - 10), (right + 8, y - 10)]], LINE)
        for tick in ticks:
            canvas.lines([[(across(level_of(tick)), y - 14), (across(level_of(tick)), y - 6)]], MUTED)
            canvas.write(across(level_of(tick)), y + 6, _.number(tick), TEXT, "middle", 12)
    canvas.lines([[(across(mean), 36), (across(mean), base + 110)]], "var(--warn)", 1.5, "4 3")
    canvas.write(across(mean) + 6, 44, _("mean"), "var(--warn)")
    return canvas.to_svg(_("The same pixels on three scales"))


@figure
def one_hot(_: Translate) -> str:
    """A label as a row of zeros with a single one, beside an answer and its loss."""
    canvas = Canvas(SIDE, 190)
    classes = ["daisy", "dandelion", "roses", "sunflowers", "tulips"]
    answer = np.array([0.02, 0.05, 0.2, 0.03, 0.7])
    label = np.array([0.0, 0, 0, 0, 1])
    left, cell = 110, 72
    for column, name in enumerate(classes):
        canvas.write(left + (column + 0.5) * cell, 18, name, MUTED, "middle", 12)
    for row, (name, values) in enumerate(((_("label"), label), (_("answer"), answer))):
        y = 34 + row * 46
        canvas.write(6, y + 18, name, TEXT)
        canvas.boxes(left + np.arange(5) * cell, y, cell, 36, [(ACCENT, 0.08 + 0.6 * float(v)) for v in values])
        for column, value in enumerate(values):
            canvas.write(left + (column + 0.5) * cell, y + 18, _.number(float(value)), TEXT, "middle")
    canvas.write(
        6,
        150,
        _("loss = −ln {answer} = {loss}: only the answer for the true class counts").format(
            answer=_.number(0.7), loss=_.number(-np.log(0.7))
        ),
        TEXT,
    )
    canvas.write(
        6,
        174,
        _("−ln {answer} = {loss}, had it been a rose").format(answer=_.number(0.2), loss=_.number(-np.log(0.2))),
        MUTED,
    )
    return canvas.to_svg(_("A one-hot label, an answer and its loss"))
