"""Pictures as pages show them: small, with their label and a link to the file."""

import io
from collections.abc import Iterable
from dataclasses import dataclass

from kilat.data.catalog import Catalog, Source
from kilat.data.decode import decode
from kilat.errors import PictureError

_SIDE = 144


@dataclass(frozen=True)
class Shown:
    """A picture on a page.

    Args:
        path: where it is, as the user knows it.
        label: its class.
        jpeg: the picture made small, as JPEG bytes.
        link: the absolute path of the picture's own file, or None where it has none.
        split: the one it is in, where that matters.
    """

    path: str
    label: str
    jpeg: bytes
    link: str | None
    split: str = ""


def show(source: Source, catalog: Catalog, rows: Iterable[int]) -> dict[int, Shown]:
    """Some pictures made small; those that cannot be read are missing.

    Args:
        source: where they are; they are read once more.
        catalog: every picture that came in.
        rows: which to show, in any order.
    """
    # In the source's order, since going back in a compressed archive means starting it again.
    shown = ((row, _shown(source, catalog, row)) for row in sorted(set(rows)))
    return {row: picture for row, picture in shown if picture}


def _shown(source: Source, catalog: Catalog, row: int) -> Shown | None:
    try:
        image, _ = decode(source.read(row), shrink_to=_SIDE)
    except PictureError:
        return None
    image.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    label, split = catalog.table.loc[row, ["label", "split"]]
    return Shown(source.entries[row].path, str(label), file.getvalue(), source.link(row), str(split))
