"""Whether a PNG holds all its rows. Pillow takes a stream that ends too soon for whole, and the rest stays black."""

import struct
import zlib
from collections.abc import Iterator

from PIL import Image

_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Adam7, as the specification of PNG has it: the first column and row of a pass, and the steps to the next ones."""

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_AT_A_TIME = 1 << 20


def has_all_rows(content: bytes, image: Image.Image) -> bool:
    """Return whether the rows of a decoded PNG were all in its file.

    The stream is only unpacked once more where one of the last two rows (an interlaced picture ends with its odd rows)
    is black throughout.

    Args:
        content: the file.
        image: the same, as Pillow decoded it, before anything was converted.
    """
    width, height = image.size
    last_rows = [image.crop((0, row, width, row + 1)) for row in range(max(0, height - 2), height)]
    if all(row.getbbox(alpha_only=False) for row in last_rows):
        return True
    return _unpacked_bytes(content, needed := _needed_bytes(content)) >= needed


def _needed_bytes(content: bytes) -> int:
    """Return how many bytes the rows take, each with the byte that names its filter."""
    width, height, depth, colour, _compression, _filter, interlaced = struct.unpack_from(">IIBBBBB", content, 16)
    sizes = [(width, height)]
    if interlaced:
        sizes = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in _PASSES]
    bits = depth * _CHANNELS[colour]
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0)


def _unpacked_bytes(content: bytes, most: int) -> int:
    stream, count = zlib.decompressobj(), 0
    for data in _chunks_of_pixels(content):
        left = data
        while left and count < most and not stream.eof:
            count += len(stream.decompress(left, _AT_A_TIME))
            left = stream.unconsumed_tail
    return count


def _chunks_of_pixels(content: bytes) -> Iterator[bytes]:
    at = 8
    while at + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, at)
        if name == b"IDAT":
            yield content[at + 8 : at + 8 + length]
        at += length + 12
