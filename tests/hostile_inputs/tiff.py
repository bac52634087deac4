"""TIFF files whose tags claim without measure: tiles, strips, counts, directories, compressions."""

import struct
from collections.abc import Sequence
from functools import partial

from hostile_inputs.case import MIB, Corpus, Sparse
from hostile_inputs.deflated import deflated_zeros
from hostile_inputs.jpeg import flat

TIFF = Corpus()

SHORT, LONG, ASCII, UNDEFINED, LONG8 = 3, 4, 2, 7, 16
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS, ORIENTATION, SAMPLES = 256, 257, 258, 259, 262, 273, 274, 277
ROWS_PER_STRIP, BYTE_COUNTS, PLANAR, PREDICTOR = 278, 279, 284, 317
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTE_COUNTS = 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT = 338, 339

NONE, CCITT_G4, LZW, OLD_JPEG, NEW_JPEG, DEFLATE, PACKBITS = 1, 4, 5, 6, 7, 8, 32773
LZMA, ZSTD, WEBP, LERC = 34925, 50000, 50001, 34887

Tags = dict[int, tuple[int, Sequence[int] | bytes, int] | tuple[int, Sequence[int] | bytes]]
"""Kind, values and, where it is not how many there are, their claimed number, by tag."""

_FORMATS = {SHORT: "H", LONG: "I", LONG8: "Q"}


def tiff(tags: Tags, data: bytes = b"", *, following: int = 0) -> bytes:
    """Return a little-endian TIFF of one directory; data stand behind the header, from byte 8 on."""
    where = 8 + len(data) + len(data) % 2
    behind = where + 2 + 12 * len(tags) + 4
    entries, extra = b"", b""
    for tag, (kind, values, *claimed) in sorted(tags.items()):
        packed = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}{_FORMATS[kind]}", *values)
        if len(packed) > 4:
            place = struct.pack("<I", behind + len(extra))
            extra += packed + bytes(len(packed) % 2)
        else:
            place = packed.ljust(4, b"\0")
        entries += struct.pack("<HHI", tag, kind, claimed[0] if claimed else len(values)) + place
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)
    return b"II*\0" + struct.pack("<I", where) + data + bytes(len(data) % 2) + directory + extra


def strip(
    width: int,
    height: int,
    bits: int = 8,
    samples: int = 1,
    compression: int = DEFLATE,
    photometric: int = 1,
    *,
    data: bytes | None = None,
    more: Tags | None = None,
) -> bytes:
    """Return a picture in one strip; by default of zeros, deflated."""
    if data is None:
        data = deflated_zeros((width * bits * samples + 7) // 8 * height)
    tags: Tags = {
        WIDTH: (LONG, [width]),
        HEIGHT: (LONG, [height]),
        BITS: (SHORT, [bits] * samples),
        COMPRESSION: (SHORT, [compression]),
        PHOTOMETRIC: (SHORT, [photometric]),
        OFFSETS: (LONG, [8]),
        SAMPLES: (SHORT, [samples]),
        ROWS_PER_STRIP: (LONG, [height]),
        BYTE_COUNTS: (LONG, [len(data)]),
    }
    return tiff(tags | (more or {}), data)


def tile(width: int, height: int, tile_width: int, tile_height: int, data: bytes, compression: int = DEFLATE) -> bytes:
    """Return a picture in tiles that are all the same one."""
    count = -(-width // tile_width) * -(-height // tile_height)
    tags: Tags = {
        WIDTH: (LONG, [width]),
        HEIGHT: (LONG, [height]),
        BITS: (SHORT, [8]),
        COMPRESSION: (SHORT, [compression]),
        PHOTOMETRIC: (SHORT, [1]),
        SAMPLES: (SHORT, [1]),
        TILE_WIDTH: (LONG, [tile_width]),
        TILE_LENGTH: (LONG, [tile_height]),
        TILE_OFFSETS: (LONG, [8] * count),
        TILE_BYTE_COUNTS: (LONG, [len(data)] * count),
    }
    return tiff(tags, data)


FLOAT: Tags = {SAMPLE_FORMAT: (SHORT, [3])}
SIGNED: Tags = {SAMPLE_FORMAT: (SHORT, [2])}
SIDE = 13_377

for name, make in {
    "float-square.tif": partial(strip, SIDE, SIDE, 32, more=FLOAT),
    "double-square.tif": partial(strip, SIDE, SIDE, 64, more=FLOAT),
    "half-square.tif": partial(strip, SIDE, SIDE, 16, more=FLOAT),
    "integer-square.tif": partial(strip, SIDE, SIDE, 32),
    "signed-square.tif": partial(strip, SIDE, SIDE, 16, more=SIGNED),
    "signed-32-square.tif": partial(strip, SIDE, SIDE, 32, more=SIGNED),
    "grey-16-square.tif": partial(strip, SIDE, SIDE, 16),
    "grey-square.tif": partial(strip, SIDE, SIDE),
    "rgb-square.tif": partial(strip, SIDE, SIDE, 8, 3, DEFLATE, 2),
    "rgb-16-square.tif": partial(strip, SIDE, SIDE, 16, 3, DEFLATE, 2),
    "cmyk-square.tif": partial(strip, SIDE, SIDE, 8, 4, DEFLATE, 5),
    "cmyk-16-square.tif": partial(strip, SIDE, SIDE, 16, 4, DEFLATE, 5),
    "lab-square.tif": partial(strip, SIDE, SIDE, 8, 3, DEFLATE, 8),
    "ycbcr-square.tif": partial(strip, SIDE, SIDE, 8, 3, DEFLATE, 6),
    "rgba-square.tif": partial(strip, SIDE, SIDE, 8, 4, DEFLATE, 2, more={EXTRA_SAMPLES: (SHORT, [2])}),
    "planes-square.tif": partial(strip, SIDE, SIDE, 8, 3, DEFLATE, 2, more={PLANAR: (SHORT, [2])}),
    "turned-square.tif": partial(strip, SIDE, SIDE, 8, 3, DEFLATE, 2, more={ORIENTATION: (SHORT, [6])}),
    "turned-float-square.tif": partial(strip, SIDE, SIDE, 32, more=FLOAT | {ORIENTATION: (SHORT, [6])}),
    "predicted-square.tif": partial(strip, SIDE, SIDE, 32, more=FLOAT | {PREDICTOR: (SHORT, [3])}),
    "row.tif": partial(strip, 170_000_000, 1),
    "column.tif": partial(strip, 1, 170_000_000),
    "bit-square.tif": partial(strip, SIDE, SIDE, 1),
    "fax-square.tif": partial(strip, SIDE, SIDE, 1, 1, CCITT_G4, 0, data=b"\xff" * (SIDE // 8 + 8)),
    "fax-of-nothing.tif": partial(strip, SIDE, SIDE, 1, 1, CCITT_G4, 0, data=bytes(16)),
    "lzw-of-nothing.tif": partial(strip, SIDE, SIDE, 8, 1, LZW, data=b"\x80" + bytes(50)),
    "packbits-square.tif": partial(strip, SIDE, SIDE, 8, 1, PACKBITS, data=b"\x81\0" * (SIDE * SIDE // 128 + SIDE)),
    "jpeg-in-a-strip.tif": partial(strip, 64, 64, 8, 1, NEW_JPEG, data=flat(65_500, 65_500, data=False)),
    "large-jpeg-in-a-strip.tif": partial(strip, SIDE, SIDE, 8, 3, NEW_JPEG, 6, data=flat(SIDE, SIDE, 3, data=False)),
    "old-jpeg.tif": partial(strip, 64, 64, 8, 3, OLD_JPEG, 6, data=flat(64, 64, 3)),
    "zstd-of-nothing.tif": partial(strip, SIDE, SIDE, 8, 1, ZSTD, data=b"\x28\xb5\x2f\xfd\xa0\0\0\0\x0a" + bytes(20)),
    "lzma-of-nothing.tif": partial(strip, 64, 64, 8, 1, LZMA, data=b"\xfd7zXZ\0\0\x04" + bytes(30)),
    "webp-of-nothing.tif": partial(strip, 64, 64, 8, 3, WEBP, 2, data=b"RIFF\x1a\0\0\0WEBPVP8L" + bytes(30)),
    "lerc-of-nothing.tif": partial(strip, 64, 64, 8, 1, LERC, data=b"Lerc2 \4\0\0\0" + bytes(60)),
    "unknown-compression.tif": partial(strip, 64, 64, 8, 1, 31_337, data=bytes(4_096)),
    "strip-unpacks-to-2-gib.tif": partial(strip, 64, 64, data=deflated_zeros(2_048 * MIB)),
    "one-tile-of-2-gib.tif": partial(tile, 64, 64, 65_520, 32_752, bytes(20)),
    "one-tile-of-2-gib-raw.tif": partial(tile, 64, 64, 65_520, 32_752, bytes(20), NONE),
    "one-tile-of-2-gib-lzw.tif": partial(tile, 64, 64, 65_520, 32_752, bytes(20), LZW),
    "one-tile-of-1-gib-jpeg.tif": partial(tile, 64, 64, 32_752, 32_752, flat(32_752, 32_752, data=False), NEW_JPEG),
    "widest-tile.tif": partial(tile, 64, 64, 0x7FFFFFF0, 0x7FFFFFF0, bytes(20)),
    "row-of-tiles.tif": partial(tile, 64, 64, 16, 0x7FFFFFF0, bytes(20)),
    "660-thousand-tiles.tif": partial(tile, 13_000, 13_000, 16, 16, deflated_zeros(256)),
    "660-thousand-raw-tiles.tif": partial(tile, 13_000, 13_000, 16, 16, bytes(256), NONE),
    "no-tile.tif": partial(tile, 64, 64, 1 << 20, 1 << 20, b"", NONE),
}.items():
    TIFF.add(name)(make)


def one_row_strips(rows: int, compression: int) -> Sparse:
    """Return a picture of a pixel's width in strips of one row: as many offsets and sizes as rows, all zero."""
    arrays = 8 + 2 + 12 * 9 + 4
    entries = [
        (WIDTH, LONG, 1, 1),
        (HEIGHT, LONG, 1, rows),
        (BITS, SHORT, 1, 8),
        (COMPRESSION, SHORT, 1, compression),
        (PHOTOMETRIC, SHORT, 1, 1),
        (OFFSETS, LONG, rows, arrays),
        (SAMPLES, SHORT, 1, 1),
        (ROWS_PER_STRIP, LONG, 1, 1),
        (BYTE_COUNTS, LONG, rows, arrays + 4 * rows),
    ]
    directory = struct.pack("<H", 9) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return Sparse(b"II*\0" + struct.pack("<I", 8) + directory, arrays + 8 * rows)


TIFF.add("million-strips.tif")(partial(one_row_strips, 1_000_000, NONE))
TIFF.add("million-deflated-strips.tif")(partial(one_row_strips, 1_000_000, DEFLATE))
TIFF.add("30-million-strips.tif")(partial(one_row_strips, 30_000_000, NONE))


def claims(**numbers: int) -> bytes:
    """Return a small good picture with one tag that claims another number of values."""
    return tiff(
        {
            WIDTH: (LONG, [8]),
            HEIGHT: (LONG, [8]),
            BITS: (SHORT, [8], numbers.get("bits", 1)),
            COMPRESSION: (SHORT, [NONE]),
            PHOTOMETRIC: (SHORT, [1]),
            OFFSETS: (LONG, [numbers.get("offset", 8)], numbers.get("offsets", 1)),
            SAMPLES: (SHORT, [numbers.get("samples", 1)]),
            ROWS_PER_STRIP: (LONG, [numbers.get("rows", 8)]),
            BYTE_COUNTS: (LONG, [numbers.get("bytes", 64)], numbers.get("sizes", 1)),
            34675: (UNDEFINED, b"abcd", numbers.get("profile", 4)),
            700: (UNDEFINED, b"abcd", numbers.get("xmp", 4)),
            34665: (LONG, [numbers.get("exif", 0)]),
        },
        bytes(64),
    )


for name, numbers in {
    "four-billion-bits.tif": {"bits": 0xFFFFFFFF},
    "four-billion-offsets.tif": {"offsets": 0xFFFFFFFF},
    "four-billion-sizes.tif": {"sizes": 0xFFFFFFFF},
    "strip-of-4-gib.tif": {"bytes": 0xFFFFFFFF},
    "strip-beyond-the-end.tif": {"offset": 0xFFFFFFF0},
    "samples-65535.tif": {"samples": 65_535},
    "no-rows-in-a-strip.tif": {"rows": 0},
    "profile-of-4-gib.tif": {"profile": 0xFFFFFFFF},
    "xmp-of-4-gib.tif": {"xmp": 0xFFFFFFFF},
    "exif-is-its-own-directory.tif": {"exif": 72},
}.items():
    TIFF.add(name, quick=True)(partial(claims, **numbers))


@TIFF.add("directory-of-itself.tif", quick=True)
def _loop() -> bytes:
    content = claims()
    return tiff({WIDTH: (LONG, [8])}, content[8:72], following=72)


@TIFF.add("65535-entries.tif", quick=True)
def _entries() -> bytes:
    entry = struct.pack("<HHII", 270, ASCII, 60_000, 8)
    return b"II*\0\x08\0\0\0\xff\xff" + entry * 65_535 + bytes(4)


@TIFF.add("million-directories.tif")
def _directories() -> bytes:
    """Every directory is empty and points to the next one, as pages that are never counted."""
    one, count = bytearray(strip(8, 8)), 1_000_000
    (where,) = struct.unpack_from("<I", one, 4)
    (entries,) = struct.unpack_from("<H", one, where)
    struct.pack_into("<I", one, where + 2 + 12 * entries, len(one))
    chain = b"".join(struct.pack("<HI", 0, len(one) + 6 * number) for number in range(1, count))
    return bytes(one) + chain + bytes(6)


@TIFF.add("big-tiff-of-2-to-the-60.tif", quick=True)
def _big() -> bytes:
    entries = [(256, LONG8, 1, 8), (257, LONG8, 1, 8), (273, LONG8, 1 << 60, 16), (279, LONG8, 1 << 60, 16)]
    directory = struct.pack("<Q", len(entries)) + b"".join(struct.pack("<HHQQ", *entry) for entry in entries)
    return b"II+\0\x08\0\0\0" + struct.pack("<Q", 16) + directory + bytes(8)


@TIFF.add("big-tiff-of-endless-entries.tif", quick=True)
def _big_entries() -> bytes:
    return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 0xFFFFFFFFFFFFFFFF) + bytes(1_000)


@TIFF.add("sub-directories.tif", quick=True)
def _sub_directories() -> bytes:
    return tiff({WIDTH: (LONG, [8]), HEIGHT: (LONG, [8]), 330: (LONG, [8] * 60_000)}, bytes(64))


@TIFF.add("sparse-raw-200-mib.tif", may="used")
def _sparse() -> Sparse:
    """An honest large picture without compression."""
    content = strip(14_000, 12_000, compression=NONE, data=b"")
    size = 14_000 * 12_000
    entry = partial(struct.pack, "<HHII", BYTE_COUNTS, LONG, 1)
    return Sparse(content.replace(entry(0), entry(size)), size + 8)
