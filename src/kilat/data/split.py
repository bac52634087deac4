"""Which pictures train and which test: duplicates resolved, the test set drawn by content, folds for the rest.

Names and order of pictures decide nothing: what is drawn follows from the SHA-256 of their contents and the seed, in
the same share of every class (``kilat.data.draw``). Near-duplicates are drawn together: by the smallest digest among
them, which stands for their group. A class without training pictures is no class of the model.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kilat.data.catalog import Catalog
from kilat.data.draw import content_position, draw_share
from kilat.errors import SourceError
from kilat.locale import _, ngettext
from kilat.locale.escapes import Shown
from kilat.locale.lists import listed
from kilat.locale.notes import Note
from kilat.locale.refusals import Refusal

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

    Ready-made splits stay. Where there is no test set, ``fraction`` of the training pictures of every class become it;
    groups of near-duplicates become it as a whole, or not at all. Where only a validation set came, it is trained on.
    Pictures of classes without training pictures are refused here.

    Args:
        catalog: with digests, duplicates resolved.
        fraction: share of the training pictures for the test set, 0 to below 1.
        seed: another seed draws another test set.
    """
    splits = catalog.table["split"].to_numpy(object)
    is_ready = bool((splits != "").any())
    catalog.set_split(catalog.used & (splits == ""), "train")
    notes = [*_train_on_validation(catalog), *_refuse_untaught(catalog)]
    splits, used = catalog.table["split"].to_numpy(object), catalog.used
    has_test = bool((splits[used] == "test").any())
    if not has_test and fraction:
        keys, is_train = _group_keys(catalog), used & (splits == "train")
        free = np.flatnonzero(is_train & ~pd.Index(keys).isin(keys[used & ~is_train]))
        labels = catalog.table["label"].to_numpy(object)[free]
        catalog.set_split(free[draw_share(keys[free], labels, fraction, seed, "test")], "test")
        notes += [Note("test_drawn_from_train")] if is_ready else []
    return [*notes, *_untested(catalog, is_drawn=not has_test)] if has_test or fraction else notes


def _train_on_validation(catalog: Catalog) -> list[Note]:
    """Make the validation pictures training pictures where there are no others, and say so."""
    splits = catalog.table["split"].to_numpy(object)
    validation = catalog.used & (splits == "validation")
    if (splits[catalog.used] == "train").any() or not validation.any():
        return []
    catalog.set_split(validation, "train")
    return [Note("trained_on_validation", {"count": int(validation.sum())})]


def _refuse_untaught(catalog: Catalog) -> list[Note]:
    """Refuse pictures of classes without training pictures; return notes on these and on classes that are all refused.

    Where nothing at all can be trained on, nothing is refused: that is an error of ``train_and_test``.
    """
    labels, used = catalog.table["label"], catalog.used
    is_taught = labels.isin(labels[used & (catalog.table["split"] == "train").to_numpy()]).to_numpy()
    if not is_taught.any():
        return []
    untaught = used & ~is_taught
    catalog.refuse({int(row): Refusal("no_training_class", str(labels[row])) for row in np.flatnonzero(untaught)})
    is_refused = ~is_taught & ~labels.isin(["", *labels[untaught]]).to_numpy()
    reasons = {"class_without_training_pictures": untaught, "class_refused": is_refused}
    return [
        Note(code, {"count": len(names), "classes": names, "pictures": int(rows.sum())})
        for code, rows in reasons.items()
        if (names := sorted(map(str, labels[rows].unique())))
    ]


def _untested(catalog: Catalog, *, is_drawn: bool) -> list[Note]:
    """Return notes on classes without test pictures, one for each reason.

    Args:
        catalog: with splits.
        is_drawn: whether the test set was drawn here.
    """
    table = catalog.table[catalog.used].assign(key=_group_keys(catalog)[catalog.used])
    tested = table["label"].isin(table.loc[table["split"] == "test", "label"])
    reasons: dict[str, list[str]] = {}
    for label, pictures in table[~tested].groupby("label", sort=True):
        if not is_drawn:
            code = "class_not_in_test_split"
        elif len(pictures) == 1:
            code = "class_with_single_picture"
        else:
            is_group = pictures["key"].duplicated().sum() == len(pictures) - 1
            code = "class_with_single_group" if is_group else "class_without_test_pictures"
        reasons.setdefault(code, []).append(str(label))
    return [Note(code, {"count": len(labels), "classes": labels}) for code, labels in reasons.items()]


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

    Args:
        catalog: with splits (``assign_splits``).

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
        hint: str = Shown("\n").join(filter(None, (catalog.refusal_summary(), catalog.refusal_hint())))
        if not classes and catalog.used.any():
            hint = _("All others are in the split “test”. Give those to train on the split “train”, or give no splits.")
        raise SourceError(message.format(refused=int((~catalog.used).sum()), count=len(table), found=found), hint=hint)
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
        names = listed([f"'{name}'" for name in classes])
        reasons = _("{reasons}. The classes of the model: {classes}.").format(
            reasons=catalog.refusal_summary(), classes=names
        )
        raise SourceError(
            message.format(count=len(catalog.table)),
            hint=Shown("\n").join(filter(None, (reasons, catalog.refusal_hint()))),
        )
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
    position = np.array([content_position(name, seed, "fold") for name in names])
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

    A ready-made validation split is used as it is. Otherwise a share of each class is drawn like the test set.

    Args:
        pictures: to choose from.
        share: of them to hold out, above 0 and below 1.
        seed: another seed draws others.
        purpose: what for; another purpose draws others too, and uses no ready-made split.

    Returns:
        Positions in ``pictures``, rising: to train on, and held out. At least one of every class is trained on, and one
        held out where the class has five that are not near-duplicates; of smaller classes chance may draw none.
    """
    held_out = pictures.validation if purpose == "validation" else np.zeros(len(pictures.rows), bool)
    if not held_out.any():
        held_out = draw_share(pictures.groups, pictures.truth, share, seed, purpose)
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


def _unique(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the different values, sorted, and for every value its number among them."""
    different, number = np.unique(values, return_inverse=True)
    return different, number.astype(np.int64)
