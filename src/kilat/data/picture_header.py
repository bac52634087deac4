"""What the first bytes of a picture say of the work ahead: its size, the memory it takes, and whether to believe that.

Nothing is decoded, and what is read is bounded: some dozens of microseconds for an ordinary picture. The bytes a pixel
are those of Pillow 13 with libjpeg-turbo 3, libwebp 1.6, libtiff 4.7 and libavif 1.4, read in their sources and
measured (``tests/unit/data/test_picture_header.py``).
"""

import re
import struct
from collections.abc import Callable
from typing import NamedTuple

from kilat.data.picture_formats import TIFF_SIGNATURES
from kilat.errors import PictureError

LARGE_PIXELS = 1 << 25
"""A picture with more pixels is made smaller while it is decoded, where the caller needs a small one."""

STRIP_PIXELS = 1 << 20
"""Pixels that are converted at a time."""

RESULT_BYTES = 13
"""Bytes a pixel of the decoded picture: Pillow's four, and the arrays that are made of them one after the other."""

MOST_SEGMENTS = 1_000
MOST_SEGMENTS_OF_A_KIND = 64
MOST_SCANS = 1_000
MOST_BLOCK_VISITS = 1 << 28
MOST_CHUNKS = 10_000
MOST_COMPRESSED_TEXTS = 256
MOST_SUB_BLOCKS = 100_000
MOST_TAGS = 4_096
MOST_STRIPS = 1 << 17
MOST_BYTES_OF_ODD_HEADERS = 1 << 20
MOST_COMMENTS = 1_000
MOST_STEPS = 1 << 23
"""What formats may be made of. A decoder goes through each part in about a microsecond or ten, and real pictures have
a hundredth of it. Steps are the samples, and pairs of bytes, where Pillow decodes in Python."""

_FEW_SCANS = 64
_FEW_BLOCK_VISITS = 1 << 25
_FEW_STRIPS = 1 << 14
_SMALL_EXIF = 1 << 20
_SMALL_TABLES = 64 << 20
_HUFFMAN_GROUP = 28 << 10
_BITS_OF_A_GROUP = 20
_AVIF_SEARCHED = 1 << 20
_GUESSED_BYTES = 512 << 20


class Header(NamedTuple):
    """What the header of a picture says.

    Args:
        width: in pixels, as it is stored; turning it upright comes later.
        height: in pixels.
        pixel: bytes that the decoder holds for every pixel.
        beside: bytes that it holds besides, whatever the picture is shrunk to.
        strip: bytes that a pixel takes while it is converted to RGB.
        shrinks: whether the decoder itself can shrink it, as JPEG's does.
        is_believable: whether no decoder will take more than this says.
    """

    width: int
    height: int
    pixel: int
    beside: int = 0
    strip: int = 24
    shrinks: bool = False
    is_believable: bool = True

    @property
    def pixels(self) -> int:
        """How many pixels it has."""
        return self.width * self.height

    @property
    def most_bytes(self) -> int:
        """How many bytes all of it takes, if it is not so large that it is converted in strips."""
        return self.beside + self.pixels * (self.pixel + self.strip + 4)

    def decoded_size(self, shrink_to: int | None) -> tuple[int, int]:
        """Return the width and height at which the decoder gives it, by the rule of Pillow's ``draft``."""
        if not (self.shrinks and shrink_to):
            return self.width, self.height
        times = min(self.width, self.height) // (2 * shrink_to)
        scale = 8 if times >= 8 else 4 if times >= 4 else 2 if times >= 2 else 1
        return -(-self.width // scale), -(-self.height // scale)

    def needed_bytes(self, shrink_to: int | None) -> int:
        """Return how many bytes decoding takes at its peak, or what is then done with the decoded picture."""
        width, height = self.decoded_size(shrink_to)
        factor = reduction(width, height, shrink_to)
        result = -(-width // factor) * -(-height // factor)
        pixels = width * height
        strip = self.strip * min(pixels, max(width, STRIP_PIXELS))
        return max(self.beside + self.pixel * pixels + strip + 4 * result, RESULT_BYTES * result)


UNKNOWN = Header(0, 0, 0, beside=_GUESSED_BYTES, is_believable=False)
"""The header of what begins like a picture and goes on in a way that is damaged, or odd."""


def reduction(width: int, height: int, shrink_to: int | None) -> int:
    """Return by which whole factor a decoded picture is reduced: 1, but for large ones of which less is needed."""
    if not shrink_to or width * height <= LARGE_PIXELS:
        return 1
    return max(1, min(width, height) // (2 * shrink_to))


def read_header(content: bytes) -> Header:
    """Return what the header of a picture in one of ``kilat.data.decode.FORMATS`` says.

    Raises:
        PictureError: it begins like none of them, or is made of more parts than any decoder goes through in time.
    """
    read = next((read for signature, read in _READERS if content.startswith(signature)), None)
    if content[4:8] == b"ftyp":
        read = _avif
    if not read:
        raise PictureError("not_an_image")
    try:
        return read(content)
    except (IndexError, OverflowError, struct.error):  # it ends too soon, or points out of itself
        return UNKNOWN


def _require(count: int, most: int) -> None:
    if count > most:
        raise PictureError("too_many_parts", f"{count:,} > {most:,}")


# -------------------------------------------------------------------------------------------------------------- JPEG

_START_OF_SCAN, _EXIF_SEGMENT, _PHOTOSHOP_SEGMENT = 0xDA, 0xE1, 0xED
_FRAMES = frozenset((*range(0xC0, 0xD0), 0xDE)) - {0xC4, 0xC8, 0xCC}
_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2
_WITHOUT_LENGTH = frozenset((0x00, 0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)))


def _jpeg(content: bytes) -> Header:
    """Walk from segment to segment up to the first scan, as Pillow does, which also skips what lies between them."""
    at, frames, slow_segments = 2, [], 0
    for _ in range(MOST_SEGMENTS):
        if content[at] != 0xFF or content[at + 1] == 0xFF:
            at += 1
            continue
        marker = content[at + 1]
        at += 2
        if marker in _WITHOUT_LENGTH:
            continue
        if marker == _START_OF_SCAN:
            break
        if marker in _FRAMES:
            frames.append((marker, at))
        elif marker in {_EXIF_SEGMENT, _PHOTOSHOP_SEGMENT} and content[at + 2 : at + 6] in {b"Exif", b"Phot"}:
            slow_segments += 1
            _require(slow_segments, MOST_SEGMENTS_OF_A_KIND)
        at += int.from_bytes(content[at : at + 2], "big")
    else:
        _require(MOST_SEGMENTS + 1, MOST_SEGMENTS)
    if not frames:
        return UNKNOWN
    kind, start = frames[-1]
    height, width, components = struct.unpack_from(">HHB", content, start + 3)
    sampling = [content[start + 9 + 3 * number] for number in range(components)]
    if not sampling or not all(one >> 4 and one & 15 for one in sampling):
        return UNKNOWN
    most = max(one >> 4 for one in sampling) * max(one & 15 for one in sampling)
    samples = width * height * sum((one >> 4) * (one & 15) for one in sampling) // most
    # Rows of blocks that go through the decoder, and where a scan does not bring all of a pixel, all coefficients.
    beside = 200 * width
    is_believable = len(frames) == 1 and kind in {_BASELINE, _EXTENDED, _PROGRESSIVE}
    if kind not in {_BASELINE, _EXTENDED} or content[at + 2] < components:
        beside += 2 * samples + (1 << 16)
        scans = content.count(b"\xff\xda", at)
        _require(scans, MOST_SCANS)
        _require(scans * samples // 64, MOST_BLOCK_VISITS)
        is_believable &= scans <= _FEW_SCANS and scans * samples // 64 <= _FEW_BLOCK_VISITS
    pixel, strip = (1, 8) if components == 1 else (4, 8) if components == 3 else (4, 24)
    return Header(width, height, pixel, beside, strip, shrinks=True, is_believable=is_believable)


# --------------------------------------------------------------------------------------------------------------- PNG

_PNG_GREY, _PNG_RGB, _PNG_PALETTE = 0, 2, 3
_PNG_CHANNELS = {_PNG_GREY: 1, _PNG_RGB: 3, _PNG_PALETTE: 1, 4: 2, 6: 4}


def _png(content: bytes) -> Header:
    name, width, height, depth, colour = struct.unpack_from(">4sIIBB", content, 12)
    if name != b"IHDR" or colour not in _PNG_CHANNELS:
        return UNKNOWN
    at, texts, is_believable, has_transparency = 8, 0, True, False
    most, end = MOST_CHUNKS + len(content) // 1024, len(content) - 8
    for _ in range(most):
        if at > end:
            break
        length, name = struct.unpack_from(">I4s", content, at)
        if name == b"IEND":
            break
        if name != b"IDAT":
            texts += name in {b"iCCP", b"zTXt", b"iTXt"}
            has_transparency |= name == b"tRNS"
            is_believable &= not (name == b"IHDR" and at > 8) and not (name == b"eXIf" and length > _SMALL_EXIF)
        at += 12 + length
    else:
        _require(most + 1, most)
    _require(texts, MOST_COMPRESSED_TEXTS)
    row = width * _PNG_CHANNELS[colour] * depth // 8 + 9
    if colour == _PNG_GREY and not has_transparency:
        pixel, strip = (2, 16) if depth == 16 else (1, 8)
    elif colour == _PNG_RGB and not has_transparency:
        pixel, strip = 4, 8
    else:
        pixel, strip = 1 if colour in {_PNG_GREY, _PNG_PALETTE} else 4, 24
    return Header(width, height, pixel, 2 * row, strip, is_believable=is_believable)


# ------------------------------------------------------------------------------------------------- GIF, BMP, PPM, WebP


def _gif(content: bytes) -> Header:
    """Walk up to the first image, which may lie beyond the screen that the header gives."""
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    at, blocks = 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0), 0
    while (kind := content[at]) != 0x2C:
        _require(blocks, MOST_SUB_BLOCKS)
        blocks += 1
        at += 1
        if kind == 0x21:
            at += 1
            while size := content[at]:
                _require(blocks, MOST_SUB_BLOCKS)
                blocks += 1
                at += 1 + size
            at += 1
    left, top, wide, high = struct.unpack_from("<HHHH", content, at + 1)
    return Header(max(width, left + wide), max(height, top + high), 2)


_RAW, _RLE8, _RLE4, _BITFIELDS = range(4)


def _bmp(content: bytes) -> Header:
    (size,) = struct.unpack_from("<I", content, 14)
    if size == 12:
        width, height, _planes, bits = struct.unpack_from("<HHHH", content, 18)
        compression = _RAW
    else:
        width, height, _planes, bits, compression = struct.unpack_from("<IIHHI", content, 18)
        if height >> 24 == 0xFF:  # negative: from top to bottom
            height = (1 << 32) - height
    pixels = width * height
    if compression in {_RLE8, _RLE4}:
        _require_quick(pixels, content)
        return Header(width, height, 4, 600 * width, is_believable=False)
    return Header(width, height, 1 if bits <= 8 else 4, 8 * width)


PPM_HEADER = re.compile(
    rb"P([1-6])(?:\s|#[^\r\n]*+[\r\n])++(\d{1,9})(?:\s|#[^\r\n]*+[\r\n])++(\d{1,9})(?:\s++(\d{1,5}))?"
)
_PPM_HEADER_BYTES = 4_096


def _ppm(content: bytes) -> Header:
    found = PPM_HEADER.match(content, 0, _PPM_HEADER_BYTES)
    if not found:  # Pillow looks for the end of such a header byte by byte
        _require(len(content), MOST_BYTES_OF_ODD_HEADERS)
        return UNKNOWN
    kind, width, height = int(found[1]), int(found[2]), int(found[3])
    largest = 1 if kind in {1, 4} else int(found[4] or 0)
    is_colour, is_plain = kind in {3, 6}, kind <= 3
    pixel = 4 if is_colour or largest > 255 else 1
    if is_plain:
        _require(content.count(b"#"), MOST_COMMENTS)
        _require_quick(width * height * (3 if is_colour else 1), content)
    elif kind != 4 and largest not in {255, 65_535 if kind == 5 else 255}:  # rescaled by a table
        pixel = 16 if is_colour else 8
    return Header(width, height, 4 * pixel if is_plain else pixel, 8 * width, is_believable=not is_plain)


def _require_quick(samples: int, content: bytes) -> None:
    steps = samples + len(content) // 2
    if steps > MOST_STEPS:
        raise PictureError("too_slow", f"{steps:,} > {MOST_STEPS:,}")


_WEBP_HEADER = 30
_WEBP_LOSSY, _WEBP_LOSSLESS, _WEBP_EXTENDED = b"VP8 ", b"VP8L", b"VP8X"


def _webp(content: bytes) -> Header:
    if content[8:12] != b"WEBP":
        raise PictureError("not_an_image")
    if len(content) < _WEBP_HEADER:
        return UNKNOWN
    kind = content[12:16]
    at, names, is_believable = 12, set(), True
    for _ in range(MOST_CHUNKS):
        if at + 8 > len(content):
            break
        name, length = struct.unpack_from("<4sI", content, at)
        names.add(name)
        is_believable &= not (name == b"EXIF" and length > _SMALL_EXIF)
        at += 8 + length + length % 2
    else:
        _require(MOST_CHUNKS + 1, MOST_CHUNKS)
    if kind == _WEBP_EXTENDED:
        width, height = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == _WEBP_LOSSLESS:
        (bits,) = struct.unpack_from("<I", content, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == _WEBP_LOSSY:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", content, 26))
    else:
        return UNKNOWN
    # Huffman tables for every block of 4×4 pixels at most, if the file has so many.
    tables = 0
    if names & {_WEBP_LOSSLESS, b"ALPH", b"ANMF"}:
        groups = min(1 << 16, -(-width // 4) * -(-height // 4), len(content) * 8 // _BITS_OF_A_GROUP)
        tables = min(groups * _HUFFMAN_GROUP, _SMALL_TABLES)
        is_believable &= tables < _SMALL_TABLES
    # Two canvases, the pixels of the frame, its copy, and Pillow's; and copies of the file and its parts.
    return Header(width, height, 20, tables + 6 * len(content), is_believable=is_believable)


# --------------------------------------------------------------------------------------------------------- TIFF, AVIF

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIPS, _SAMPLES, _ROWS, _PLANES, _TILE_WIDTH, _TILE_HEIGHT, _TILES = 273, 277, 278, 284, 322, 323, 324
_SAMPLE_FORMAT = 339
_ODD_TIFF_SIGNATURES = (b"MM*\0", b"II\0*")
"""With the version in the wrong byte order, as Pillow reads it too."""
_VALUE_FORMATS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q"}
_UNCOMPRESSED = 1


def _tiff(content: bytes) -> Header:
    """Read the first directory. What is unusual is not believed: libtiff and Pillow read such things differently."""
    order = "<" if content.startswith(b"II") else ">"
    if content[2:4] in {b"+\0", b"\0+"}:
        (at,) = struct.unpack_from(order + "Q", content, 8)
        (count,) = struct.unpack_from(order + "Q", content, at)
        first, entry, layout, inline, is_believable = at + 8, 20, "HHQ", 8, False
    else:
        (at,) = struct.unpack_from(order + "I", content, 4)
        (count,) = struct.unpack_from(order + "H", content, at)
        first, entry, layout, inline, is_believable = at + 2, 12, "HHI", 4, True
    _require(count, MOST_TAGS)
    values: dict[int, int] = {}
    counts: dict[int, int] = {}
    for place in range(first, first + count * entry, entry):
        tag, kind, number = struct.unpack_from(order + layout, content, place)
        if tag not in _LOOKED_AT:
            continue
        value = _VALUE_FORMATS.get(kind)
        is_believable &= tag not in values and value is not None and number > 0
        if value is None or not number or tag in values:
            continue
        start = place + entry - inline
        if struct.calcsize(value) * number > inline:
            (start,) = struct.unpack_from(order + ("I" if inline == 4 else "Q"), content, start)
        (values[tag],) = struct.unpack_from(order + value, content, start)
        counts[tag] = number
    if _WIDTH not in values or _HEIGHT not in values:
        return UNKNOWN
    return _tiff_header(content, values, counts, is_believable)


_LOOKED_AT = frozenset(
    (_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _STRIPS, _SAMPLES, _ROWS, _PLANES, _TILE_WIDTH, _TILE_HEIGHT, _TILES)
) | {_SAMPLE_FORMAT}


def _tiff_header(content: bytes, values: dict[int, int], counts: dict[int, int], is_believable: bool) -> Header:
    width, height = values[_WIDTH], values[_HEIGHT]
    bits, samples = values.get(_BITS, 1), max(values.get(_SAMPLES, 1), counts.get(_BITS, 1))
    compression = values.get(_COMPRESSION, _UNCOMPRESSED)
    planes = samples if values.get(_PLANES, 1) == 2 else 1
    if _TILES in values:
        wide, high = values.get(_TILE_WIDTH, width), values.get(_TILE_HEIGHT, height)
    else:
        wide, high = width, min(values.get(_ROWS, height), height)
    if not (wide and high):
        return UNKNOWN
    parts = max(-(-width // wide) * -(-height // high) * planes, counts.get(_STRIPS, 0), counts.get(_TILES, 0))
    _require(parts, MOST_STRIPS)
    if samples > 1:
        pixel, strip = 4, 24
    else:
        pixel, strip = (
            (1, 24) if bits <= 8 else (2, 16) if bits <= 16 and values.get(_SAMPLE_FORMAT, 1) == 1 else (4, 32)
        )
    beside = 16 * width + 1_000 * parts
    if compression != _UNCOMPRESSED:  # libtiff holds a strip or a tile, and for some kinds once more as RGBA
        beside += wide * high * (-(-bits * samples // 8) + 4) + len(content)
    # What libtiff decodes is never believed: it prints on standard error what is wrong with a file.
    is_believable &= compression == _UNCOMPRESSED and parts <= _FEW_STRIPS
    return Header(width, height, pixel, beside, strip, is_believable=is_believable)


def _avif(content: bytes) -> Header:
    """Find the sizes of its items; the largest is that of the picture. Its frames may be larger than any box says."""
    at, width, height, sizes = 0, 0, 0, 0
    while (at := content.find(b"ispe", at, _AVIF_SEARCHED)) >= 0:
        sizes += 1
        _require(sizes, MOST_CHUNKS)
        wide, high = struct.unpack_from(">II", content, at + 8)
        if wide * high > width * height:
            width, height = wide, high
        at += 4
    # The decoder's frames of up to 12 bits and what it keeps of them, RGBA, its copy, and Pillow's pixels.
    return Header(width, height, 24, 6 * len(content), is_believable=False) if width else UNKNOWN


_READERS: tuple[tuple[bytes | tuple[bytes, ...], Callable[[bytes], Header]], ...] = (
    (b"\xff\xd8\xff", _jpeg),
    (b"\x89PNG\r\n\x1a\n", _png),
    ((b"GIF87a", b"GIF89a"), _gif),
    (b"RIFF", _webp),
    ((*TIFF_SIGNATURES, *_ODD_TIFF_SIGNATURES), _tiff),
    (b"BM", _bmp),
    (tuple(b"P%c" % kind for kind in b"0123456fy"), _ppm),
)
