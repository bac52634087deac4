"""Pictures as pages show them: small, with their label and a link to the file."""

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from kilat.data.catalog import Catalog, Source
from kilat.data.decode import decode
from kilat.errors import PictureError

_SIDE = 144


class Thumbnail(BaseModel):
    """A small copy of a picture.

    Args:
        jpeg: its JPEG file, in Base64.
        link: the absolute path of the picture's own file, or None where it has none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    jpeg: str
    link: str | None = None


@dataclass(frozen=True)
class ShownPicture:
    """A picture on a page.

    Args:
        path: where it is, as the user knows it.
        label: its class.
        thumbnail: the picture made small.
        split: the one it is in.
    """

    path: str
    label: str
    thumbnail: Thumbnail
    split: str = ""


def make_thumbnails(source: Source, catalog: Catalog, rows: Iterable[int]) -> dict[str, Thumbnail]:
    """Return some pictures made small, by their paths; those that cannot be read any more are missing.

    Args:
        source: where they are; each is read once more.
        catalog: every picture that came in.
        rows: of the pictures in the catalog, in any order.
    """
    thumbnails = {}
    # In the source's order, since going back in a compressed archive means starting it again.
    for row in sorted(set(rows)):
        try:
            image, _size = decode(source.read(row), shrink_to=_SIDE)
        except PictureError:
            continue
        image.thumbnail((_SIDE, _SIDE))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=80)
        jpeg = base64.b64encode(file.getvalue()).decode("ascii")
        thumbnails[str(catalog.table["path"].iloc[row])] = Thumbnail(jpeg=jpeg, link=source.link(row))
    return thumbnails
