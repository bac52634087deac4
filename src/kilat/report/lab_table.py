"""The results of a lab as plain text: a table that a terminal shows."""

import itertools

from kilat.locale import _, localized
from kilat.locale.escapes import visible
from kilat.report.lab_content import needs_briefly, p_value, points
from kilat.report.lab_results import LabResults, VariantResult
from kilat.report.template import percent

_GAP = "  "


def lines(results: LabResults, width: int = 100) -> list[str]:
    """Return the table line by line: every variant with its measures, and its effects against the reference.

    Args:
        results: of the lab.
        width: of the terminal in columns; where names do not fit beside their numbers they stand above them.
    """
    head = [_("accuracy"), _("points against it"), _("better"), _("p"), _("log loss"), _("a trial"), _("needs more")]
    rows = [head, *(_cells(results, variant) for variant in results.variants)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numbers = [_GAP.join(map(str.rjust, cells, widths)) for cells in rows]
    names = ["", *(visible(variant.name) for variant in results.variants)]
    longest = max(map(len, names))
    if longest + len(numbers[0]) + 2 * len(_GAP) <= width:
        pairs = zip(names, numbers, strict=True)
        return [f"{_GAP}{name:<{longest}}{_GAP}{cells}".rstrip() for name, cells in pairs]
    pairs = zip(names[1:], numbers[1:], strict=True)
    below = [[f"{_GAP}{name}", f"{_GAP}{_GAP}{cells}".rstrip()] for name, cells in pairs]
    return [f"{_GAP}{_GAP}{numbers[0]}", *itertools.chain(*below)]


def _cells(results: LabResults, variant: VariantResult) -> list[str]:
    """Return what the table says of a variant."""
    effect, cost = results.against_reference(variant.name), results.timing.get(variant.name)
    if variant.accuracy is None or cost is None:
        return ["–"] * 7
    accuracy, log_loss = percent(variant.accuracy), localized(variant.log_loss, ".3f")
    seconds = _("{s:.1f} s").format(s=cost.seconds)
    if effect is None:
        against = _("reference") if variant.name == results.reference else "–"
        return [accuracy, against, "", "", log_loss, seconds, ""]
    return [
        accuracy,
        points(effect.accuracy),
        percent(effect.accuracy.better, 0),
        p_value(effect.accuracy.adjusted_p),
        log_loss,
        seconds,
        needs_briefly(results, effect),
    ]
