"""Binary PGM and PPM whose samples end at another number than 255 or 65535, such as those of 12-bit cameras.

Pillow scales them in Python, sample by sample, which takes seconds; this gives the same samples by a table.
"""

import numpy as np
from PIL import Image

from kilat.data.picture_header import PPM_HEADER
from kilat.errors import PictureError

_GREY = b"P5"
_CHUNK = 1 << 20


def open_rescaled(content: bytes) -> Image.Image | None:
    """Return such a picture, in the mode L, I;16 or RGB; None where Pillow decodes the file by itself.

    Raises:
        PictureError: it is cut off.
    """
    header = PPM_HEADER.match(content) if content.startswith((_GREY, b"P6")) else None
    if not header or not header[4] or not content[header.end() : header.end() + 1].isspace():
        return None
    is_grey, width, height, largest = header[0].startswith(_GREY), *map(int, header.group(2, 3, 4))
    is_deep = is_grey and largest > 255
    top = 65_535 if is_deep else 255
    if largest in {0, top} or largest > 65_535:
        return None
    samples = width * height * (1 if is_grey else 3)
    kind = np.dtype("u1" if largest <= 255 else ">u2")
    start = header.end() + 1
    if len(content) - start < samples * kind.itemsize:
        raise PictureError("truncated", f"{len(content) - start:,}/{samples * kind.itemsize:,} bytes")
    values = np.frombuffer(content, kind, samples, start)
    every = np.arange(1 << 8 * kind.itemsize)
    table = np.minimum(np.rint(every / largest * top), top).astype(np.uint16 if is_deep else np.uint8)
    scaled = np.empty(samples, table.dtype)
    for at in range(0, samples, _CHUNK):
        scaled[at : at + _CHUNK] = table[values[at : at + _CHUNK]]
    return Image.fromarray(scaled.reshape(height, width) if is_grey else scaled.reshape(height, width, 3))
