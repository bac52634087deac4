"""A PNG whose stream of pixels ends too soon is refused; one that is black is a picture."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from kilat.data.decode import decode
from kilat.errors import PictureError

SIDE = 40
BITS = {(0, 1): 1, (0, 8): 8, (0, 16): 16, (2, 8): 24, (3, 4): 4, (4, 8): 16, (6, 16): 64}


def png(colour: int, depth: int, rows: int, tone: int) -> bytes:
    """Return a PNG of SIDE × SIDE pixels whose stream is whole but has so many rows."""
    row = b"\0" + bytes([tone]) * -(-SIDE * BITS[colour, depth] // 8)
    header = struct.pack(">IIBBBBB", SIDE, SIDE, depth, colour, 0, 0, 0)
    palette = [(b"PLTE", bytes(range(256)) * 3)] if colour == 3 else []
    chunks = [(b"IHDR", header), *palette, (b"IDAT", zlib.compress(row * rows)), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(("colour", "depth"), BITS)
@pytest.mark.parametrize("tone", [0, 200])
def test_all_rows_have_to_be_there(colour, depth, tone):
    assert decode(png(colour, depth, SIDE, tone))[0].size == (SIDE, SIDE)
    for rows in (SIDE - 1, 10, 1):
        with pytest.raises(PictureError) as refused:
            decode(png(colour, depth, rows, tone))
        assert refused.value.refusal.code == "truncated"


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (33, 17), (3, 200)])
def test_black_pictures_are_pictures(mode, size):
    file = io.BytesIO()
    Image.new(mode, size).save(file, "PNG")
    assert decode(file.getvalue())[0].size == size


def test_interlaced_ones_are_read_by_their_passes():
    """A picture of one tone, made by hand: the seven passes of Adam7 behind each other."""
    width, height = 13, 9
    starts = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    rows = [b"\0" + bytes(len(range(x, width, dx))) for x, y, dx, dy in starts for _ in range(y, height, dy)]

    def made(stream: bytes) -> bytes:
        header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
        chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(stream)), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks
        )

    assert not np.asarray(decode(made(b"".join(rows)))[0]).any()
    with pytest.raises(PictureError):
        decode(made(b"".join(rows[:-1])))
