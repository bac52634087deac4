"""Findings as pages show them: in the order of what to do first, with some of their pictures."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kilat.check.finding import SEVERITIES, Finding, Severity
from kilat.data.catalog import Catalog, Source
from kilat.locale.refusals import refusal_sentence
from kilat.report.pictures import SMALL, ShownPicture, Thumbnail, make_thumbnails

PER_PAGE = 160
"""Pictures of all findings on a page, at most; the last findings are the first to do without."""

PER_FINDING, PER_GROUP, GROUPS = 24, 6, 8
"""Pictures of a finding, pictures of a group, and groups of several pictures, at most."""

PATHS = 6
"""So many pictures of a group that cannot be shown are named."""

ORDER = (
    "leak",
    "conflicting_duplicates",
    "shortcut",
    "suspected_labels",
    "validation_leak",
    "near_duplicates",
    "similar_labels",
    "one_way_confusion",
    "classes_alike",
    "refused",
    "rotated",
    "uniform",
    "blurred",
    "tiny",
    "underexposed",
    "overexposed",
    "extreme_aspect",
    "outlier",
    "grey",
    "coloured",
    "exif_rotated",
)
"""Kinds by what to do first, within a severity; other kinds come after these."""

_LAST = ("few_pictures", "imbalance")


@dataclass(frozen=True)
class Selection:
    """A finding, and the rows of its groups that a page shows."""

    finding: Finding
    groups: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class NamedPicture:
    """A picture that cannot be shown, because it cannot be read: its path, and what there is to say of it."""

    path: str
    caption: str


@dataclass(frozen=True)
class ShownGroup:
    """Pictures that belong together.

    Args:
        caption: what there is to say of them.
        pictures: some of them.
        named: some that cannot be shown.
        count: how many belong to it.
    """

    caption: str
    pictures: tuple[ShownPicture, ...]
    named: tuple[NamedPicture, ...]
    count: int

    @property
    def labels_differ(self) -> bool:
        """Whether its pictures have different labels."""
        return len({picture.label for picture in self.pictures}) > 1

    @property
    def unshown(self) -> int:
        """How many of its pictures are neither shown nor named."""
        return self.count - len(self.pictures) - len(self.named)


@dataclass(frozen=True)
class ShownFinding:
    """One thing that was found, as a page shows it.

    Args:
        kind: such as ``near_duplicates``.
        severity: how much it matters.
        title: what was found, a sentence.
        advice: what to do about it, a sentence.
        groups: some of the pictures.
        unshown: how many groups are not shown.
    """

    kind: str
    severity: Severity
    title: str
    advice: str
    groups: tuple[ShownGroup, ...] = ()
    unshown: int = 0

    @property
    def is_single(self) -> bool:
        """Whether it is about pictures one by one rather than groups of them."""
        return all(group.count == 1 for group in self.groups)

    @property
    def crosses_splits(self) -> bool:
        """Whether it matters which split a picture is in."""
        return self.kind in {"leak", "validation_leak"}


def select(findings: Iterable[Finding], *, per_finding: int = PER_FINDING, per_page: int = PER_PAGE) -> list[Selection]:
    """Return the findings in order, with the pictures to show: of each as many as leave some for those behind it.

    Args:
        findings: all of them, in any order.
        per_finding: pictures of a finding, at most.
        per_page: pictures of all findings, at most.
    """
    rank = {kind: position for position, kind in enumerate((*ORDER, "", *_LAST))}  # "": of any other kind

    def urgency(finding: Finding) -> tuple[int, int, int]:
        return SEVERITIES.index(finding.severity), rank.get(finding.kind, rank[""]), -finding.count

    ordered, left, selections = sorted(findings, key=urgency), per_page, []
    for position, finding in enumerate(ordered):
        # What a later finding needs at least for a group, or fewer where even that is too much for the page.
        reserved = min(PER_GROUP, per_page // len(ordered)) * (len(ordered) - position - 1)
        groups = _first_groups(finding, min(per_finding, left - reserved))
        selections.append(Selection(finding, groups))
        left -= sum(map(len, groups)) if finding.kind != "refused" else 0
    return selections


def _first_groups(finding: Finding, limit: int) -> tuple[tuple[int, ...], ...]:
    """Return the first groups, of each the first pictures, with at most ``limit`` pictures in all."""
    if finding.kind == "refused":
        return tuple(group[:PATHS] for group in finding.groups[:GROUPS])
    pair = 2 if finding.kind == "shortcut" else 1  # with the shortcut and without it: alone they say nothing
    groups = [group[: min(PER_GROUP, limit // pair)] for group in finding.groups]
    count = limit if all(len(group) == 1 for group in finding.groups) else GROUPS
    fitting = int(np.searchsorted(np.cumsum([len(group) for group in groups[:count]]), limit, side="right"))
    return tuple(groups[: fitting // pair * pair]) if limit > 0 else ()


def selected_rows(selections: Iterable[Selection]) -> set[int]:
    """Return the rows whose pictures are shown; refused pictures are named instead."""
    return {
        row
        for selection in selections
        if selection.finding.kind != "refused"
        for group in selection.groups
        for row in group
    }


def show(
    selections: Iterable[Selection], thumbnails: Mapping[str, Thumbnail], catalog: pd.DataFrame
) -> list[ShownFinding]:
    """Return findings with their sentences and pictures.

    Args:
        selections: the findings and what to show of them.
        thumbnails: of the pictures that could be read, by path.
        catalog: every picture that came in.
    """
    columns = ("path", "label", "split", "code", "detail")
    paths, labels, splits, codes, details = (catalog[column].tolist() for column in columns)
    shown = []
    for selection in selections:
        finding, groups = selection.finding, []
        captions = finding.captions() or [""] * len(finding.groups)
        for caption, rows, group in zip(captions, selection.groups, finding.groups, strict=False):
            pictures, named = [], []
            for row in rows:
                if finding.kind == "refused":
                    named.append(NamedPicture(paths[row], refusal_sentence(codes[row], details[row])))
                elif paths[row] in thumbnails:
                    pictures.append(ShownPicture(paths[row], labels[row], thumbnails[paths[row]], splits[row]))
                else:
                    named.append(NamedPicture(paths[row], caption))
            groups.append(ShownGroup(caption, tuple(pictures), tuple(named), len(group)))
        unshown = len(finding.groups) - len(groups)
        title, advice = finding.title(), finding.advice()
        shown.append(ShownFinding(finding.kind, finding.severity, title, advice, tuple(groups), unshown))
    return shown


def read_and_show(
    findings: Iterable[Finding], source: Source, catalog: Catalog, *, per_finding: int = PER_FINDING
) -> list[ShownFinding]:
    """Return findings with their sentences and pictures, which are read for it.

    Args:
        findings: all of them, in any order.
        source: where the pictures are.
        catalog: every picture that came in.
        per_finding: pictures of a finding, at most.
    """
    selections = select(findings, per_finding=per_finding)
    thumbnails = make_thumbnails(source, catalog, dict.fromkeys(selected_rows(selections), SMALL))
    return show(selections, thumbnails, catalog.table)
