"""GIF, BMP and PNM files that claim or repeat without measure."""

import struct
from functools import partial

from hostile_inputs.case import MIB, Corpus, Sparse

GIF = Corpus()
BMP = Corpus()
PNM = Corpus()

SIDE = 13_377


def gif(width: int, height: int, *blocks: bytes) -> bytes:
    return (
        b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + b"".join(blocks) + b";"
    )


def lzw_zeros(count: int) -> bytes:
    """Return LZW codes for so many pixels of colour 0: every code stands for one pixel more than the one before."""
    clear, end, first = 4, 5, 6
    bits: list[str] = []
    left = count
    while left > 0:
        width, known, run = 3, first, 1
        bits.append(f"{clear:0{width}b}"[::-1])
        while left > 0 and known < 4_096:
            code = 0 if run == 1 else first + run - 2
            bits.append(f"{code:0{width}b}"[::-1])
            left -= run
            if run > 1:
                known += 1
                if known == 1 << width and width < 12:
                    width += 1
            run += 1
    bits.append(f"{end:0{width}b}"[::-1])
    stream = "".join(bits)
    stream += "0" * (-len(stream) % 8)
    return int(stream[::-1], 2).to_bytes(len(stream) // 8, "little")


def sub_blocks(data: bytes) -> bytes:
    return (
        b"".join(bytes((len(part),)) + part for part in (data[at : at + 255] for at in range(0, len(data), 255)))
        + b"\0"
    )


def image(width: int, height: int, data: bytes | None = None, left: int = 0) -> bytes:
    data = lzw_zeros(width * height) if data is None else data
    return b"," + struct.pack("<HHHHB", left, 0, width, height, 0) + b"\2" + sub_blocks(data)


for name, make in {
    "frame-of-178-megapixels.gif": lambda: gif(SIDE, SIDE, image(SIDE, SIDE)),
    "screen-of-178-megapixels.gif": lambda: gif(SIDE, SIDE, image(4, 4)),
    "screen-of-65535.gif": lambda: gif(65_535, 65_535, image(4, 4)),
    "frame-outside.gif": lambda: gif(4, 4, image(4, 4, left=65_000)),
    "frame-larger-than-its-screen.gif": lambda: gif(4, 4, image(SIDE, SIDE)),
    "transparent-178-megapixels.gif": lambda: gif(SIDE, SIDE, b"!\xf9\4\1\0\0\0\0", image(4, 4)),
    "no-codes.gif": lambda: gif(SIDE, SIDE, image(SIDE, SIDE, b"")),
    "no-frame.gif": lambda: gif(SIDE, SIDE),
    "million-extensions.gif": lambda: gif(4, 4, b"!\xf9\4\0\0\0\0\0" * 1_000_000, image(4, 4)),
    "million-frames.gif": lambda: gif(4, 4, image(4, 4) * 1_000_000),
    "comment-of-ten-million-blocks.gif": partial(
        lambda: gif(4, 4, b"!\xfe" + b"\1a" * 10_000_000 + b"\0", image(4, 4))
    ),
    "million-comments.gif": lambda: gif(4, 4, b"!\xfe\1a\0" * 1_000_000, image(4, 4)),
    "empty-blocks.gif": lambda: gif(4, 4, b"\0" * 10_000_000, image(4, 4)),
    "only-clear-codes.gif": lambda: gif(4_000, 4_000, image(4_000, 4_000, b"\x24\x49\x92" * 3_000_000)),
    "code-size-of-255.gif": lambda: gif(4, 4, b"," + struct.pack("<HHHHB", 0, 0, 4, 4, 0) + b"\xff\1\0\0"),
}.items():
    GIF.add(name)(make)


def bmp(width: int, height: int, bits: int, compression: int, data: bytes, colours: int = 0, header: int = 40) -> bytes:
    start = 14 + 40 + 4 * (256 if bits <= 8 else 0)
    info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, len(data), 0, 0, colours, 0)
    palette = bytes(1024) if bits <= 8 else b""
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + info + palette + data


for name, make in {
    "runs-of-178-megapixels.bmp": partial(bmp, SIDE, SIDE, 8, 1, b"\0\1"),
    "runs-of-255.bmp": partial(bmp, SIDE, SIDE, 8, 1, b"\xff\0" * 701_800 + b"\0\1"),
    "runs-of-one.bmp": partial(bmp, SIDE, SIDE, 8, 1, b"\1\0" * 20_000_000),
    "runs-of-none.bmp": partial(bmp, 64, 64, 8, 1, b"\0\0" * 20_000_000),
    "moves.bmp": partial(bmp, SIDE, SIDE, 8, 1, b"\0\2\xff\xff" * 100_000),
    "moves-of-nothing.bmp": partial(bmp, SIDE, SIDE, 8, 1, b"\0\2\0\0" * 20_000_000),
    "runs-of-4-bits.bmp": partial(bmp, SIDE, SIDE, 4, 2, b"\2\0" * 10_000_000),
    "four-billion-colours.bmp": partial(bmp, 64, 64, 8, 0, bytes(4_096), 0xFFFFFFFF),
    "unlikely-header.bmp": partial(bmp, 64, 64, 24, 0, bytes(12_288), 0, 0x7FFFFFFF),
    "upside-down.bmp": partial(bmp, 64, -SIDE, 24, 0, bytes(12_288)),
    "negative-width.bmp": partial(bmp, -64, 64, 24, 0, bytes(12_288)),
    "claims-2-to-the-31.bmp": partial(bmp, 0x7FFFFFFF, 0x7FFFFFFF, 32, 0, bytes(64)),
    "jpeg-inside.bmp": partial(bmp, 64, 64, 24, 4, bytes(64)),
    "bits-of-17.bmp": partial(bmp, 64, 64, 17, 0, bytes(64)),
}.items():
    BMP.add(name)(make)


@BMP.add("raw-of-250-mib.bmp", may="used")
def _raw() -> Sparse:
    """An honest large picture without compression."""
    return Sparse(bmp(9_300, 9_300, 24, 0, b""), 54 + 9_300 * 27_900)


@BMP.add("one-bit-of-178-megapixels.bmp")
def _one_bit() -> Sparse:
    return Sparse(bmp(SIDE, SIDE, 1, 0, b""), 54 + 1_024 + SIDE * 1_676)


@BMP.add("raw-of-32-bits.bmp")
def _raw_alpha() -> Sparse:
    return Sparse(bmp(8_000, 8_000, 32, 0, b""), 54 + 4 * 64_000_000)


for name, head, size in (
    ("bits-of-178-megapixels.pbm", b"P4 13376 13376\n", 13_376 * 1_672),
    ("bits-in-a-row.pbm", b"P4 170000000 1\n", 21_250_000),
    ("grey-of-178-megapixels.pgm", b"P5 13377 13377 255\n", SIDE * SIDE),
    ("grey-of-16-bits.pgm", b"P5 11000 11000 65535\n", 2 * 121_000_000),
    ("grey-of-9-bits.pgm", b"P5 11000 11000 511\n", 2 * 121_000_000),
    ("grey-of-7-levels.pgm", b"P5 13377 13377 7\n", SIDE * SIDE),
    ("colours-of-89-megapixels.ppm", b"P6 9400 9400 255\n", 3 * 88_360_000),
    ("colours-of-7-levels.ppm", b"P6 9400 9400 7\n", 3 * 88_360_000),
    ("float.pnm", b"Pf 8000 8000 -1.0\n", 4 * 64_000_000),
):
    PNM.add(name)(partial(lambda head, size: Sparse(head, len(head) + size), head, size))

for name, content in {
    "comment-of-50-mib.ppm": lambda: b"P6 #" + bytes(b"x" * (50 * MIB)) + b"\n4 4 255\n" + bytes(48),
    "million-comments.ppm": lambda: b"P6 " + b"#\n" * 5_000_000 + b"4 4 255\n" + bytes(48),
    "blanks.ppm": lambda: b"P6" + b" " * (50 * MIB) + b"4 4 255\n" + bytes(48),
    "digits.ppm": lambda: b"P6 " + b"0" * (50 * MIB) + b"4 4 255\n" + bytes(48),
    "plain-blanks.ppm": lambda: b"P3 4000 4000 255\n" + b" " * (100 * MIB),
    "plain-comments.pgm": lambda: b"P2 4000 4000 255\n" + b"#a\n" * 10_000_000,
    "plain-digits.pgm": lambda: b"P2 4000 4000 255\n" + b"0" * (20 * MIB),
    "plain-of-16-megapixels.ppm": lambda: b"P3 2300 2300 255\n" + b"0 0 0\n" * 5_290_000,
    "plain-bits.pbm": lambda: b"P1 10000 10000\n" + b"1" * 100_000_000,
    "plain-claims.pbm": lambda: b"P1 13377 13377\n1 0 1",
    "plain-grey-claims.pgm": lambda: b"P2 13377 13377 65535\n1 0 1",
    "plain-float.pnm": lambda: b"Pf 4 4 nan\n" + bytes(64),
    "scale-of-nothing.pnm": lambda: b"Pf 4 4 0\n" + bytes(64),
    "largest-value.ppm": lambda: b"P6 4 4 99999999\n" + bytes(96),
    "negative.ppm": lambda: b"P6 -4 4 255\n" + bytes(96),
    "other-digits.ppm": lambda: "P6 ٤ ٤ 255\n".encode() + bytes(48),
    "underscores.ppm": lambda: b"P6 1_3377 1_3377 255\n" + bytes(48),
}.items():
    PNM.add(name)(content)
