"""Pictures as pages show them: small, inside the page, with their label."""

import base64
import io
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image
from pydantic import BaseModel, ConfigDict

from kilat.data.catalog import Catalog, Picture, Source
from kilat.data.decode import decode
from kilat.errors import PictureError
from kilat.runtime.byte_budget import bytes_of, decoded_bytes
from kilat.runtime.cores import available_cores
from kilat.runtime.ordered_map import ordered_map

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
    """A picture to make small; None where it cannot be read."""

    row: int
    picture: Picture | None
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
    workers = available_cores()
    with ThreadPoolExecutor(workers, thread_name_prefix="kilat-thumbnails") as pool:
        works = _read(source, sides)
        for row, small in ordered_map(pool, _make_one, works, lambda work: bytes_of(work.picture), 2 * workers):
            if small:
                thumbnails[str(paths.iloc[row])] = small
    return thumbnails


def make_thumbnail(picture: Picture, side: int) -> Thumbnail | None:
    """Return a picture made small, with this longer side in pixels; None where it cannot be decoded."""
    try:
        with decoded_bytes.hold():
            image, _size = decode(picture, shrink_to=side // 2)  # half as fine as for a network
            image.thumbnail((side, side), Image.Resampling.HAMMING)
            return Thumbnail(uri=data_uri(image, 70 if max(image.size) > _TINY else 90))
    except Exception:  # noqa: BLE001 - a page does without a picture, whatever is wrong with it
        return None


def data_uri(image: Image.Image, quality: int) -> str:
    """Return a picture as a JPEG file in a data URI; WebP would be an eighth smaller and take eight times as long."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _read(source: Source, sides: Mapping[int, int]) -> Iterator[_Work]:
    """Yield pictures in the source's order, since going back in a compressed archive means starting it again."""
    for row in sorted(sides):
        try:
            yield _Work(row, source.read(row), sides[row])
        except (PictureError, MemoryError):
            yield _Work(row, None, sides[row])


def _make_one(work: _Work) -> tuple[int, Thumbnail | None]:
    return work.row, None if work.picture is None else make_thumbnail(work.picture, work.side)
