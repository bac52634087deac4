"""The page about the data: what was found in it, what to do first, and what was checked."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kilat.check.finding import SEVERITIES
from kilat.data.catalog import Catalog
from kilat.locale import _, ngettext
from kilat.locale.notes import Note
from kilat.report import figures, lead
from kilat.report.findings import ShownFinding
from kilat.report.template import count, fill, percent, points


def render(name: str, findings: Sequence[ShownFinding], summary: Mapping[str, Any], notes: Sequence[Note] = ()) -> str:
    """Return the page as HTML; equal input gives equal text.

    Args:
        name: of the data.
        findings: in the order of what to do first (``kilat.report.findings.read_and_show``).
        summary: ``used`` and ``refused``, numbers of pictures; ``classes``, how many pictures each has;
            ``cross_validated`` with ``accuracy``, ``accuracy_interval`` and ``n``, or None where labels were not
            checked; ``seconds``; ``suspects_file``, the name of the table to fill in, or None; ``command``, without
            options, such as ``kilat check flowers/``; ``request``, the command that was typed, or the call in Python;
            ``begun``, when, as ISO 8601. It may hold what ``sizes_and_formats`` returns.
        notes: what the user should know about the result.
    """
    classes = summary["classes"]
    largest_first = sorted(classes, key=lambda label: (-classes[label], label))
    counts = {_("pictures"): [classes[label] for label in largest_first]}
    by_severity = {severity: [found for found in findings if found.severity == severity] for severity in SEVERITIES}
    facts = lead.facts(summary["begun"], {"pictures": summary["used"], "classes": len(classes)})
    weighty, minor = lead.by_weight(notes)
    return fill(
        "check.html.j2",
        title=name,
        summary=summary,
        request=lead.Request(summary["request"], facts),
        verdict=_verdict(findings, summary),
        notes=weighty,
        minor_notes=minor,
        balance=figures.balance(largest_first, counts) if classes else "",
        sections=[(severity, found) for severity, found in by_severity.items() if found],
        severities={
            "serious": (_("Serious"), _("Until this is fixed, measurements or the classifier itself are wrong.")),
            "warning": (_("Worth a look"), _("Often harmless, sometimes a mistake: only a person can tell.")),
            "note": (_("Good to know"), ""),
        },
        checks=_check_results(findings, labels_checked=bool(summary.get("cross_validated"))),
        next_command=str(summary["command"]).replace("kilat check", "kilat train", 1),
    )


def sizes_and_formats(catalog: Catalog) -> dict[str, Any]:
    """Return sizes and formats of the used pictures, for the summary.

    Returns:
        ``sizes`` with ``smallest``, ``median`` and ``largest``, each ``[width, height]`` of a picture, by area; and
        ``formats``, how many pictures each has, the commonest first. What is not known is left out.
    """
    used = catalog.table[catalog.used & (catalog.table["width"] > 0)]
    summary: dict[str, Any] = {}
    if len(used):
        order = np.argsort(used["width"].to_numpy(int) * used["height"].to_numpy(int), kind="stable")
        rows = {"smallest": order[0], "median": order[len(order) // 2], "largest": order[-1]}
        summary["sizes"] = {key: used[["width", "height"]].iloc[row].astype(int).tolist() for key, row in rows.items()}
    if len(catalog.image_stats):
        formats, counts = np.unique(catalog.image_stats["format"][catalog.used], return_counts=True)
        ranked = sorted(zip(counts.tolist(), formats.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))
        summary["formats"] = {form.decode("utf-8", "replace"): n for n, form in ranked if form}
    return summary


def _verdict(findings: Sequence[ShownFinding], summary: Mapping[str, Any]) -> list[str]:
    """Return how the data is, what to do first, and how well the classes can be told apart."""
    pictures = ngettext("{n} picture", "{n} pictures", summary["used"]).format(n=count(summary["used"]))
    classes = ngettext("{n} class", "{n} classes", len(summary["classes"])).format(n=count(len(summary["classes"])))
    serious = sum(found.severity == "serious" for found in findings)
    if serious:
        first = ngettext(
            "{count} serious problem was found in {pictures} of {classes}.",
            "{count} serious problems were found in {pictures} of {classes}.",
            serious,
        )
    elif findings:
        first = _("No serious problem was found in {pictures} of {classes}.")
    else:
        first = _("Nothing that needs fixing was found in {pictures} of {classes}.")
    sentences = [first.format(count=serious, pictures=pictures, classes=classes)]
    if findings and findings[0].severity != "note":
        sentences.append(_("Begin here: {title}").format(title=findings[0].title))
    elif findings:
        sentences.append(_("What is noted below is good to know; nothing has to be done."))
    if measured := summary.get("cross_validated"):
        low, high = measured["accuracy_interval"]
        sentence = _(
            "A quick classifier, cross-validated, agrees with the labels of {accuracy} of {n} pictures (95% interval "
            "{low} to {high})."
        )
        accuracy, n = percent(measured["accuracy"]), count(measured["n"])
        sentences.append(sentence.format(accuracy=accuracy, n=n, low=points(low), high=points(high)))
    return sentences


def _check_results(findings: Sequence[ShownFinding], *, labels_checked: bool) -> list[tuple[str, str]]:
    """Return everything that was checked, and whether something was found."""
    checks: list[tuple[str, set[str]]] = [
        (
            _("Near-duplicates: saved again, resized, cropped, mirrored, brighter or darker"),
            {"leak", "validation_leak", "conflicting_duplicates", "near_duplicates"},
        ),
        (
            _("Shortcuts: labels that follow from size, format, frame, camera, colour or brightness"),
            {"shortcut"},
        ),
        (_("Labels that look wrong"), {"suspected_labels"}),
        (_("Labels that differ only in how they are written"), {"similar_labels"}),
        (_("Classes that look alike"), {"classes_alike", "one_way_confusion"}),
        (_("Pictures that cannot be read"), {"refused"}),
        (_("Pictures that are rotated or upside down"), {"rotated", "exif_rotated"}),
        (_("Pictures of one tone, or blurred"), {"uniform", "blurred"}),
        (_("Pictures that are too dark or too light"), {"underexposed", "overexposed"}),
        (_("Tiny, very long or very tall pictures"), {"tiny", "extreme_aspect"}),
        (_("Grey pictures among coloured ones, and the reverse"), {"grey", "coloured"}),
        (_("Pictures unlike all the others"), {"outlier"}),
        (_("Classes with very few pictures, or far more than others"), {"imbalance", "few_pictures"}),
    ]
    kinds_found = {finding.kind for finding in findings}
    rows = []
    for check, kinds in checks:
        if kinds & {"suspected_labels", "classes_alike"} and not labels_checked:
            rows.append((check, _("could not be checked")))
        else:
            rows.append((check, _("found") if kinds_found & kinds else _("nothing found")))
    return rows
