"""Figures of lesson 14: judging a classifier."""

import numpy as np
from scipy.stats import binomtest

from figures import Translate, figure
from kilat.report.svg_canvas import ACCENT, LINE, MUTED, SIDE, Canvas

_TRUTH = 0.9
_TESTS = 20


@figure
def intervals_of_test_sets(_: Translate) -> str:
    """Intervals of 20 test sets of 100 pictures and of 1,000; the classifier is right on 90% of all pictures."""
    canvas = Canvas(SIDE, 0)
    left, width = 20.0, (SIDE - 60) / 2
    row, top = 10.0, 40.0
    generator = np.random.default_rng(3)
    bottom = top + row * _TESTS
    for panel, pictures in enumerate((100, 1000)):
        start = left + panel * (width + 20)
        canvas.write(start, 14, _("{n} test pictures").replace("{n}", _.number(pictures)))

        def across(share: float, start: float = start) -> float:
            return start + width * (share - 0.75) / 0.24

        for i, right in enumerate(generator.binomial(pictures, _TRUTH, _TESTS)):
            low, high = binomtest(int(right), pictures).proportion_ci(method="wilson")
            y = top + row * i
            colour = ACCENT if low <= _TRUTH <= high else "var(--warn)"
            canvas.lines([[(across(low), y), (across(high), y)]], colour, 2)
            canvas.dots([across(right / pictures)], [y], colour, 2.5)
        canvas.lines([[(across(_TRUTH), top - 10), (across(_TRUTH), bottom)]], MUTED, dash="4 3")
        canvas.lines([[(start, bottom), (start + width, bottom)]], LINE)
        for share in (0.8, 0.85, 0.9, 0.95):
            canvas.write(across(share), bottom + 14, _.number(share, "0%"), MUTED, "middle")
    canvas.write(left, bottom + 40, _("Dots: accuracy on a test set. Lines: 95% intervals."), MUTED)
    canvas.write(left, bottom + 58, _("Dashed: the truth. Red lines miss it."), MUTED)
    canvas.height = bottom + 72
    return canvas.to_svg(_("Twenty test sets of one classifier, and their intervals"))


@figure
def reliability(_: Translate) -> str:
    """What probabilities say against what was right, for a calibrated classifier and for one that is too sure."""
    side, left, top = 150.0, 70.0, 30.0
    canvas = Canvas(SIDE, top + side + 54)
    generator = np.random.default_rng(0)
    logit = generator.normal(1.2, 1.6, 4000)
    truth = generator.random(4000) < 1 / (1 + np.exp(-logit))
    for panel, (title, temperature) in enumerate({"too sure: T = 2.5": 2.5, "calibrated": 1.0}.items()):
        start = left + panel * (side + 60)
        said = 1 / (1 + np.exp(-logit * temperature))
        canvas.write(start, 14, _(title))
        canvas.lines([[(start, top + side), (start + side, top)]], MUTED, dash="4 3")
        canvas.lines([[(start, top), (start, top + side), (start + side, top + side)]], LINE)
        bins = np.clip((said * 10).astype(int), 0, 9)
        means = [(said[bins == one].mean(), truth[bins == one].mean()) for one in range(10) if (bins == one).sum() > 20]
        x, y = np.transpose(means)
        canvas.curve(start + side * x, top + side * (1 - y), ACCENT)
        canvas.dots(start + side * x, top + side * (1 - y), ACCENT)
        for share in (0, 0.5, 1):
            canvas.write(start + side * share, top + side + 14, _.number(share, "0%"), MUTED, "middle")
            canvas.write(start - 8, top + side * (1 - share), _.number(share, "0%"), MUTED, "end")
        canvas.write(start + side / 2, top + side + 34, _("probability"), MUTED, "middle")
    canvas.write(16, top + side / 2, _("share that is right"), MUTED, "middle", upright=True)
    return canvas.to_svg(_("What probabilities say, and what was right"))
