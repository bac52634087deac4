"""One self-contained HTML page about the data: what was found in it, what to do first, and what was looked for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from kilat.check.finding import SEVERITIES
from kilat.data.catalog import Catalog
from kilat.locale import _
from kilat.report import figures
from kilat.report.findings import ShownFinding
from kilat.report.template import count, fill, percent, points


def render(name: str, findings: Sequence[ShownFinding], summary: Mapping[str, Any]) -> str:
    """The page as HTML; equal input gives equal text.

    Args:
        name: of the data.
        findings: in the order of what to do first (``kilat.report.findings.shown``).
        summary: ``used`` and ``refused``, numbers of pictures; ``classes``, how many pictures each has;
            ``cross_validated`` with ``accuracy``, ``accuracy_interval`` and ``n``, or None where no labels were
            judged; ``seconds``; ``suspects_file``, the name of the table to fill in, or None; ``command``, without
            options, such as ``kilat check flowers/``. It may hold what ``described`` gives.
    """
    sections = {severity: [found for found in findings if found.severity == severity] for severity in SEVERITIES}
    return fill(
        "check.html.j2",
        name=name,
        summary=summary,
        verdict=_verdict(findings, summary),
        balance=_balance(summary["classes"]),
        sections=[(severity, found) for severity, found in sections.items() if found],
        severities=_severities(),
        looked_for=_looked_for(findings, judged=bool(summary.get("cross_validated"))),
        next_command=str(summary["command"]).replace("kilat check", "kilat train", 1),
    )


def described(catalog: Catalog) -> dict[str, Any]:
    """Sizes and formats of the used pictures, for the summary.

    Returns:
        ``sizes`` with ``smallest``, ``median`` and ``largest``, each ``[width, height]`` of a picture, by area; and
        ``formats``, how many pictures each has, the commonest first. What is not known is left out.
    """
    used = catalog.table[catalog.used & (catalog.table["width"] > 0)]
    found: dict[str, Any] = {}
    if len(used):
        order = np.argsort(used["width"].to_numpy(int) * used["height"].to_numpy(int), kind="stable")
        places = {"smallest": order[0], "median": order[len(order) // 2], "largest": order[-1]}
        found["sizes"] = {
            key: used[["width", "height"]].iloc[place].astype(int).tolist() for key, place in places.items()
        }
    if len(catalog.image_stats):
        formats, counts = np.unique(catalog.image_stats["format"][catalog.used], return_counts=True)
        ranked = sorted(zip(counts.tolist(), formats.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))
        found["formats"] = {form.decode("utf-8", "replace"): n for n, form in ranked if form}
    return found


def _verdict(findings: Sequence[ShownFinding], summary: Mapping[str, Any]) -> list[str]:
    """How things stand, what to do first, and how well the classes can be told apart."""
    sentences = [_standing(findings).format(data=_amount(summary))]
    if findings and findings[0].severity != "note":
        sentences.append(_("Begin here: {title}").format(title=findings[0].title))
    elif findings:
        sentences.append(_("What is noted below is good to know; nothing has to be done."))
    if told := summary.get("cross_validated"):
        low, high = told["accuracy_interval"]
        sentence = _(
            "A quick classifier, asked about pictures that it did not learn from, names the class of {accuracy} of {n} "
            "as it is labelled (95% interval {low} to {high})."
        )
        accuracy, n = percent(told["accuracy"]), count(told["n"])
        sentences.append(sentence.format(accuracy=accuracy, n=n, low=points(low), high=points(high)))
    return sentences


def _standing(findings: Sequence[ShownFinding]) -> str:
    if not findings:
        return _("Nothing was found that needs mending in {data}.")
    serious = sum(found.severity == "serious" for found in findings)
    if not serious:
        return _("Nothing serious was found in {data}.")
    if serious == 1:
        return _("One serious thing was found in {data}.")
    return _("{serious} serious things were found in {data}.").replace("{serious}", f"{serious}")


def _amount(summary: Mapping[str, Any]) -> str:
    classes = len(summary["classes"])
    sentence = _("{pictures} pictures of {classes} classes") if classes != 1 else _("{pictures} pictures of one class")
    return sentence.format(pictures=count(summary["used"]), classes=count(classes))


def _balance(classes: Mapping[str, int]) -> Markup | str:
    order = sorted(classes, key=lambda name: (-classes[name], name))
    return figures.balance(order, {_("pictures"): [classes[name] for name in order]}) if order else ""


def _severities() -> dict[str, tuple[str, str]]:
    """What each severity is called, and what it means."""
    return {
        "serious": (_("Serious"), _("Until this is mended, measured figures or the classifier itself are wrong.")),
        "look": (_("Worth a look"), _("Often harmless, sometimes a mistake: only a person can tell.")),
        "note": (_("Good to know"), ""),
    }


def _looked_for(findings: Sequence[ShownFinding], *, judged: bool) -> list[tuple[str, str]]:
    """Everything that was looked for, and whether it was found."""
    by_labels = {"suspected_labels", "classes_alike"}
    found = {finding.kind for finding in findings}
    rows = []
    for words, kinds in _checks():
        state = _("found") if found & kinds else _("nothing found")
        rows.append((words, _("could not be looked for") if kinds <= by_labels and not judged else state))
    return rows


def _checks() -> list[tuple[str, set[str]]]:
    return [
        (
            _("Pictures that are nearly the same: saved again, resized, cropped, mirrored, brighter or darker"),
            {"leak", "validation_leak", "conflicting_duplicates", "near_duplicates"},
        ),
        (
            _("Labels that can be told by something beside the subject: size, format, frame, camera, colour, light"),
            {"shortcut"},
        ),
        (_("Labels that look wrong"), {"suspected_labels"}),
        (_("Classes that look alike"), {"classes_alike"}),
        (_("Pictures that cannot be read"), {"refused"}),
        (_("Pictures on their side or upside down"), {"turned", "stored_turned"}),
        (_("Pictures of one tone, or blurred"), {"uniform", "blurred"}),
        (_("Pictures that are too dark or too light"), {"underexposed", "overexposed"}),
        (_("Tiny, very long or very tall pictures"), {"tiny", "extreme_aspect"}),
        (_("Grey pictures among coloured ones, and the reverse"), {"grey", "coloured"}),
        (_("Pictures unlike all the others"), {"outlier"}),
        (_("Classes with very few pictures, or far more than others"), {"imbalance", "few_pictures"}),
    ]  # fmt: skip
