"""Lesson 13: which parts of a network are trained, from scratch, frozen and fine-tuned."""

from figures import Translate, figure
from kilat.report.svg_canvas import ACCENT, MUTED, ON_ACCENT, SIDE, TEXT, Canvas

_STAGES = 5


@figure
def three_ways_to_train(_: Translate) -> str:
    """Five stages and a head, as they are trained from scratch, frozen and fine-tuned."""
    canvas = Canvas(SIDE, 316)
    ways = (
        (_("from scratch: every weight is drawn, every weight is trained"), 1.0, False),
        (_("frozen: the stages keep what they know, the head is trained"), 0.0, True),
        (_("fine-tuned: then all of it, at a small rate"), 0.4, True),
    )
    for row, (name, trained, is_pretrained) in enumerate(ways):
        top = 12 + row * 94
        canvas.write(6, top, name, TEXT)
        for stage in range(_STAGES + 1):
            is_head = stage == _STAGES
            left, width = 6 + stage * 74, 62
            strength = 1.0 if is_head else trained
            canvas.boxes(left, top + 16, width, 36, [(MUTED, 0.18)])
            canvas.boxes(left, top + 16, width, 36, [(ACCENT, strength)])
            label = _("head") if is_head else _("stage {number}").format(number=stage + 1)
            colour = ON_ACCENT if strength > 0.5 else TEXT
            canvas.write(left + width / 2, top + 34, label, colour, "middle", 12)
            if not is_head:
                canvas.lines([[(left + width, top + 34), (left + 74, top + 34)]], MUTED)
        if is_pretrained:
            canvas.lines([[(6, top + 57), (364, top + 57)]], MUTED, 1, "4 3")
            canvas.write(6, top + 66, _("pretrained on ImageNet"), MUTED, size=11)
    canvas.boxes([6, 176], 292, 14, 14, [ACCENT, (MUTED, 0.18)])
    canvas.write(26, 299, _("trained"), MUTED)
    canvas.write(196, 299, _("not trained"), MUTED)
    return canvas.to_svg(_("Three ways to train the same network"))
