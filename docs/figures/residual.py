"""Lesson 12: a residual block, what it does to gradients, and to accuracy as networks grow deeper."""

import numpy as np

from figures import Translate, figure, measured
from kilat.report.svg_canvas import ACCENT, MUTED, SIDE, TEXT, Canvas, Plot

_HEIGHT = 30


@figure
def residual_block(_: Translate) -> str:
    """Two plain layers, and the same with a shortcut around them."""
    canvas = Canvas(480, 372)
    for left, name in ((0, _("plain")), (250, _("residual"))):
        is_residual = left > 0
        centre = left + 100
        canvas.write(centre, 10, name, TEXT, "middle")
        canvas.write(centre, 38, "x", TEXT, "middle", 16)
        boxes = [
            (62, "conv 3×3", "var(--layer-conv)"),
            (106, "batch norm, ReLU", "var(--layer-norm)"),
            (150, "conv 3×3", "var(--layer-conv)"),
            (194, "batch norm", "var(--layer-norm)"),
        ]
        bottom = 238 if is_residual else 288
        _arrow(canvas, centre, 48, 62)
        for (top, text, colour), following in zip(boxes, [*(top for top, *_rest in boxes[1:]), bottom], strict=True):
            canvas.boxes(centre - 75, top, 150, _HEIGHT, [(colour, 0.35)])
            canvas.write(centre, top + _HEIGHT / 2, text, TEXT, "middle")
            _arrow(canvas, centre, top + _HEIGHT, following)
        if is_residual:
            canvas.write(centre - 12, 231, "F(x)", MUTED, "end")
            canvas.rings([centre], [252], ACCENT, 13)
            canvas.write(centre, 252, "+", ACCENT, "middle", 20)
            right = centre + 104
            canvas.lines([[(centre, 54), (right, 54), (right, 252), (centre + 14, 252)]], ACCENT, 2)
            canvas.lines([[(centre + 21, 247), (centre + 14, 252), (centre + 21, 257)]], ACCENT, 2)
            canvas.write(right + 8, 150, "x", ACCENT, "start", 16)
            _arrow(canvas, centre, 266, 288)
        canvas.boxes(centre - 75, 288, 150, _HEIGHT, [("var(--layer-activation)", 0.35)])
        canvas.write(centre, 303, "ReLU", TEXT, "middle")
        _arrow(canvas, centre, 318, 338)
        canvas.write(centre, 354, "ReLU(F(x) + x)" if is_residual else "ReLU(F(x))", TEXT, "middle")
    return canvas.to_svg(_("Two layers with and without a shortcut around them"))


def _arrow(canvas: Canvas, x: float, start: float, end: float) -> None:
    canvas.lines([[(x, start), (x, end)]], MUTED, 1.5)
    canvas.lines([[(x - 4, end - 6), (x, end), (x + 4, end - 6)]], MUTED, 1.5)


@figure
def accuracy_by_depth(_: Translate) -> str:
    """Accuracy on held-out pictures by the number of convolutions, with shortcuts and without."""
    plot = Plot(SIDE, 280, (0, 26), (0.5, 1.0), left=66, top=20)
    plot.right -= 70
    plot.ticks([(depth, _.number(depth)) for depth in (3, 9, 25)],
               [(share / 10, _.number(share / 10, "0%")) for share in range(5, 11)])  # fmt: skip
    for shortcut, name, colour in (("auto", _("residual"), ACCENT), ("none", _("plain"), "var(--warn)")):
        found = [one for one in measured.variants("residual") if measured.option(one, "shortcut") == shortcut]
        points = sorted(
            (2 * int(measured.option(one, "times")) + 1, one.accuracy, *one.accuracy_range)
            for one in found
            if one.accuracy is not None and one.accuracy_range is not None
        )
        if not points:
            continue
        depth, mean, low, high = np.array(points).T
        x, y = plot.x(depth), plot.y(mean)
        plot.canvas.curve(x, y, colour)
        plot.canvas.lines(
            [[(at, a), (at, b)] for at, a, b in zip(x, plot.y(low), plot.y(high), strict=True)], colour, 2
        )
        plot.canvas.dots(x, y, colour, 4)
        plot.canvas.write(plot.right + 8, float(y[-1]), name, colour)
    plot.axis_titles(_("convolutions"), _("accuracy"))
    return plot.canvas.to_svg(_("Accuracy on held-out digits by depth: plain networks fall, residual ones do not"))


@figure
def gradients_by_depth(_: Translate) -> str:
    """How large gradients are beside the weights, by layer, in the first epoch."""
    plot = Plot(SIDE, 280, (1, 25), (-2.0, 0.3), left=58, top=20)
    plot.ticks([(layer, _.number(layer)) for layer in (1, 5, 10, 15, 20, 25)],
               [(power, _.number(10.0**power)) for power in range(-2, 1)])  # fmt: skip
    for run, name, colour, beside in (
        ("residual", _("residual"), ACCENT, 24),
        ("plain", _("plain"), "var(--warn)", -14),
    ):
        rows = measured.rows("gradients", f"runs/{run}/layers.csv")
        values = [float(row["relative_gradient"]) for row in rows if row["epoch"] == "1" and row["kind"] == "conv"]
        if values:
            y = plot.y(np.log10(values))
            plot.canvas.curve(plot.x(np.arange(len(values)) + 1), y, colour)
            plot.canvas.write(float(plot.x(4)), float(y[3]) + beside, name, colour)
    plot.axis_titles(_("convolution, from the first to the last"), _("gradient / weights"))
    return plot.canvas.to_svg(_("How large gradients are beside the weights, by layer, with shortcuts and without"))
