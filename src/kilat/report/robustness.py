"""Accuracy under the common corruptions: a cell for every corruption and severity in a figure, and a table of text."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from kilat.evaluate.corruptions import GROUPS, SEVERITIES
from kilat.locale import _
from kilat.report.svg_canvas import ACCENT, MUTED, ON_ACCENT, SIDE, TEXT, boxes, room, sheet, to_svg, write

_ROW, _GAP, _TOP = 24, 13, 58


def names() -> dict[str, str]:
    """The corruptions and their groups, as a reader calls them."""
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
    """Accuracy in per cent of every corruption (in rows, by group) at every severity (in columns), and its mean.

    The tone of a cell is the square of its accuracy; the clean pictures stand above, to compare with.

    Args:
        measured: the section ``robustness`` of the measures.
    """
    called = names()
    left = room([called[name] for name in measured["corruptions"]])
    width = (SIDE - left - 66) / len(SEVERITIES)
    means = SIDE - 56
    axes = sheet(SIDE, _TOP + _ROW * len(measured["corruptions"]) + _GAP * (len(GROUPS) - 1) + 2)
    for column, severity in enumerate(SEVERITIES):
        write(axes, left + (column + 0.5) * width, _TOP - 13, f"{severity}", color=MUTED, ha="center")
    write(axes, left - 9, _TOP - 13, _("severity"), color=MUTED, ha="right")
    write(axes, means + 28, _TOP - 13, _("mean"), color=MUTED, ha="center")
    write(axes, left - 9, 12, _("clean"), ha="right")
    _cells(axes, np.array([left]), 1, width, [measured["clean"]["accuracy"]])
    write(axes, left + width + 10, 12, _headline(measured), color=MUTED)
    y = float(_TOP)
    for members in GROUPS.values():
        for name in members:
            one = measured["corruptions"][name]
            write(axes, left - 9, y + _ROW / 2, called[name], ha="right")
            _cells(
                axes, left + width * np.arange(len(SEVERITIES)), y, width, [s["accuracy"] for s in one["severities"]]
            )
            write(axes, means + 28, y + _ROW / 2, _percent(one["accuracy"]), ha="center")
            y += _ROW
        y += _GAP
    return to_svg(axes, "robustness", _("Accuracy under common corruptions, by severity"))


def _headline(measured: Mapping[str, Any]) -> str:
    return _("mean under corruption {mean}, {n:,} pictures").format(
        mean=_percent(measured["mean"]["accuracy"]), n=measured["n"]
    )


def _cells(axes: Any, x: Any, y: float, width: float, accuracies: list[float | None]) -> None:
    """A row of cells with their per cent."""
    # The square tells 90% from 80%, where most cells of a good model are, better than the accuracy does.
    tones = [round(0.05 + 0.9 * (accuracy or 0.0) ** 2, 2) for accuracy in accuracies]
    boxes(axes, x + 1, y + 1, width - 2, _ROW - 2, [(ACCENT, tone) for tone in tones])
    for left, tone, accuracy in zip(x, tones, accuracies, strict=True):
        ink = ON_ACCENT if tone > 0.6 else TEXT
        write(axes, left + width / 2, y + _ROW / 2, _percent(accuracy), color=ink, ha="center")


def table(measured: Mapping[str, Any]) -> str:
    """The same in lines of text: clean accuracy, a row for each corruption, the mean of each group, and of all."""
    called = names()
    wide = max(map(len, called.values()))
    head = "".join(f"{severity:>6}" for severity in SEVERITIES)
    lines = [_clean(measured), "", f"{_('severity'):<{wide}}{head}{_('mean'):>8}"]
    for members in GROUPS.values():
        for name in members:
            one = measured["corruptions"][name]
            cells = "".join(f"{_percent(s['accuracy']):>6}" for s in one["severities"])
            lines.append(f"{called[name]:<{wide}}{cells}{_percent(one['accuracy']):>8}")
    return "\n".join([*lines, "", *sentences(measured)])


def _clean(measured: Mapping[str, Any]) -> str:
    clean = measured["clean"]
    if not measured["n"]:
        return _("No pictures were left to corrupt.")
    low, high = clean["accuracy_interval"]
    return _(
        "accuracy in % under common corruptions, on {n:,} pictures (clean {accuracy:.1%}, {low:.1%} to {high:.1%})"
    ).format(n=measured["n"], accuracy=clean["accuracy"], low=low, high=high)


def sentences(measured: Mapping[str, Any]) -> list[str]:
    """What the figure comes to."""
    if not measured["n"]:
        return []
    called = names()
    groups = ", ".join(f"{called[group]} {one['accuracy']:.1%}" for group, one in measured["groups"].items())
    low, high = measured["mean"]["accuracy_interval"]
    found = [
        _("mean {accuracy:.1%} (95% interval {low:.1%} to {high:.1%}), mean corruption error {error:.1%}").format(
            accuracy=measured["mean"]["accuracy"], low=low, high=high, error=measured["mean_error"]
        ),
        groups,
    ]
    if measured["relative_drop"] is not None:
        found.append(_("relative drop from clean accuracy {drop:.1%}").format(drop=measured["relative_drop"]))
    return found


def _percent(accuracy: float | None) -> str:
    return "–" if accuracy is None else f"{100 * accuracy:.0f}"
