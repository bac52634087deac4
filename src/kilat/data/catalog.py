"""The catalog: one row for every picture that came in, used or refused, and why."""

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Picture = bytes | NDArray[np.uint8]
"""A picture as it came: the bytes of an image file, or uint8 pixels ``[height, width]`` or ``[height, width, 3]``."""

SPLITS = ("train", "validation", "calibration", "test")


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture that a source offers, before anyone has read it.

    Args:
        path: where it is, as the user knows it: relative to the folder, table or archive.
        label: its class name; empty where the source could not tell (then ``refused`` says why).
        split: ``train``, ``validation`` or ``test`` where the source comes ready-made, else empty.
        refused: why it is refused before it is read; empty where it is not.
    """

    path: str
    label: str
    split: str = ""
    refused: str = ""


class Source(Protocol):
    """Where pictures come from. ``read`` is cheapest when called in the order of ``entries``."""

    name: str
    entries: list[Entry]
    skipped: dict[str, int]
    """How many files were no pictures and so never came in, by why."""

    def read(self, index: int) -> Picture:
        """The picture of ``entries[index]``.

        Raises:
            PictureError: it cannot be read; the message is the reason for the catalog.
        """
        ...

    def link(self, index: int) -> str | None:
        """The absolute path of the picture's own file, or None where it has none (archives, arrays)."""
        ...


class Catalog:
    """A table with the columns ``path, label, split, status, digest, width, height, group``.

    ``status`` is ``used`` or ``refused: reason``; ``digest`` the SHA-256 of the content (hexadecimal, empty where it
    could not be read); ``group`` the number that byte-identical pictures and near-duplicates share. Rows stand in the
    source's order. ``facts`` is what was measured of each picture (``kilat.data.image_stats.IMAGE_STATS``, ``[rows]``,
    zeros where one was refused) once the pictures were read.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table
        self.image_stats: NDArray[Any] = np.zeros(0)

    @classmethod
    def from_entries(cls, entries: list[Entry]) -> "Catalog":
        """A catalog of pictures that nobody has looked at yet."""
        table = pd.DataFrame(
            {
                "path": [e.path for e in entries],
                "label": [e.label for e in entries],
                "split": [e.split for e in entries],
                "status": [f"refused: {e.refused}" if e.refused else "used" for e in entries],
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

    def refuse(self, row: int, reason: str) -> None:
        """Takes a picture out, with the reason."""
        self.table.loc[row, "status"] = f"refused: {reason}"

    @property
    def refused(self) -> pd.DataFrame:
        """The rows that were refused, with ``path``, ``label`` and ``reason``."""
        rows = self.table.loc[~self.used, ["path", "label", "status"]]
        return rows.assign(reason=rows["status"].str.removeprefix("refused: ")).drop(columns="status")


def content_digest(picture: Picture) -> bytes:
    """SHA-256 of a picture's bytes; of an array, of its shape and values."""
    if isinstance(picture, bytes):
        return hashlib.sha256(picture).digest()
    return hashlib.sha256(repr(picture.shape).encode() + np.ascontiguousarray(picture).tobytes()).digest()
