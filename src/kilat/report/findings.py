"""What was found in the data, as pages show it: in the order of what to do first, with some of the pictures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kilat.check.finding import SEVERITIES, Finding, Severity
from kilat.data.catalog import Catalog, Source
from kilat.report.pictures import Shown, show

A_PAGE = 160
"""Pictures on a page at most; those found last are the first to do without."""

A_FINDING, A_GROUP, GROUPS = 24, 6, 8
"""Pictures of a finding, pictures of a group, and groups of several, at most."""

PATHS = 6
"""So many pictures of a group that cannot be shown are named."""

ORDER = (
    "leak",
    "conflicting_duplicates",
    "shortcut",
    "suspected_labels",
    "validation_leak",
    "near_duplicates",
    "classes_alike",
    "refused",
    "turned",
    "uniform",
    "blurred",
    "tiny",
    "underexposed",
    "overexposed",
    "extreme_aspect",
    "outlier",
    "grey",
    "coloured",
    "stored_turned",
)
"""Kinds by what to do first, where they matter as much; kinds that are not named come after these."""

_LAST = ("few_pictures", "imbalance")


@dataclass(frozen=True)
class ShownGroup:
    """Pictures that belong together.

    Args:
        caption: what to say of them.
        pictures: some of them.
        paths: of some that cannot be shown, because they cannot be read.
        count: how many belong to it.
    """

    caption: str
    pictures: tuple[Shown, ...]
    paths: tuple[str, ...]
    count: int

    @property
    def labels_differ(self) -> bool:
        """Whether its pictures stand under different labels."""
        return len({picture.label for picture in self.pictures}) > 1

    @property
    def unshown(self) -> int:
        """How many of its pictures are neither shown nor named."""
        return self.count - len(self.pictures) - len(self.paths)


@dataclass(frozen=True)
class ShownFinding:
    """A finding with some of its pictures.

    Args:
        kind: a word for programs, such as ``near_duplicates``.
        severity: how much it matters.
        title: what was found, a sentence.
        advice: what to do about it, a sentence.
        groups: some of the groups, the worst first.
        unshown: how many groups (or pictures, where they stand alone) there are besides.
    """

    kind: str
    severity: Severity
    title: str
    advice: str
    groups: tuple[ShownGroup, ...] = ()
    unshown: int = 0

    @property
    def is_single(self) -> bool:
        """Whether its pictures stand each for itself."""
        return all(group.count == 1 for group in self.groups)

    @property
    def crosses_splits(self) -> bool:
        """Whether it matters in which split a picture is."""
        return self.kind in {"leak", "validation_leak"}


@dataclass(frozen=True)
class Choice:
    """A finding, and the rows of its groups that are to be shown."""

    finding: Finding
    groups: tuple[tuple[int, ...], ...]


def shown(
    findings: Iterable[Finding], source: Source, catalog: Catalog, *, a_finding: int = A_FINDING
) -> list[ShownFinding]:
    """Findings with some of their pictures, in the order of what to do first.

    Args:
        findings: all of them, in any order.
        source: where the pictures are; those that are shown are read once more.
        catalog: every picture that came in.
        a_finding: pictures of a finding, at most.
    """
    choices = choose(findings, a_finding=a_finding)
    return illustrate(choices, show(source, catalog, rows(choices)), catalog)


def choose(findings: Iterable[Finding], *, a_finding: int = A_FINDING, a_page: int = A_PAGE) -> list[Choice]:
    """Which pictures to show, the findings in order: of each as many as leave some for those behind it.

    Args:
        findings: all of them, in any order.
        a_finding: pictures of a finding, at most.
        a_page: pictures of all findings, at most.
    """
    ordered, left, choices = sorted(findings, key=_rank), a_page, []
    for place, finding in enumerate(ordered):
        # What a later finding needs at least for a group, or fewer where even that is too much for the page.
        kept = min(A_GROUP, a_page // len(ordered)) * (len(ordered) - place - 1)
        groups = _some(finding, min(a_finding, left - kept))
        choices.append(Choice(finding, groups))
        left -= sum(map(len, groups)) if finding.kind != "refused" else 0
    return choices


def rows(choices: Iterable[Choice]) -> set[int]:
    """The rows of the catalog whose pictures are to be shown; those of refused ones are named instead."""
    return {row for choice in choices if choice.finding.kind != "refused" for group in choice.groups for row in group}


def illustrate(choices: Iterable[Choice], pictures: Mapping[int, Shown], catalog: Catalog) -> list[ShownFinding]:
    """The findings with their pictures.

    Args:
        choices: what was chosen.
        pictures: those that could be read, by their rows.
        catalog: every picture that came in.
    """
    return [
        ShownFinding(
            choice.finding.kind,
            choice.finding.severity,
            choice.finding.title,
            choice.finding.advice,
            _groups(choice, pictures, catalog),
            len(choice.finding.groups) - len(choice.groups),
        )
        for choice in choices
    ]


def _rank(finding: Finding) -> tuple[int, int, int]:
    kinds = (*ORDER, finding.kind, *_LAST) if finding.kind not in _LAST else (*ORDER, *_LAST)
    return SEVERITIES.index(finding.severity), kinds.index(finding.kind), -finding.count


def _some(finding: Finding, most: int) -> tuple[tuple[int, ...], ...]:
    """The first groups, of each the first pictures, so that there are not more than so many pictures."""
    if finding.kind == "refused":
        return tuple(group[:PATHS] for group in finding.groups[:GROUPS])
    together = 2 if finding.kind == "shortcut" else 1  # with it and without it: alone they say nothing
    groups = [group[: min(A_GROUP, most // together)] for group in finding.groups]
    places = most if all(len(group) == 1 for group in finding.groups) else GROUPS
    fitting = int(np.searchsorted(np.cumsum([len(group) for group in groups[:places]]), most, side="right"))
    return tuple(groups[: fitting // together * together]) if most > 0 else ()


def _groups(choice: Choice, pictures: Mapping[int, Shown], catalog: Catalog) -> tuple[ShownGroup, ...]:
    captions: Sequence[str] = choice.finding.captions or [""] * len(choice.finding.groups)
    paths = catalog.table["path"]
    return tuple(
        ShownGroup(
            caption,
            tuple(pictures[row] for row in chosen if row in pictures),
            tuple(str(paths[row]) for row in chosen if row not in pictures),
            len(group),
        )
        for caption, chosen, group in zip(captions, choice.groups, choice.finding.groups, strict=False)
    )
