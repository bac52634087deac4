"""Who learns and who is asked: byte-identical pictures settled, the test split drawn by content, folds for the rest.

A picture's side follows from the SHA-256 of its content and the seed alone, so adding, removing or renaming other
pictures moves nobody. Each class is drawn from at the same rate; only in classes so small that chance would leave none
to learn from, or none to ask, one picture is moved. Near-duplicates go as one: by the smallest digest among them, their
key.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kilat.data.catalog import Catalog
from kilat.errors import SourceError
from kilat.locale import _

_FEW = 5
_RANK = {"test": 0, "calibration": 1, "validation": 2, "train": 3, "": 3}


def resolve_duplicates(catalog: Catalog, corrected: Collection[int] = ()) -> None:
    """Counts every content once: of byte-identical pictures one is used, and none where their labels disagree.

    Where a ready-made split holds a picture on two sides, the test keeps it, then calibration, then validation: what is
    asked must not have been learnt.

    Args:
        catalog: with digests.
        corrected: rows whose label a person gave: where labels disagree but those of these rows do not, theirs counts.
    """
    table = catalog.table
    used = table[catalog.used]
    for number, (_digest, twins) in enumerate(
        used[used.duplicated("digest", keep=False)].groupby("digest", sort=False)
    ):
        table.loc[twins.index, "group"] = number
        rows = sorted(twins.index, key=lambda row: (_RANK[str(table.loc[row, "split"])], row))
        labels = dict(twins["label"])
        agreeing = rows if len(set(labels.values())) == 1 else [row for row in rows if row in corrected]
        if len({labels[row] for row in agreeing}) != 1:
            named = ", ".join(f"'{label}'" for label in list(dict.fromkeys(labels.values()))[:4])
            for row in rows:
                other = next(r for r in rows if labels[r] != labels[row])
                catalog.refuse(row, f"the same picture stands under {named} (see {table.loc[other, 'path']})")
            continue
        for row in rows:
            if row != agreeing[0]:
                catalog.refuse(row, f"byte-identical to {table.loc[agreeing[0], 'path']}, which is counted once")


def merge_groups(catalog: Catalog, groups: Iterable[Sequence[int]]) -> None:
    """Gives rows that belong together one number; byte-identical pictures bring theirs. All stay used.

    Args:
        catalog: with duplicates settled.
        groups: rows that are near-duplicates of each other.
    """
    number = catalog.table["group"].to_numpy().copy()
    free = int(number.max(initial=-1)) + 1
    for group in groups:
        rows = np.asarray(group)
        known = np.unique(number[rows][number[rows] >= 0])
        if not len(known):
            known, free = np.array([free]), free + 1
        number[rows] = known[0]
        number[np.isin(number, known[1:])] = known[0]
    catalog.table["group"] = number


def assign_splits(catalog: Catalog, fraction: float, seed: int) -> list[str]:
    """Fills in the split of every used picture; returns sentences on what the user should know.

    Ready-made splits stay. Where there is no test, ``fraction`` of the training pictures become it. Groups of
    near-duplicates become it as a whole, or not at all.

    Args:
        catalog: with digests, duplicates settled.
        fraction: share of pictures for the test, 0 to below 1.
        seed: another seed draws another test.
    """
    table = catalog.table
    used = catalog.used
    ready = bool((table["split"] != "").any())
    if ready and (table.loc[used, "split"] == "test").any():
        table.loc[used & (table["split"] == ""), "split"] = "train"
        return []
    notes = []
    if ready:
        notes.append(_("The data brings no test split, so it was drawn from the training pictures."))
    keys = _keys(catalog)
    is_open = used & table["split"].isin(["", "train"]).to_numpy()
    table.loc[is_open, "split"] = "train"
    drawn = is_open & ~np.isin(keys, keys[used & ~is_open])
    labels = table.loc[drawn, "label"].to_numpy(object)
    test, told = _draw(keys[drawn], labels, fraction, seed, "test")
    table.loc[np.flatnonzero(drawn)[test], "split"] = "test"
    return [*notes, *told]


@dataclass(frozen=True)
class Part:
    """Some pictures with their classes.

    Args:
        rows: where they stand in the catalog, ``[n]``.
        truth: class of each, ``[n]``.
        digests: their contents, ``[n]``.
        validation: which of them a ready-made split sets aside for validation, ``[n]``.
        keys: what must stay on one side has one key, ``[n]``; for a picture without near-duplicates its digest.
    """

    rows: NDArray[np.int64]
    truth: NDArray[np.int64]
    digests: NDArray[np.object_]
    validation: NDArray[np.bool_]
    groups: NDArray[np.object_]

    def take(self, positions: NDArray[np.int64]) -> "Part":
        """Those that stand at some positions."""
        return Part(
            self.rows[positions],
            self.truth[positions],
            self.digests[positions],
            self.validation[positions],
            self.groups[positions],
        )

    @classmethod
    def concat(cls, parts: Sequence["Part"]) -> "Part":
        """The pictures of several, one after the other."""
        return cls(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(cls)))

    @property
    def majority_class(self) -> int:
        """The class with the most pictures."""
        return int(np.bincount(self.truth).argmax())


def train_and_test(catalog: Catalog) -> tuple[list[str], Part, Part]:
    """The class names, sorted, and the pictures to learn from and to be asked about.

    Test pictures of a class that nobody learns are refused here.

    Raises:
        SourceError: fewer than two classes are left to learn.
    """
    table = catalog.table
    learnt = catalog.used & (table["split"] != "test").to_numpy()
    classes = sorted(table.loc[learnt, "label"].unique())
    if len(classes) < 2:
        found = f"only '{classes[0]}'" if classes else "none"
        refused = int((~catalog.used).sum())
        raise SourceError(
            _(
                "A classifier needs pictures of at least two classes to learn from; after refusing "
                "{refused:,} of {count:,} pictures there is {found}."
            ).format(refused=refused, count=len(table), found=found),
            hint=_reasons(catalog),
        )
    for row in table.index[catalog.used & ~table["label"].isin(classes)]:
        catalog.refuse(row, f"no picture of class '{table.loc[row, 'label']}' to learn from")
    return classes, _part(catalog, learnt, classes), _part(catalog, catalog.used & ~learnt, classes)


def all_used(catalog: Catalog, classes: Sequence[str]) -> Part:
    """All used pictures of a catalog whose labels are all among ``classes``.

    Raises:
        SourceError: there are none.
    """
    if not catalog.used.any():
        raise SourceError(
            _("None of the {count:,} pictures can be asked about.").format(count=len(catalog.table)),
            hint=_reasons(catalog),
        )
    return _part(catalog, catalog.used, classes)


def folds(learnt: Part, count: int, seed: int) -> NDArray[np.int64]:
    """In which fold of cross-validation each picture is held out.

    Folds are stratified and follow from content and seed. A group of near-duplicates is held out as a whole; one that
    is all there is of a class is never. A ready-made validation split is the only fold.

    Returns:
        int64 ``[n]``, 0 to ``count - 1``, and -1 for pictures that are never held out, such as the only one of a class.
    """
    if learnt.validation.any():
        return np.where(learnt.validation, 0, -1)
    names, group = _numbered(learnt.groups)
    position = np.array([_position(name, seed, "fold") for name in names])
    members = [np.unique(group[learnt.truth == label]) for label in np.unique(learnt.truth)]
    fold = np.full(len(names), -1, np.int64)
    placed = np.isin(np.arange(len(names)), [own[0] for own in members if len(own) == 1])
    for offset, own in enumerate(members):
        left = own[~placed[own]]
        fold[left[np.argsort(position[left], kind="stable")]] = (np.arange(len(left)) + offset) % count
        placed[left] = True
    return fold[group]


def hold_out(
    learnt: Part, share: float, seed: int, purpose: str = "validation"
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which pictures a network is trained on, and which are held out, such as to measure it on between epochs.

    A ready-made validation split is used as it is. Otherwise a share of each class is drawn by content, like the test,
    and groups of near-duplicates as a whole.

    Args:
        learnt: the pictures to learn from.
        share: of them to hold out, above 0 and below 1.
        seed: another seed draws others.
        purpose: what for; another purpose draws others too, and takes no ready-made split.

    Returns:
        Positions in ``learnt``, rising: to train on, and held out. At least one of every class is trained on, and one
        held out where the class has five that are no near-duplicates; of smaller classes chance may draw none.

    Raises:
        SourceError: a ready-made validation split leaves nothing to train on.
    """
    held = learnt.validation if purpose == "validation" else np.zeros(len(learnt.rows), bool)
    if held.all():
        message = f"All {len(held):,} pictures to learn from are set aside for validation, so none is left to train on."
        raise SourceError(message, hint=_("Call the split of those to train on “train”."))
    if not held.any():
        held, _notes = _draw(learnt.groups, learnt.truth, share, seed, purpose)
    return np.flatnonzero(~held), np.flatnonzero(held)


def _part(catalog: Catalog, mask: NDArray[np.bool_], classes: Sequence[str]) -> Part:
    table = catalog.table[mask]
    truth = pd.Index(classes).get_indexer(pd.Index(table["label"]))
    validation = (table["split"] == "validation").to_numpy()
    digests = table["digest"].to_numpy(object)
    return Part(np.flatnonzero(mask), truth.astype(np.int64), digests, validation, _keys(catalog)[mask])


def _keys(catalog: Catalog) -> NDArray[np.object_]:
    """For every row, the smallest digest of its group; of a picture without one, its own."""
    table = catalog.table
    keys = table["digest"].to_numpy(object).copy()
    grouped = table[table["group"] >= 0]
    if len(grouped):
        keys[table["group"] >= 0] = grouped.groupby("group")["digest"].transform("min").to_numpy(object)
    return keys


def _reasons(catalog: Catalog) -> str:
    """The commonest reasons for refusals, as a sentence."""
    counts = catalog.refused["reason"].value_counts().head(3)
    return "; ".join(f"{count:,} × {reason}" for reason, count in counts.items())


def _draw(
    keys: NDArray[np.object_], classes: NDArray[Any], share: float, seed: int, purpose: str
) -> tuple[NDArray[np.bool_], list[str]]:
    """Which pictures are drawn, all of one key or none; and what to say of classes too small to obey the rate."""
    names, group = _numbered(keys)
    position = np.array([_position(name, seed, purpose) for name in names])
    drawn = position < share
    notes: list[str] = []
    if not share:
        return drawn[group], notes
    labels, code = _numbered(classes)
    members = [np.unique(group[code == number]) for number in range(len(labels))]
    for label, own, pictures in zip(labels, members, np.bincount(code), strict=True):
        if note := _obey(drawn, position, own, int(pictures)):
            notes.append(note.format(label=label))
    for own in members:  # a group of two classes may have been drawn for the sake of the other one
        if drawn[own].all():
            drawn[own[np.argmax(position[own])]] = False
    return drawn[group], notes


def _obey(drawn: NDArray[np.bool_], position: NDArray[np.float64], own: NDArray[np.int64], pictures: int) -> str:
    """Moves one group of a class that is so small that all or none were drawn; what to say of it."""
    if len(own) == 1:
        drawn[own] = False
        if pictures == 1:
            return _("Class “{label}” has a single picture: it is learnt from, but cannot be tested.")
        return _("Class “{label}” has near copies of a single picture: they are learnt from, but cannot be tested.")
    if drawn[own].all():
        drawn[own[np.argmax(position[own])]] = False
    if not drawn[own].any():
        if len(own) < _FEW:
            return _("Class “{label}” has so few pictures that none fell into the test.")
        drawn[own[np.argmin(position[own])]] = True
    return ""


def _numbered(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The different values, sorted, and the number of each one's own."""
    different, number = np.unique(values, return_inverse=True)
    return different, number.astype(np.int64)


def _position(digest: str, seed: int, purpose: str) -> float:
    """Where a content falls between 0 and 1: uniform, and independent for every seed and purpose."""
    return int.from_bytes(hashlib.sha256(f"{purpose} {seed} {digest}".encode()).digest()[:8]) / 2**64
