"""PNG files that claim, unpack or repeat without measure."""

import struct
import zlib
from collections.abc import Sequence
from functools import partial

from hostile_inputs.case import MIB, Corpus, Sparse
from hostile_inputs.deflated import deflated_zeros

PNG = Corpus()

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = CHANNELS

BIGGEST = 13_377
"""The side of the largest square that passes Pillow's own limit of 178,956,970 pixels."""


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header(width: int, height: int, depth: int, colour: int, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def zeros(width: int, height: int, depth: int, colour: int, *before: bytes, interlace: int = 0) -> bytes:
    """Return a picture of zeros: it takes a thousandth of what it unpacks to."""
    per_row = (width * depth * CHANNELS[colour] + 7) // 8 + 1
    count = per_row * height * (2 if interlace else 1)
    data = chunk(b"IDAT", deflated_zeros(count))
    return SIGNATURE + header(width, height, depth, colour, interlace) + b"".join(before) + data + chunk(b"IEND", b"")


def small(*before: bytes, after: Sequence[bytes] = ()) -> bytes:
    """Return a good picture of 8 × 8 pixels with chunks before and after its own."""
    data = chunk(b"IDAT", zlib.compress(bytes(25) * 8))
    return SIGNATURE + header(8, 8, 8, RGB) + b"".join(before) + data + b"".join(after) + chunk(b"IEND", b"")


PLTE = chunk(b"PLTE", bytes(768))

for name, shape in {
    "one-bit-row.png": (178_000_000, 1, 1, GREY),
    "one-bit-column.png": (1, 178_000_000, 1, GREY),
    "one-bit-square.png": (BIGGEST, BIGGEST, 1, GREY),
    "grey-8-square.png": (BIGGEST, BIGGEST, 8, GREY),
    "grey-16-square.png": (BIGGEST, BIGGEST, 16, GREY),
    "grey-16-row.png": (170_000_000, 1, 16, GREY),
    "grey-alpha-square.png": (BIGGEST, BIGGEST, 8, GREY_ALPHA),
    "grey-alpha-16-square.png": (BIGGEST, BIGGEST, 16, GREY_ALPHA),
    "rgb-square.png": (BIGGEST, BIGGEST, 8, RGB),
    "rgb-16-square.png": (BIGGEST, BIGGEST, 16, RGB),
    "rgba-square.png": (BIGGEST, BIGGEST, 8, RGBA),
    "rgba-16-square.png": (BIGGEST, BIGGEST, 16, RGBA),
    "rgb-half-row.png": (89_470_000, 1, 8, RGB),
}.items():
    PNG.add(name)(partial(zeros, *shape))


@PNG.add("palette-square.png")
def _palette() -> bytes:
    return zeros(BIGGEST, BIGGEST, 8, PALETTE, PLTE)


@PNG.add("palette-transparent-square.png")
def _palette_transparent() -> bytes:
    return zeros(BIGGEST, BIGGEST, 8, PALETTE, PLTE, chunk(b"tRNS", bytes(256)))


@PNG.add("one-bit-transparent-square.png")
def _one_bit_transparent() -> bytes:
    return zeros(BIGGEST, BIGGEST, 1, GREY, chunk(b"tRNS", b"\0\1"))


@PNG.add("rgb-transparent-square.png")
def _rgb_transparent() -> bytes:
    return zeros(BIGGEST, BIGGEST, 8, RGB, chunk(b"tRNS", bytes(6)))


@PNG.add("interlaced-square.png")
def _interlaced() -> bytes:
    return zeros(9_400, 9_400, 8, RGBA, interlace=1)


@PNG.add("turned-square.png")
def _turned() -> bytes:
    """Turned by its EXIF: a second copy of all pixels."""
    exif = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)
    return zeros(BIGGEST, BIGGEST, 8, RGB, chunk(b"eXIf", exif))


@PNG.add("claims-more-than-it-has.png", may="refused", quick=True)
def _claims() -> bytes:
    data = chunk(b"IDAT", zlib.compress(bytes(100)))
    return SIGNATURE + header(BIGGEST, BIGGEST, 8, RGB) + data + chunk(b"IEND", b"")


@PNG.add("no-width.png", may="refused", quick=True)
def _no_width() -> bytes:
    return SIGNATURE + header(0, 8, 8, RGB) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@PNG.add("widest.png", may="refused", quick=True)
def _widest() -> bytes:
    return SIGNATURE + header((1 << 31) - 1, (1 << 31) - 1, 16, RGBA) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@PNG.add("depth-of-three.png", may="refused", quick=True)
def _depth() -> bytes:
    return SIGNATURE + header(8, 8, 3, RGB) + chunk(b"IDAT", zlib.compress(bytes(300))) + chunk(b"IEND", b"")


@PNG.add("palette-without-palette.png", quick=True)
def _no_palette() -> bytes:
    return SIGNATURE + header(8, 8, 8, PALETTE) + chunk(b"IDAT", zlib.compress(bytes(72))) + chunk(b"IEND", b"")


@PNG.add("pixels-beyond-the-picture.png")
def _beyond() -> bytes:
    """A small picture whose data unpack to two gigabytes."""
    data = chunk(b"IDAT", deflated_zeros(2048 * MIB))
    return SIGNATURE + header(8, 8, 8, RGB) + data + chunk(b"IEND", b"")


@PNG.add("million-empty-data-chunks.png")
def _empty_chunks() -> bytes:
    empty = chunk(b"IDAT", b"") * 1_000_000
    return SIGNATURE + header(8, 8, 8, RGB) + empty + chunk(b"IDAT", zlib.compress(bytes(200))) + chunk(b"IEND", b"")


@PNG.add("data-in-chunks-of-a-byte.png")
def _byte_chunks() -> bytes:
    data = zlib.compress(bytes(3_001 * 1_000), 0)
    parts = b"".join(chunk(b"IDAT", data[at : at + 1]) for at in range(300_000))
    return SIGNATURE + header(1_000, 1_000, 8, RGB) + parts + chunk(b"IDAT", data[300_000:]) + chunk(b"IEND", b"")


@PNG.add("million-unknown-chunks.png")
def _unknown_chunks() -> bytes:
    return small(chunk(b"abCd", b"") * 1_000_000)


@PNG.add("chunk-of-four-gigabytes.png", may="refused", quick=True)
def _huge_chunk() -> bytes:
    return SIGNATURE + header(8, 8, 8, RGB) + struct.pack(">I", 0xFFFFFFFF) + b"IDAT" + bytes(50)


@PNG.add("profile-of-a-gigabyte.png", quick=True)
def _profile() -> bytes:
    return small(chunk(b"iCCP", b"a\0\0" + deflated_zeros(1024 * MIB)))


@PNG.add("text-of-a-gigabyte.png", quick=True)
def _text() -> bytes:
    return small(chunk(b"zTXt", b"a\0\0" + deflated_zeros(1024 * MIB)))


@PNG.add("texts-of-a-mebibyte.png", quick=True)
def _texts() -> bytes:
    return small(chunk(b"zTXt", b"a\0\0" + deflated_zeros(MIB - 1)) * 2_000)


@PNG.add("international-texts.png", quick=True)
def _international() -> bytes:
    return small(after=[chunk(b"iTXt", b"a\0\1\0\0\0" + deflated_zeros(MIB - 1))] * 2_000)


@PNG.add("exif-of-itself.png", quick=True)
def _exif_loop() -> bytes:
    """Its EXIF directory points to itself, as a directory of EXIF, of GPS and of interoperability."""
    entries = b"".join(struct.pack(">HHII", tag, 4, 1, 8) for tag in (0x8769, 0x8825, 0xA005))
    return small(chunk(b"eXIf", b"MM\0*\0\0\0\x08" + struct.pack(">H", 3) + entries + struct.pack(">I", 8)))


@PNG.add("exif-of-four-gigabytes.png", quick=True)
def _exif_huge() -> bytes:
    entries = b"".join(struct.pack(">HHII", tag, 2, 0xFFFFFFFF, 8) for tag in range(0x0100, 0x0200))
    return small(chunk(b"eXIf", b"MM\0*\0\0\0\x08" + struct.pack(">H", 256) + entries + bytes(4)))


@PNG.add("orientation-of-text.png", quick=True)
def _orientation_text() -> bytes:
    return small(chunk(b"eXIf", b"MM\0*\0\0\0\x08" + struct.pack(">HHHI4s", 1, 0x0112, 2, 4, b"six\0") + bytes(4)))


@PNG.add("orientation-99.png", quick=True)
def _orientation_99() -> bytes:
    return small(chunk(b"eXIf", b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, 99, 0, 0)))


@PNG.add("animation-of-four-billion.png", quick=True)
def _animation() -> bytes:
    return small(chunk(b"acTL", struct.pack(">II", 0xFFFFFFFF, 0)))


@PNG.add("animation-of-a-huge-frame.png")
def _animation_frame() -> bytes:
    control = chunk(b"acTL", struct.pack(">II", 2, 0))
    frame = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 12_000, 12_000, 0, 0, 1, 1, 2, 1))
    return zeros(12_000, 12_000, 8, RGBA, control, frame)


@PNG.add("noise-of-11-megapixels.png", may="used")
def _noise() -> bytes:
    """An honest picture of stored blocks, as large as a photograph."""
    rows = (b"\0" + bytes((7 * x + 13 * y) & 255 for x in range(192)) * 64 for y in range(32))
    packer = zlib.compressobj(1)
    block = b"".join(rows)
    data = b"".join(packer.compress(block) for _ in range(84)) + packer.flush()
    return SIGNATURE + header(4_096, 2_688, 8, RGB) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@PNG.add("sparse-256-mib.png", may="refused")
def _sparse() -> Sparse:
    return Sparse(SIGNATURE + header(8, 8, 8, RGB), 256 * MIB)


@PNG.add("sparse-257-mib.png", may="refused", quick=True)
def _too_large() -> Sparse:
    return Sparse(SIGNATURE + header(8, 8, 8, RGB), 257 * MIB)
