"""Figures of lesson 8: dropout, L1, L2 and max-norm."""

import numpy as np

from figures import Translate, figure
from kilat.report.svg_canvas import ACCENT, MUTED, SIDE, Canvas

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
