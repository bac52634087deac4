"""Which pictures train and which test: duplicates resolved, the test set drawn by content, folds for the rest.

The split of a picture follows from the SHA-256 of its content and the seed alone, so adding, removing or renaming other
pictures moves none. Each class is drawn from at the same rate; only in classes so small that chance would leave none
to train on, or none to test on, one picture is moved. Near-duplicates are drawn together: by the smallest digest among
them, which stands for their group.
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
from kilat.locale import _, ngettext
from kilat.locale.notes import Note
from kilat.locale.refusals import Refusal

_FEW = 5
"""Of a class with fewer groups, chance may draw none; with so many, at least one is drawn."""

_DUPLICATE_RANK = {"test": 0, "calibration": 1, "validation": 2, "train": 3, "": 3}


def resolve_duplicates(catalog: Catalog, corrected: Collection[int] = ()) -> None:
    """Count every content once: of byte-identical pictures use one, and none where their labels differ.

    Where ready-made splits share a picture, the test set keeps it, then calibration, then validation: no picture may
    be both trained on and tested.

    Args:
        catalog: with digests.
        corrected: rows whose label a person gave: where labels differ but those of these rows do not, theirs counts.
    """
    table = catalog.table
    used = table[catalog.used]
    numbers = table["group"].to_numpy().copy()
    refusals: dict[int, Refusal] = {}
    for number, (_digest, copies) in enumerate(
        used[used.duplicated("digest", keep=False)].groupby("digest", sort=False)
    ):
        numbers[copies.index] = number
        rank = copies["split"].map(_DUPLICATE_RANK).to_dict()
        rows = sorted(copies.index, key=lambda row: (rank[row], row))
        labels, paths = dict(copies["label"]), dict(copies["path"])
        agreeing = rows if len(set(labels.values())) == 1 else [row for row in rows if row in corrected]
        if len({labels[row] for row in agreeing}) == 1:
            kept = agreeing[0]
            refusals |= {row: Refusal("duplicate", paths[kept]) for row in rows if row != kept}
            continue
        for row in rows:
            other = next(r for r in rows if labels[r] != labels[row])
            refusals[row] = Refusal("label_conflict", paths[other])
    catalog.set_groups(numbers)
    catalog.refuse(refusals)


def merge_groups(catalog: Catalog, groups: Iterable[Sequence[int]]) -> None:
    """Give rows that belong together one group number, together with their byte-identical copies. All stay used.

    Args:
        catalog: with duplicates resolved.
        groups: rows that are near-duplicates of each other.
    """
    numbers = catalog.table["group"].to_numpy().copy()
    free = int(numbers.max(initial=-1)) + 1
    for group in groups:
        rows = np.asarray(group)
        known = np.unique(numbers[rows][numbers[rows] >= 0])
        if not len(known):
            known, free = np.array([free]), free + 1
        numbers[rows] = known[0]
        numbers[np.isin(numbers, known[1:])] = known[0]
    catalog.set_groups(numbers)


def assign_splits(catalog: Catalog, fraction: float, seed: int) -> list[Note]:
    """Give every used picture a split, and return notes on what the user should know.

    Ready-made splits stay. Where there is no test set, ``fraction`` of the training pictures become it. Groups of
    near-duplicates become it as a whole, or not at all.

    Args:
        catalog: with digests, duplicates resolved.
        fraction: share of pictures for the test set, 0 to below 1.
        seed: another seed draws another test set.
    """
    splits, used = catalog.table["split"], catalog.used
    ready = bool((splits != "").any())
    if ready and (splits[used] == "test").any():
        catalog.set_split(used & (splits == "").to_numpy(), "train")
        return []
    keys = _group_keys(catalog)
    is_open = used & splits.isin(["", "train"]).to_numpy()
    catalog.set_split(is_open, "train")
    drawn = np.flatnonzero(is_open & ~np.isin(keys, keys[used & ~is_open]))
    labels = catalog.table["label"].to_numpy(object)[drawn]
    test, notes = _draw(keys[drawn], labels, fraction, seed, "test")
    catalog.set_split(drawn[test], "test")
    return [Note("test_drawn_from_train"), *notes] if ready else notes


@dataclass(frozen=True)
class Part:
    """Some pictures with their classes.

    Args:
        rows: where they stand in the catalog, ``[n]``.
        truth: class of each, ``[n]``.
        digests: their contents, ``[n]``.
        validation: which of them a ready-made split sets aside for validation, ``[n]``.
        groups: equal for pictures that must stay in the same split, ``[n]``; for a picture without near-duplicates its
            digest.
    """

    rows: NDArray[np.int64]
    truth: NDArray[np.int64]
    digests: NDArray[np.object_]
    validation: NDArray[np.bool_]
    groups: NDArray[np.object_]

    def take(self, positions: NDArray[np.int64]) -> "Part":
        """Return the pictures at some positions."""
        return Part(*(getattr(self, one.name)[positions] for one in fields(self)))

    @classmethod
    def concat(cls, parts: Sequence["Part"]) -> "Part":
        """Return the pictures of several parts, one after the other."""
        return cls(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(cls)))

    @property
    def majority_class(self) -> int:
        """The class with the most pictures."""
        return int(np.bincount(self.truth).argmax())


def train_and_test(catalog: Catalog) -> tuple[list[str], Part, Part]:
    """Return the class names, sorted, the pictures that are not for the test, and those that are.

    Test pictures of a class without training pictures are refused here.

    Raises:
        SourceError: fewer than two classes have training pictures.
    """
    table = catalog.table
    train = catalog.used & (table["split"] != "test").to_numpy()
    classes = sorted(table.loc[train, "label"].unique())
    if len(classes) < 2:
        found = _("there is only '{label}'").format(label=classes[0]) if classes else _("there is none")
        message = ngettext(
            "A classifier needs training pictures of at least two classes; after refusing {refused:,} of {count:,} "
            "picture, {found}.",
            "A classifier needs training pictures of at least two classes; after refusing {refused:,} of {count:,} "
            "pictures, {found}.",
            len(table),
        )
        raise SourceError(
            message.format(refused=int((~catalog.used).sum()), count=len(table), found=found),
            hint=catalog.refusal_summary(),
        )
    foreign = table.loc[catalog.used & ~table["label"].isin(classes).to_numpy(), "label"]
    catalog.refuse(
        {int(row): Refusal("no_training_class", label) for row, label in zip(foreign.index, foreign, strict=True)}
    )
    return classes, _part(catalog, train, classes), _part(catalog, catalog.used & ~train, classes)


def all_used(catalog: Catalog, classes: Sequence[str]) -> Part:
    """Return all used pictures of a catalog whose labels are all among ``classes``.

    Raises:
        SourceError: there are none.
    """
    if not catalog.used.any():
        message = ngettext(
            "The only picture cannot be evaluated.",
            "None of the {count:,} pictures can be evaluated.",
            len(catalog.table),
        )
        raise SourceError(message.format(count=len(catalog.table)), hint=catalog.refusal_summary())
    return _part(catalog, catalog.used, classes)


def folds(pictures: Part, count: int, seed: int) -> NDArray[np.int64]:
    """Return in which fold of cross-validation each picture is held out.

    Folds are stratified and follow from content and seed. A group of near-duplicates is held out as a whole, and never
    if it is all there is of a class. A ready-made validation split is the only fold.

    Returns:
        int64 ``[n]``, 0 to ``count - 1``, and -1 for pictures that are never held out, such as the only one of a class.
    """
    if pictures.validation.any():
        return np.where(pictures.validation, 0, -1)
    names, group = _unique(pictures.groups)
    position = np.array([_position(name, seed, "fold") for name in names])
    members = [np.unique(group[pictures.truth == label]) for label in np.unique(pictures.truth)]
    fold = np.full(len(names), -1, np.int64)
    placed = np.isin(np.arange(len(names)), [own[0] for own in members if len(own) == 1])
    for offset, own in enumerate(members):
        left = own[~placed[own]]
        fold[left[np.argsort(position[left], kind="stable")]] = (np.arange(len(left)) + offset) % count
        placed[left] = True
    return fold[group]


def hold_out(
    pictures: Part, share: float, seed: int, purpose: str = "validation"
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which pictures a network is trained on, and which are held out, such as to validate between epochs.

    A ready-made validation split is used as it is. Otherwise a share of each class is drawn by content, like the test
    set, and groups of near-duplicates as a whole.

    Args:
        pictures: to choose from.
        share: of them to hold out, above 0 and below 1.
        seed: another seed draws others.
        purpose: what for; another purpose draws others too, and uses no ready-made split.

    Returns:
        Positions in ``pictures``, rising: to train on, and held out. At least one of every class is trained on, and one
        held out where the class has five that are not near-duplicates; of smaller classes chance may draw none.

    Raises:
        SourceError: a ready-made validation split leaves nothing to train on.
    """
    held_out = pictures.validation if purpose == "validation" else np.zeros(len(pictures.rows), bool)
    if held_out.all():
        message = ngettext(
            "The only training picture is set aside for validation, so none is left to train on.",
            "All {count:,} training pictures are set aside for validation, so none is left to train on.",
            len(held_out),
        )
        raise SourceError(
            message.format(count=len(held_out)), hint=_("Give the pictures to train on the split “train”.")
        )
    if not held_out.any():
        held_out, _notes = _draw(pictures.groups, pictures.truth, share, seed, purpose)
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _part(catalog: Catalog, mask: NDArray[np.bool_], classes: Sequence[str]) -> Part:
    table = catalog.table[mask]
    truth = pd.Index(classes).get_indexer(pd.Index(table["label"]))
    validation = (table["split"] == "validation").to_numpy()
    digests = table["digest"].to_numpy(object)
    return Part(np.flatnonzero(mask), truth.astype(np.int64), digests, validation, _group_keys(catalog)[mask])


def _group_keys(catalog: Catalog) -> NDArray[np.object_]:
    """Return the smallest digest of every row's group; of a picture without a group, its own."""
    table = catalog.table
    keys = table["digest"].to_numpy(object).copy()
    grouped = table[table["group"] >= 0]
    if len(grouped):
        keys[table["group"] >= 0] = grouped.groupby("group")["digest"].transform("min").to_numpy(object)
    return keys


def _draw(
    keys: NDArray[np.object_], classes: NDArray[Any], share: float, seed: int, purpose: str
) -> tuple[NDArray[np.bool_], list[Note]]:
    """Return which pictures are drawn, all of one key or none, and notes on classes too small to be drawn from."""
    names, group = _unique(keys)
    position = np.array([_position(name, seed, purpose) for name in names])
    drawn = position < share
    notes: list[Note] = []
    if not share:
        return drawn[group], notes
    labels, code = _unique(classes)
    members = [np.unique(group[code == number]) for number in range(len(labels))]
    for label, own, pictures in zip(labels, members, np.bincount(code), strict=True):
        if len(own) == 1:
            drawn[own] = False
            single = "class_with_single_picture" if pictures == 1 else "class_with_single_group"
            notes.append(Note(single, {"label": str(label)}))
            continue
        if drawn[own].all():
            drawn[own[np.argmax(position[own])]] = False
        if not drawn[own].any() and len(own) < _FEW:
            notes.append(Note("class_without_test_pictures", {"label": str(label)}))
        elif not drawn[own].any():
            drawn[own[np.argmin(position[own])]] = True
    for own in members:  # a group of two classes may have been drawn for the sake of the other one
        if drawn[own].all():
            drawn[own[np.argmax(position[own])]] = False
    return drawn[group], notes


def _unique(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the different values, sorted, and for every value its number among them."""
    different, number = np.unique(values, return_inverse=True)
    return different, number.astype(np.int64)


def _position(digest: str, seed: int, purpose: str) -> float:
    """Return where a content falls between 0 and 1: uniform, and independent for every seed and purpose."""
    return int.from_bytes(hashlib.sha256(f"{purpose} {seed} {digest}".encode()).digest()[:8]) / 2**64
