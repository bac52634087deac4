"""The catalog: one row for every picture that came in, used or refused, and why.

Each column is written by one method of ``Catalog``, and nowhere else.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kilat.locale import localized
from kilat.locale.notes import Note
from kilat.locale.refusals import Refusal, refusal_heading, refusal_hint

Picture = bytes | NDArray[np.uint8]
"""A picture as it came: the bytes of an image file, or uint8 pixels ``[height, width]`` or ``[height, width, 3]``."""

SPLITS = ("train", "validation", "calibration", "test")


UNLABELLED = frozenset(
    (
        "no_class_folder", "no_class_in_name", "outside_splits", "no_label", "unknown_split", "several_labels",
        "listed_twice",
    )
)  # fmt: skip
"""Refusals of pictures that can be read, but not learned from."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture that a source offers, before it is read.

    Args:
        path: where it is, as the user knows it: relative to the folder, table or archive.
        label: its class name; empty where the source has none (then ``refused`` says why).
        split: ``train``, ``validation`` or ``test`` where the source comes with splits, else empty.
        refused: why it is refused before it is read; None where it is not.
    """

    path: str
    label: str
    split: str = ""
    refused: Refusal | None = None


class Source(Protocol):
    """Where pictures come from. ``read`` is cheapest when called in the order of ``entries``."""

    name: str
    entries: list[Entry]
    skipped: dict[str, int]
    """How many files did not come in as pictures, by a code of ``kilat.data.layout.layout``."""
    notes: list[Note]
    """What was read into what the user named: which column, which split, which of several readings."""

    def read(self, index: int) -> Picture:
        """Return the picture of ``entries[index]``.

        Raises:
            PictureError: it cannot be read.
        """
        ...

    def link(self, index: int) -> str | None:
        """Return the absolute path of the picture's own file, or None where it has none (archives, arrays)."""
        ...


@dataclass(frozen=True)
class PictureRecords:
    """What one pass over the pictures of a source found out.

    Args:
        digests: SHA-256 of each picture's content, hexadecimal, ``[rows]``; empty where it was not read.
        refusals: why pictures were refused, by row.
        image_stats: ``kilat.data.image_stats.IMAGE_STATS``, ``[rows]``, zeros where a picture was refused; ``[0]``
            where nothing was measured.
        frames: how many frames or pages each file holds, ``[rows]``; ``[0]`` where the image stats say it.
        notes: what the user should know of the pass.
    """

    digests: Sequence[str]
    refusals: Mapping[int, Refusal]
    image_stats: NDArray[Any] = field(default_factory=lambda: np.zeros(0))
    frames: NDArray[Any] = field(default_factory=lambda: np.zeros(0, np.uint16))
    notes: list[Note] = field(default_factory=list)


class Catalog:
    """A table with the columns ``path, label, split, status, code, detail, digest, width, height, group``.

    Rows stand in the source's order. ``status`` is ``used`` or ``refused``; then ``code`` and ``detail`` say why
    (``kilat.locale.refusals``). ``digest`` is the SHA-256 of the content, hexadecimal, empty where it could not be
    read; ``width`` and ``height`` are in pixels; ``group`` is the number that byte-identical pictures and
    near-duplicates share, -1 for a picture without any.

    Attributes:
        table: the table, to be read.
        image_stats: what was measured of each picture, once the pictures were read; see ``PictureRecords``.
        frames: how many frames or pages the file of each picture holds, ``[rows]``; 0 where it was not read.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table
        self.image_stats: NDArray[Any] = np.zeros(0)
        self.frames: NDArray[Any] = np.zeros(len(table), np.uint16)

    @classmethod
    def from_entries(cls, entries: Sequence[Entry]) -> "Catalog":
        """Return the catalog of pictures that have not been read yet."""
        refused = [entry.refused for entry in entries]
        table = pd.DataFrame(
            {
                "path": [entry.path for entry in entries],
                "label": [entry.label for entry in entries],
                "split": [entry.split for entry in entries],
                "status": ["refused" if refusal else "used" for refusal in refused],
                "code": [refusal.code if refusal else "" for refusal in refused],
                "detail": [refusal.detail if refusal else "" for refusal in refused],
                "digest": "",
                "width": 0,
                "height": 0,
                "group": -1,
            }
        )
        return cls(table)

    @property
    def used(self) -> NDArray[np.bool_]:
        """Which rows take part, as a mask over all rows."""
        return np.asarray(self.table["status"] == "used")

    @property
    def training_digests(self) -> list[str]:
        """The digests of all pictures that have a part in fitting: the train, validation and calibration set."""
        return self.table.loc[self.used & (self.table["split"] != "test").to_numpy(), "digest"].tolist()

    @property
    def refused(self) -> pd.DataFrame:
        """The rows that were refused, with ``path``, ``label``, ``code`` and ``detail``."""
        return self.table.loc[~self.used, ["path", "label", "code", "detail"]]

    @property
    def refusal_counts(self) -> dict[str, int]:
        """How many pictures were refused, by code, the commonest first."""
        return {str(code): int(count) for code, count in self.refused["code"].value_counts().items()}

    def refusal_summary(self) -> str:
        """Return the three commonest refusals with their counts, as text in the language of the environment."""
        refused = self.refused
        commonest = list(self.refusal_counts.items())[:3]
        return "; ".join(
            f"{localized(count, ',')} × {refusal_heading(code, refused.loc[refused['code'] == code, 'detail'])}"
            for code, count in commonest
        )

    def refusal_hint(self) -> str:
        """Return what to do about the commonest refusals, as text in the language of the environment; often nothing."""
        return " ".join(filter(None, map(refusal_hint, list(self.refusal_counts)[:3])))

    def record_pictures(self, records: PictureRecords) -> None:
        """Write ``digest``, ``width``, ``height`` and the image stats, and refuse what could not be used."""
        self.table["digest"] = list(records.digests)
        if len(records.image_stats):
            for side in ("width", "height"):
                self.table[side] = records.image_stats[side].astype(np.int64)
            self.frames = records.image_stats["frames"]
        elif len(records.frames):
            self.frames = records.frames
        self.image_stats = records.image_stats
        self.refuse(records.refusals)

    def refuse(self, refusals: Mapping[int, Refusal]) -> None:
        """Write ``status``, ``code`` and ``detail`` of the pictures that are taken out, by row."""
        rows = list(refusals)
        self.table.loc[rows, "status"] = "refused"
        self.table.loc[rows, "code"] = [refusal.code for refusal in refusals.values()]
        self.table.loc[rows, "detail"] = [refusal.detail for refusal in refusals.values()]

    def set_split(self, rows: NDArray[np.int64] | NDArray[np.bool_], split: str) -> None:
        """Write ``split`` of some rows: positions, or a mask over all rows."""
        self.table.loc[rows, "split"] = split

    def set_groups(self, numbers: NDArray[np.int64]) -> None:
        """Write ``group`` of every row, ``[rows]``."""
        self.table["group"] = numbers


def content_digest(picture: Picture) -> bytes:
    """Return the SHA-256 of a picture's bytes; of an array, of its shape and values."""
    if isinstance(picture, bytes):
        return hashlib.sha256(picture).digest()
    digest = hashlib.sha256(repr(picture.shape).encode())
    digest.update(np.ascontiguousarray(picture).data)
    return digest.digest()
