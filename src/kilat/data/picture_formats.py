"""Picture formats by their bytes: those that kilat does not decode, and how many frames or pages a file holds."""

import struct
from collections.abc import Iterator
from functools import cache
from itertools import islice

from PIL import features

_SIGNATURES = (
    (b"8BPS", "photoshop"),
    (b"%PDF-", "pdf"),
    (b"FUJIFILMCCD-RAW", "camera_raw"),
    (b"IIRO", "camera_raw"),  # Olympus
    (b"IIRS", "camera_raw"),
    (b"MMOR", "camera_raw"),
    (b"IIU\0", "camera_raw"),  # Panasonic
    (b"\xff\x0a", "jpeg_xl"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "jpeg_xl"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jpeg_2000"),
    (b"\xff\x4f\xff\x51", "jpeg_2000"),
    (b"\0\0\1\0", "icon"),
    (b"version https://git-lfs", "git_lfs_pointer"),
)
_HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"))
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
_VIDEO_BRANDS = (b"iso", b"mp4", b"qt", b"M4V", b"avc1", b"3g")
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_SHORT = 3
_SUBFILE_TYPE, _SUB_DIRECTORIES, _DNG_VERSION = 254, 330, 50706
_REDUCED, _MASK = 1, 4
"""Bits of the subfile type: a smaller copy of another page, and a mask for one."""

MAX_FRAMES = 65_535
"""What counting stops at."""

_MOST_BLOCKS = 1 << 22
"""Blocks of data that are gone through in search of frames: four times as many as the largest file needs."""

_TAGS_LOOKED_AT = 8


def foreign_format(content: bytes) -> str:
    """Return the code of the refusal (``kilat.locale.refusals``) of a file that kilat does not decode, else empty.

    Args:
        content: of the whole file.
    """
    for signature, code in _SIGNATURES:
        if content.startswith(signature):
            return code
    if content[4:8] == b"ftyp":
        return _of_brands(content)
    if content.startswith(TIFF_SIGNATURES):
        return "camera_raw" if _is_camera_raw(content) else ""
    start = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "web_page"
    return "svg" if start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in start) else ""


def count_frames(content: bytes) -> int:
    """Return how many frames or pages a GIF, PNG, WebP, TIFF or AVIF file holds; 1 for others, and where it is damaged.

    Nothing is decoded. A TIFF's masks and smaller copies of a page are no pages; nor are the previews and depth maps
    that phones put behind a JPEG.
    """
    try:
        if content.startswith(b"GIF8"):
            frames = _gif_frames(content)
        elif content.startswith(b"\x89PNG"):
            frames = _png_frames(content)
        elif content[8:12] == b"WEBP":
            frames = sum(name == b"ANMF" for name, _ in islice(_riff_chunks(content), 2 * MAX_FRAMES))
        elif content.startswith(TIFF_SIGNATURES):
            directories = islice(_tiff_directories(content, _TAGS_LOOKED_AT), MAX_FRAMES)
            frames = sum(not tags.get(_SUBFILE_TYPE, 0) & (_REDUCED | _MASK) for tags in directories)
        elif content[4:12] == b"ftypavis":
            frames = _samples(content)
        else:
            frames = 1
    except (IndexError, OverflowError, struct.error):
        frames = 1
    return min(max(frames, 1), MAX_FRAMES)


def _of_brands(content: bytes) -> str:
    """Return the code of a file of the ISO base media family, by its brands."""
    size = min(int.from_bytes(content[:4], "big"), 256)
    brands = [content[8:12], *(content[at : at + 4] for at in range(16, size - 3, 4))]
    if brands[0] == b"crx ":
        return "camera_raw"
    if brands[0] in _AVIF_BRANDS or (_AVIF_BRANDS & set(brands) and b"heic" not in brands):
        return "" if _decodes_avif() else "avif"
    if _HEIF_BRANDS & set(brands):
        return "heic"
    return "video" if brands[0].startswith(_VIDEO_BRANDS) else ""


@cache
def _decodes_avif() -> bool:
    return bool(features.check("avif"))


def _gif_frames(content: bytes) -> int:
    """Count the image descriptors, going from block to block; of a file that is cut off, those that have begun."""
    frames, blocks, at = 0, 0, 13
    if content[10] & 0x80:
        at += 3 << ((content[10] & 7) + 1)
    try:
        while (kind := content[at]) != 0x3B and frames < MAX_FRAMES and blocks < _MOST_BLOCKS:
            blocks += 1
            if kind == 0x2C:
                frames += 1
                colours = content[at + 9]
                at += 11 + (3 << ((colours & 7) + 1) if colours & 0x80 else 0)
            elif kind == 0x21:
                at += 2
            else:
                break
            while (size := content[at]) and blocks < _MOST_BLOCKS:
                at += size + 1
                blocks += 1
            at += 1
    except IndexError:
        pass
    return frames


def _png_frames(content: bytes) -> int:
    """Return the frames that an APNG announces, and its default picture where that is no frame of the animation."""
    at, frames, chunks = 8, 0, 0
    while (name := content[at + 4 : at + 8]) not in (b"IDAT", b"fcTL", b"") and chunks < MAX_FRAMES:
        chunks += 1
        (length,) = struct.unpack_from(">I", content, at)
        if name == b"acTL":
            (frames,) = struct.unpack_from(">I", content, at + 8)
        at += length + 12
    return frames + 1 if name == b"IDAT" and frames else frames


def _riff_chunks(content: bytes) -> Iterator[tuple[bytes, int]]:
    at = 12
    while at + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, at)
        yield name, at
        at += 8 + size + size % 2


def _samples(content: bytes) -> int:
    """Return the number of samples of an AVIF sequence, from the first table of their sizes."""
    at = content.find(b"stsz")
    return 1 if at < 0 else int(struct.unpack_from(">I", content, at + 12)[0])


def _is_camera_raw(content: bytes) -> bool:
    """Return whether a TIFF is a camera's raw file: its first page is a preview, of what its sub-directories hold."""
    if content[8:10] == b"CR":
        return True
    first = next(_tiff_directories(content, MAX_FRAMES), {})
    is_preview = first.get(_SUBFILE_TYPE, 0) & _REDUCED and _SUB_DIRECTORIES in first
    return _DNG_VERSION in first or bool(is_preview)


def _tiff_directories(content: bytes, most_tags: int) -> Iterator[dict[int, int]]:
    """Yield the first tags of every directory of a TIFF, with the number that each holds; damage ends them."""
    order = "<" if content.startswith(b"II") else ">"
    is_big = content[2:4] in (b"+\0", b"\0+")
    pointer, count, entry, value, first = ("Q", "Q", 20, 12, 8) if is_big else ("I", "H", 12, 8, 4)
    visited: set[int] = set()
    try:
        (at,) = struct.unpack_from(order + pointer, content, first)
        while at and at not in visited:
            visited.add(at)
            (entries,) = struct.unpack_from(order + count, content, at)
            start = at + struct.calcsize(order + count)
            tags = {}
            for place in range(start, start + min(entries, most_tags) * entry, entry):
                tag, kind = struct.unpack_from(order + "HH", content, place)
                (tags[tag],) = struct.unpack_from(order + ("H" if kind == _SHORT else "I"), content, place + value)
            yield tags
            (at,) = struct.unpack_from(order + pointer, content, start + entries * entry)
    except (OverflowError, struct.error):
        return
