"""Pictures as pages show them: small, inside the page, with their label."""

import base64
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image
from pydantic import BaseModel, ConfigDict

from kilat.data.catalog import Catalog, Picture, Source
from kilat.data.decode import decode
from kilat.errors import PictureError
from kilat.runtime.cores import available_cores, parallel_map

LARGE, SMALL = 128, 96
"""Longer sides in pixels of pictures that are looked at, and of those beside them."""

_TINY = 48  # up to this side every pixel counts, and weighs little


class Thumbnail(BaseModel):
    """A small copy of a picture.

    Args:
        uri: its JPEG file as a data URI.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str


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


class _Work(NamedTuple):
    """A picture to make small."""

    picture: Picture
    side: int


def make_thumbnails(source: Source, catalog: Catalog, sides: Mapping[int, int]) -> dict[str, Thumbnail]:
    """Return some pictures made small, by their paths; those that cannot be read any more are missing.

    Args:
        source: where they are; each is read once more.
        catalog: every picture that came in.
        sides: the longer side in pixels, by the row of the picture in the catalog.
    """
    thumbnails: dict[str, Thumbnail] = {}
    paths = catalog.table["path"]
    # In the source's order, since going back in a compressed archive means starting it again; few in memory at a time.
    ordered, block = sorted(sides), 8 * available_cores()
    for start in range(0, len(ordered), block):
        rows = ordered[start : start + block]
        made = parallel_map(_make_small, _readable(source, rows, sides))
        thumbnails |= {str(paths.iloc[row]): small for row, small in zip(rows, made, strict=True) if small}
    return thumbnails


def make_thumbnail(picture: Picture, side: int) -> Thumbnail | None:
    """Return a picture made small, with this longer side in pixels; None where it cannot be read."""
    return _make_small(_Work(picture, side))


def data_uri(image: Image.Image, quality: int) -> str:
    """Return a picture as a JPEG file in a data URI; WebP would be an eighth smaller and take eight times as long."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _readable(source: Source, rows: Iterable[int], sides: Mapping[int, int]) -> Iterator[_Work | None]:
    for row in rows:
        try:
            yield _Work(source.read(row), sides[row])
        except PictureError:
            yield None


def _make_small(work: _Work | None) -> Thumbnail | None:
    if work is None:
        return None
    try:
        image, _size = decode(work.picture, shrink_to=work.side // 2)  # half as fine as for a network
    except PictureError:
        return None
    image.thumbnail((work.side, work.side), Image.Resampling.HAMMING)
    return Thumbnail(uri=data_uri(image, 70 if max(image.size) > _TINY else 90))
