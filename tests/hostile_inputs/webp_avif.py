"""WebP and AVIF files whose canvases, frames and tiles claim without measure."""

import io
import struct
from functools import cache, partial

from PIL import Image, features

from hostile_inputs.case import MIB, Corpus, Sparse

WEBP = Corpus()
AVIF = Corpus()

LARGEST = 16_383
"""The largest side of a frame of WebP; a canvas may have 2²⁴."""


def riff(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def webp(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def lossless(width: int, height: int) -> bytes:
    """Return a frame of one colour: its five Huffman codes have one symbol each, so that pixels take no bits."""
    bits = (width - 1) | ((height - 1) << 14)  # no alpha, version 0
    count = 32 + 3  # no transform, no colour cache, no groups of codes
    for _ in range(5):
        bits |= 1 << count  # a simple code, of one symbol of one bit: 0
        count += 4
    return riff(b"VP8L", b"\x2f" + bits.to_bytes(count // 8 + 1, "little") + bytes(8))


def _size(side: int) -> bytes:
    return (side - 1).to_bytes(3, "little")


def canvas(width: int, height: int, flags: int) -> bytes:
    return riff(b"VP8X", bytes((flags, 0, 0, 0)) + _size(width) + _size(height))


def frame(width: int, height: int) -> bytes:
    return riff(b"ANMF", bytes(6) + _size(width) + _size(height) + b"\x64\0\0\0" + lossless(width, height))


ANIMATED, WITH_EXIF, WITH_ALPHA, WITH_PROFILE = 0x02, 0x08, 0x10, 0x20
ANIMATION = riff(b"ANIM", bytes(6))


def animated(width: int, height: int, *frames: bytes) -> bytes:
    return webp(canvas(width, height, ANIMATED), ANIMATION, *frames)


for name, make in {
    "lossless-square.webp": lambda: webp(lossless(13_377, 13_377)),
    "lossless-largest.webp": lambda: webp(lossless(LARGEST, LARGEST)),
    "lossless-row.webp": lambda: webp(lossless(LARGEST, 10)),
    "animated-largest.webp": lambda: animated(LARGEST, 10_900, frame(16, 16)),
    "animated-square.webp": lambda: animated(13_377, 13_377, frame(13_377, 13_377)),
    "animated-canvas-of-2-to-the-24.webp": lambda: animated(1 << 24, 1 << 24, frame(16, 16)),
    "animated-row.webp": lambda: animated(1 << 24, 10, frame(16, 10)),
    "animated-thousand-large-frames.webp": lambda: animated(8_000, 8_000, frame(8_000, 8_000) * 1_000),
    "animated-million-frames.webp": lambda: animated(16, 16, frame(16, 16) * 1_000_000),
    "frame-larger-than-its-canvas.webp": lambda: animated(16, 16, frame(13_000, 13_000)),
    "canvas-larger-than-its-picture.webp": lambda: webp(canvas(13_377, 13_377, 0), lossless(16, 16)),
    "no-frame.webp": lambda: animated(13_377, 13_377),
    "million-unknown-chunks.webp": lambda: webp(lossless(16, 16), riff(b"abcd", b"") * 1_000_000),
    "million-chunks-first.webp": partial(
        lambda: webp(canvas(16, 16, 0), riff(b"abcd", b"") * 1_000_000, lossless(16, 16))
    ),
    "chunk-of-4-gib.webp": lambda: webp(b"VP8L" + struct.pack("<I", 0xFFFFFFFE) + bytes(20)),
    "exif-of-itself.webp": partial(
        lambda: webp(
            canvas(16, 16, WITH_EXIF),
            lossless(16, 16),
            riff(b"EXIF", b"MM\0*\0\0\0\x08" + struct.pack(">HHHIII", 1, 0x8769, 4, 1, 8, 8)),
        )
    ),
    "cut.webp": lambda: webp(lossless(LARGEST, 10_000))[:24],
}.items():
    WEBP.add(name)(make)


@WEBP.add("profile-of-100-mib.webp")
def _profile() -> bytes:
    return webp(canvas(16, 16, WITH_PROFILE), riff(b"ICCP", bytes(100 * MIB)), lossless(16, 16))


@WEBP.add("sparse-250-mib.webp")
def _sparse() -> Sparse:
    content = webp(lossless(16, 16))
    return Sparse(content[:4] + struct.pack("<I", 250 * MIB - 8) + content[8:], 250 * MIB)


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I", len(body) + 8) + kind + body


def full_box(kind: bytes, version: int, *content: bytes, flags: int = 0) -> bytes:
    return box(kind, bytes((version,)) + flags.to_bytes(3, "big"), *content)


@cache
def coded_tile(side: int) -> tuple[bytes, bytes]:
    """Return the AV1 data of a grey square, and its configuration (the content of ``av1C``)."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), (90, 90, 90)).save(file, "AVIF", speed=10, max_threads=1)
    content = file.getvalue()
    at = content.index(b"av1C")
    configuration = content[at + 4 : at - 4 + struct.unpack_from(">I", content, at - 4)[0]]
    at = content.index(b"mdat")
    return content[at + 4 : at - 4 + struct.unpack_from(">I", content, at - 4)[0]], configuration


def grid(side: int, rows: int, columns: int, width: int, height: int) -> bytes:
    """Return a picture put together of tiles that are all the same bytes."""
    tile, configuration = coded_tile(side)
    count = rows * columns
    description = struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, width, height)  # of four bytes a side
    ids = range(2, count + 2)
    infos = b"".join(full_box(b"infe", 2, struct.pack(">HH", id_, 0), b"av01\0") for id_ in ids)
    infos = full_box(b"infe", 2, struct.pack(">HH", 1, 0), b"grid\0") + infos
    references = full_box(b"iref", 0, box(b"dimg", struct.pack(f">HH{count}H", 1, count, *ids)))
    properties = box(
        b"ipco",
        full_box(b"ispe", 0, struct.pack(">II", width, height)),
        full_box(b"ispe", 0, struct.pack(">II", side, side)),
        full_box(b"pixi", 0, b"\3\x08\x08\x08"),
        box(b"av1C", configuration),
    )
    of_grid = struct.pack(">HB", 1, 2) + b"\1\3"
    of_tiles = b"".join(struct.pack(">HB", id_, 3) + b"\2\3\x84" for id_ in ids)
    association = full_box(b"ipma", 0, struct.pack(">I", count + 1), of_grid, of_tiles)

    def meta(data: int) -> bytes:
        entries = struct.pack(">HHHHII", 1, 0, 0, 1, data, len(description))
        entries += b"".join(struct.pack(">HHHHII", id_, 0, 0, 1, data + len(description), len(tile)) for id_ in ids)
        return full_box(
            b"meta",
            0,
            full_box(b"hdlr", 0, bytes(4), b"pict", bytes(12), b"\0"),
            full_box(b"pitm", 0, struct.pack(">H", 1)),
            full_box(b"iloc", 1, b"\x44\0", struct.pack(">H", count + 1), entries),
            full_box(b"iinf", 0, struct.pack(">H", count + 1), infos),
            references,
            box(b"iprp", properties, association),
        )

    start = box(b"ftyp", b"avif", bytes(4), b"avifmif1miaf")
    return start + meta(len(start) + len(meta(0)) + 8) + box(b"mdat", description, tile)


def of_one_colour(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (90, 90, 90)).save(file, "AVIF", speed=10, max_threads=1)
    return file.getvalue()


def patched(old: bytes, new: bytes, side: int = 64) -> bytes:
    """Return a good picture in which some bytes are others."""
    content = of_one_colour(side, side)
    assert old in content
    return content.replace(old, new)


ISPE = b"ispe" + bytes(4) + struct.pack(">II", 64, 64)

if features.check("avif"):
    for name, make in {
        "grid-of-178-megapixels.avif": partial(grid, 1_024, 10, 13, 13 * 1_024, 10 * 1_024),
        "grid-of-largest.avif": partial(grid, 1_024, 16, 16, 16_384, 16_384),
        "grid-of-65536.avif": partial(grid, 64, 64, 64, 1_048_576, 1_048_576),
        "grid-of-4096-tiles.avif": partial(grid, 64, 64, 64, 4_096, 4_096),
        "claims-32768.avif": partial(patched, ISPE, ISPE[:8] + struct.pack(">II", 32_768, 32_768)),
        "claims-13377.avif": partial(patched, ISPE, ISPE[:8] + struct.pack(">II", 13_377, 13_377)),
        "claims-nothing.avif": partial(patched, ISPE, ISPE[:8] + bytes(8)),
        "sequence-brand.avif": partial(patched, b"ftypavif", b"ftypavis"),
        "box-of-2-to-the-63.avif": partial(patched, b"ispe", b"\xff\xff\xff\xff"),
    }.items():
        AVIF.add(name)(make)


@AVIF.add("boxes-in-boxes.avif")
def _deep() -> bytes:
    inner = b""
    for _ in range(10_000):
        inner = box(b"meta", bytes(4), inner)
    return box(b"ftyp", b"avif", bytes(4), b"avifmif1") + inner


@AVIF.add("million-boxes.avif")
def _boxes() -> bytes:
    return box(b"ftyp", b"avif", bytes(4), b"avifmif1") + box(b"free") * 1_000_000


@AVIF.add("four-billion-samples.avif", quick=True)
def _samples() -> bytes:
    table = full_box(b"stsz", 0, struct.pack(">II", 1, 0xFFFFFFFF))
    tables = box(b"stbl", table, full_box(b"stts", 0, struct.pack(">III", 1, 0xFFFFFFFF, 1)))
    track = box(b"trak", box(b"mdia", box(b"minf", tables)))
    return box(b"ftyp", b"avis", bytes(4), b"avisavif") + box(b"moov", track)
