"""Pictures side by side with a few words below each, as HTML that a notebook shows: nothing but styles in line."""

import base64
import io
import os
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from kilat.data.decode import decode
from kilat.data.image_file import read_file
from kilat.data.picture_failure import picture_failure
from kilat.errors import PictureError
from kilat.locale import _
from kilat.locale.escapes import visible
from kilat.runtime.array_types import Pixels
from kilat.runtime.byte_budget import decoded_bytes

ImageLike = str | os.PathLike[str] | bytes | Pixels
"""A picture as a caller has it: a path, the bytes of an image file, or uint8 pixels ``[height, width(, 3)]``."""

SIDE = 112
"""Longer side of a picture in pixels. Smaller ones are enlarged without smoothing, so that every pixel shows."""


def gallery(shown: Iterable[tuple[ImageLike | PictureError, Sequence[str]]], left_out: int = 0) -> str:
    """Return pictures as HTML.

    Args:
        shown: each with its lines of text, the first of them in bold; a picture that cannot be read says why.
        left_out: how many more there are, which is said.
    """
    cells = [_cell(picture, lines) for picture, lines in shown]
    rest = f"<div>{escape(_('and {count:,} more').format(count=left_out))}</div>" if left_out else ""
    style = "display:flex;flex-wrap:wrap;gap:12px;align-items:flex-end"
    return f'<div style="{style}">{"".join(cells)}</div>{rest}'


def _cell(picture: ImageLike | PictureError, lines: Sequence[str]) -> str:
    first, *others = [escape(visible(line)) for line in lines]
    text = "".join([f"<strong>{first}</strong>", *(f"<br>{line}" for line in others)])
    box = f"width:{SIDE}px;height:{SIDE}px;display:flex;align-items:center;justify-content:center"
    style = f"width:{SIDE}px;margin:0;font-size:12px;line-height:1.35;overflow-wrap:anywhere"
    inner = f'<div style="{box}">{_image(picture)}</div><figcaption>{text}</figcaption>'
    return f'<figure style="{style}">{inner}</figure>'


def _image(picture: ImageLike | PictureError) -> str:
    """Return a picture as an element of HTML, or in words why there is none."""
    if isinstance(picture, str) and not picture:  # it came as bytes or pixels, which are gone
        return ""
    if isinstance(picture, PictureError):
        return _refused(picture)
    try:
        content = picture if isinstance(picture, bytes | np.ndarray) else read_file(os.fspath(picture))
        with decoded_bytes.hold():
            image, _size = decode(content, shrink_to=SIDE)
            image.thumbnail((SIDE, SIDE))
    except Exception as error:  # noqa: BLE001 - whatever comes of one picture is that picture's refusal
        return _refused(picture_failure(error))
    scale = SIDE / max(image.size)
    file = io.BytesIO()
    if scale > 1:
        image.save(file, kind := "png")
    else:
        image.save(file, kind := "jpeg", quality=80)
    sides = f'width="{round(image.width * scale)}" height="{round(image.height * scale)}"'
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return f'<img alt="" src="data:image/{kind};base64,{data}" {sides} style="image-rendering:pixelated">'


def _refused(error: PictureError) -> str:
    return f"<small>{escape(str(error))}</small>"
