"""Accuracy under common corruptions: a figure with a cell for every corruption and severity, and a table as text."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from kilat.evaluate.corruptions import GROUPS, SEVERITIES
from kilat.locale import _, localized
from kilat.locale.escapes import Shown
from kilat.report.svg_canvas import (
    ACCENT,
    MUTED,
    ON_ACCENT,
    SIDE,
    TEXT,
    Canvas,
    column_width,
)

_ROW, _GAP, _TOP = 24, 13, 58


def names() -> dict[str, str]:
    """Return what the corruptions and their groups are called."""
    return {
        "gaussian_noise": _("Gaussian noise"),
        "shot_noise": _("shot noise"),
        "impulse_noise": _("impulse noise"),
        "defocus_blur": _("defocus blur"),
        "glass_blur": _("glass blur"),
        "motion_blur": _("motion blur"),
        "zoom_blur": _("zoom blur"),
        "snow": _("snow"),
        "frost": _("frost (drawn)"),
        "fog": _("fog"),
        "brightness": _("brightness"),
        "contrast": _("contrast"),
        "elastic_transform": _("elastic transform"),
        "pixelate": _("pixelate"),
        "jpeg_compression": _("JPEG compression"),
        "noise": _("noise"),
        "blur": _("blur"),
        "weather": _("weather"),
        "digital": _("digital"),
    }


def figure(measured: Mapping[str, Any]) -> Markup:
    """Draw the accuracy in per cent of every corruption (in rows, by group) at every severity (in columns).

    The opacity of a cell follows the square of its accuracy; the clean pictures stand above, to compare with.

    Args:
        measured: the section ``robustness`` of an evaluation.
    """
    translated = names()
    left = column_width([translated[name] for name in measured["corruptions"]])
    width = (SIDE - left - 66) / len(SEVERITIES)
    means = SIDE - 28
    canvas = Canvas(SIDE, _TOP + _ROW * len(measured["corruptions"]) + _GAP * (len(GROUPS) - 1) + 2)
    columns = [left + width * i for i in range(len(SEVERITIES))]
    for x, severity in zip(columns, SEVERITIES, strict=True):
        canvas.write(x + width / 2, _TOP - 13, f"{severity}", MUTED, "middle")
    canvas.write(left - 9, _TOP - 13, _("severity"), MUTED, "end")
    canvas.write(means, _TOP - 13, _("mean"), MUTED, "middle")
    canvas.write(left - 9, 12, _("clean"), align="end")
    _cells(canvas, columns[:1], 1, width, [measured["clean"]["accuracy"]])
    summary = _("mean under corruption {mean}, {n:,} pictures").format(
        mean=_percent(measured["mean"]["accuracy"]), n=measured["n"]
    )
    canvas.write(left + width + 10, 12, summary, MUTED)
    y = float(_TOP)
    for members in GROUPS.values():
        for name in members:
            one = measured["corruptions"][name]
            canvas.write(left - 9, y + _ROW / 2, translated[name], align="end")
            _cells(canvas, columns, y, width, [severity["accuracy"] for severity in one["severities"]])
            canvas.write(means, y + _ROW / 2, _percent(one["accuracy"]), align="middle")
            y += _ROW
        y += _GAP
    return canvas.to_svg(_("Accuracy under common corruptions, by severity"))


def _cells(canvas: Canvas, x: list[float], y: float, width: float, accuracies: list[float | None]) -> None:
    """Draw a row of cells with their per cent."""
    # Squared, 90% and 80% differ more, and most cells of a good model are there.
    opacities = [round(0.05 + 0.9 * (accuracy or 0.0) ** 2, 2) for accuracy in accuracies]
    canvas.boxes(np.array(x) + 1, y + 1, width - 2, _ROW - 2, [(ACCENT, opacity) for opacity in opacities])
    for left, opacity, accuracy in zip(x, opacities, accuracies, strict=True):
        colour = ON_ACCENT if opacity > 0.6 else TEXT
        canvas.write(left + width / 2, y + _ROW / 2, _percent(accuracy), colour, "middle")


def table(measured: Mapping[str, Any]) -> str:
    """Return the same as text: the clean accuracy, a row for each corruption, the mean of each group and of all."""
    if not measured["n"]:
        return _("No pictures were left to corrupt.")
    translated = names()
    low, high = measured["clean"]["accuracy_interval"]
    title = _(
        "accuracy in % under common corruptions, on {n:,} pictures (clean {accuracy:.1%}, {low:.1%} to {high:.1%})"
    ).format(n=measured["n"], accuracy=measured["clean"]["accuracy"], low=low, high=high)
    wide = max(map(len, translated.values()))
    severities = "".join(f"{severity:>6}" for severity in SEVERITIES)
    lines = [title, "", f"{_('severity'):<{wide}}{severities}{_('mean'):>8}"]
    for members in GROUPS.values():
        for name in members:
            one = measured["corruptions"][name]
            cells = "".join(f"{_percent(severity['accuracy']):>6}" for severity in one["severities"])
            lines.append(f"{translated[name]:<{wide}}{cells}{_percent(one['accuracy']):>8}")
    low, high = measured["mean"]["accuracy_interval"]
    sentences = [
        _("mean {accuracy:.1%} (95% interval {low:.1%} to {high:.1%}), mean corruption error {error:.1%}").format(
            accuracy=measured["mean"]["accuracy"], low=low, high=high, error=measured["mean_error"]
        ),
        ", ".join(
            f"{translated[group]} {localized(one['accuracy'], '.1%')}" for group, one in measured["groups"].items()
        ),
    ]
    if measured["relative_drop"] is not None:
        sentences.append(_("relative drop from clean accuracy {drop:.1%}").format(drop=measured["relative_drop"]))
    return Shown("\n").join([*lines, "", *sentences])


def _percent(accuracy: float | None) -> str:
    return "–" if accuracy is None else localized(100 * accuracy, ".0f")
