"""Lesson 12: a residual block."""

from figures import Translate, figure
from kilat.report.svg_canvas import ACCENT, MUTED, TEXT, Canvas

_LEFT, _WIDTH, _HEIGHT = 60, 170, 30


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
