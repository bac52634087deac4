"""Who learns and who is asked: byte-identical pictures settled, the test split drawn by content, folds for the rest.

A picture's side follows from the SHA-256 of its content and the seed alone, so adding, removing or renaming other
pictures moves nobody. Each class is drawn from at the same rate; only in classes so small that chance would leave none
to learn from, or none to ask, one picture is moved.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kilat.data.catalog import Catalog
from kilat.errors import SourceError
from kilat.locale import _

_FEW = 5
_RANK = {"test": 0, "validation": 1, "train": 2, "": 2}


def settle_duplicates(catalog: Catalog) -> None:
    """Counts every content once: of byte-identical pictures one is used, and none where their labels disagree.

    Where a ready-made split holds a picture on two sides, the test keeps it, then the validation: what is asked must
    not have been learnt.
    """
    table = catalog.table
    used = table[catalog.used]
    for number, (_digest, twins) in enumerate(
        used[used.duplicated("digest", keep=False)].groupby("digest", sort=False)
    ):
        table.loc[twins.index, "group"] = number
        labels = list(dict.fromkeys(twins["label"]))
        rows = sorted(twins.index, key=lambda row: (_RANK[str(table.loc[row, "split"])], row))
        if len(labels) > 1:
            named = ", ".join(f"'{label}'" for label in labels[:4])
            for row in rows:
                other = next(r for r in rows if table.loc[r, "label"] != table.loc[row, "label"])
                catalog.refuse(row, f"the same picture stands under {named} (see {table.loc[other, 'path']})")
            continue
        for row in rows[1:]:
            catalog.refuse(row, f"byte-identical to {table.loc[rows[0], 'path']}, which is counted once")


def assign(catalog: Catalog, fraction: float, seed: int) -> list[str]:
    """Fills in the split of every used picture; returns sentences on what the user should know.

    Ready-made splits stay. Where there is no test, ``fraction`` of the training pictures become it.

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
    open_rows = table[used & table["split"].isin(["", "train"])]
    for label, rows in open_rows.groupby("label", sort=True):
        test, note = _draw(rows["digest"], fraction, seed)
        table.loc[rows.index, "split"] = np.where(test, "test", "train")
        if note:
            notes.append(note.format(label=label))
    return notes


@dataclass(frozen=True)
class Part:
    """Some pictures with their classes.

    Args:
        rows: where they stand in the catalog, ``[n]``.
        truth: class of each, ``[n]``.
        digests: their contents, ``[n]``.
        validation: which of them a ready-made split sets aside for validation, ``[n]``.
    """

    rows: NDArray[np.int64]
    truth: NDArray[np.int64]
    digests: NDArray[np.object_]
    validation: NDArray[np.bool_]

    def at(self, positions: NDArray[np.int64]) -> "Part":
        """Those that stand at some positions."""
        return Part(self.rows[positions], self.truth[positions], self.digests[positions], self.validation[positions])

    @property
    def commonest(self) -> int:
        """The class with the most pictures."""
        return int(np.bincount(self.truth).argmax())


def parts(catalog: Catalog) -> tuple[list[str], Part, Part]:
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
            f"A classifier needs pictures of at least two classes to learn from; after refusing {refused:,} of "
            f"{len(table):,} pictures there is {found}.",
            mend=_reasons(catalog),
        )
    for row in table.index[catalog.used & ~table["label"].isin(classes)]:
        catalog.refuse(row, f"no picture of class '{table.loc[row, 'label']}' to learn from")
    return classes, _part(catalog, learnt, classes), _part(catalog, catalog.used & ~learnt, classes)


def whole(catalog: Catalog, classes: Sequence[str]) -> Part:
    """All used pictures of a catalog whose labels are all among ``classes``.

    Raises:
        SourceError: there are none.
    """
    if not catalog.used.any():
        raise SourceError(f"None of the {len(catalog.table):,} pictures can be asked about.", mend=_reasons(catalog))
    return _part(catalog, catalog.used, classes)


def folds(learnt: Part, count: int, seed: int) -> NDArray[np.int64]:
    """In which fold of cross-validation each picture is held out.

    Folds are stratified and follow from content and seed. A ready-made validation split is the only fold.

    Returns:
        int64 ``[n]``, 0 to ``count - 1``, and -1 for pictures that are never held out, such as the only one of a class.
    """
    if learnt.validation.any():
        return np.where(learnt.validation, 0, -1)
    keys = np.array([_position(digest, seed, "fold") for digest in learnt.digests])
    fold = np.full(len(keys), -1, np.int64)
    for offset, label in enumerate(np.unique(learnt.truth)):
        rows = np.flatnonzero(learnt.truth == label)
        if len(rows) > 1:
            fold[rows[np.argsort(keys[rows], kind="stable")]] = (np.arange(len(rows)) + offset) % count
    return fold


def hold_out(learnt: Part, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which pictures a network is trained on, and which it is measured on between epochs.

    A ready-made validation split is used as it is. Otherwise a share of each class is drawn by content, like the test.

    Args:
        learnt: the pictures to learn from.
        share: of them for validation, above 0 and below 1.
        seed: another seed draws others.

    Returns:
        Positions in ``learnt``, rising: to train on, and to validate on. At least one of every class is trained on, and
        one validated on where the class has five; of smaller classes chance may draw none.

    Raises:
        SourceError: a ready-made validation split leaves nothing to train on.
    """
    held = learnt.validation
    if held.all():
        message = f"All {len(held):,} pictures to learn from are set aside for validation, so none is left to train on."
        raise SourceError(message, mend="Call the split of those to train on “train”.")
    if not held.any():
        held = np.zeros(len(learnt.rows), bool)
        for label in np.unique(learnt.truth):
            members = np.flatnonzero(learnt.truth == label)
            held[members], _note = _draw(learnt.digests[members], share, seed, "validation")
    return np.flatnonzero(~held), np.flatnonzero(held)


def _part(catalog: Catalog, mask: NDArray[np.bool_], classes: Sequence[str]) -> Part:
    table = catalog.table[mask]
    truth = pd.Index(classes).get_indexer(pd.Index(table["label"]))
    validation = (table["split"] == "validation").to_numpy()
    return Part(np.flatnonzero(mask), truth.astype(np.int64), table["digest"].to_numpy(object), validation)


def _reasons(catalog: Catalog) -> str:
    """The commonest reasons for refusals, as a sentence."""
    counts = catalog.refused["reason"].value_counts().head(3)
    return "; ".join(f"{count:,} × {reason}" for reason, count in counts.items())


def _draw(digests: Iterable[str], fraction: float, seed: int, purpose: str = "test") -> tuple[NDArray[np.bool_], str]:
    """Which pictures of one class are test, and what to say about it where the class is too small to obey the rate."""
    position = np.array([_position(digest, seed, purpose) for digest in digests])
    test = position < fraction
    if not fraction:
        return test, ""
    if len(test) == 1:
        return np.zeros(1, bool), _("Class “{label}” has a single picture: it is learnt from, but cannot be tested.")
    if test.all():
        test[np.argmax(position)] = False
    if not test.any():
        if len(test) < _FEW:
            return test, _("Class “{label}” has so few pictures that none fell into the test.")
        test[np.argmin(position)] = True
    return test, ""


def _position(digest: str, seed: int, purpose: str) -> float:
    """Where a content falls between 0 and 1: uniform, and independent for every seed and purpose."""
    return int.from_bytes(hashlib.sha256(f"{purpose} {seed} {digest}".encode()).digest()[:8]) / 2**64
