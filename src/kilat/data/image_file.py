"""Picture files: which names and first bytes are pictures, how names are printed, and reading one file."""

import os
import re
import stat
from typing import Literal

from kilat.errors import PictureError

_PICTURES = """
    jpg jpeg jpe jfif jif png apng bmp dib gif webp tif tiff ppm pgm pbm pnm avif avifs heic heif hif
    jp2 j2k jpx jxl ico tga pcx psd svg dng cr2 cr3 nef arw raf rw2 orf
"""
_OTHERS = """
    txt md rst html htm pdf doc docx rtf csv tsv json jsonl xml yaml yml toml ini cfg log xls xlsx parquet
    npy npz h5 hdf5 mat pkl pt pth onnx tflite db sqlite py ipynb sh bat exe dll so js css
    zip tar gz tgz xz bz2 7z rar zst mp3 wav mp4 avi mov mkv webm sha256 md5
"""

PICTURE_SUFFIXES = frozenset(_PICTURES.split())
"""A file with one of these endings comes in as a picture, whatever its content; decoding finds that out."""

OTHER_SUFFIXES = frozenset(_OTHERS.split())
"""Endings that are never pictures; such files are not even opened."""

HELPERS = frozenset(
    ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "__pycache__", "@eadir", "$recycle.bin", "icon\r")
)
"""Names, beside those that start with a dot, that a system or a program leaves among the pictures."""

SIGNATURE_BYTES = 32
"""How many first bytes `has_image_signature` needs."""

MAX_BYTES = 256 * 1024 * 1024
"""A picture that takes more is refused, before it is read into memory."""

LIMIT = f"{MAX_BYTES // 1024**2} MiB"
"""The same as text: the detail of the refusal ``too_large``."""

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/|data:|www\.", re.IGNORECASE)
"""The scheme has two letters at least: C:/ is a drive. Paths come with one slash where a program tidied them up."""

_BITMAP_HEADERS = frozenset((12, 40, 52, 56, 64, 108, 124))


def kind_of_file(name: str) -> Literal["helper", "picture", "other", "unknown"]:
    """Return what a file or folder is by its name; for ``unknown`` the first bytes decide."""
    if name.startswith(".") or name.lower() in HELPERS:
        return "helper"
    suffix = name.rpartition(".")[2].lower() if "." in name else ""
    if suffix in PICTURE_SUFFIXES:
        return "picture"
    return "other" if suffix in OTHER_SUFFIXES else "unknown"


def has_image_signature(head: bytes) -> bool:
    """Return whether a file that starts with these bytes is a JPEG, PNG, GIF, BMP, WebP or TIFF."""
    if head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")):
        return True
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return True
    # "BM" alone may start a text; the size of the header that follows decides.
    return head[:2] == b"BM" and len(head) >= 18 and int.from_bytes(head[14:18], "little") in _BITMAP_HEADERS


def printable(name: str) -> str:
    """Return the name as text that can be written anywhere: undecodable bytes become backslash escapes."""
    if is_encodable(name):
        return name
    try:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return name.encode("utf-8", "backslashreplace").decode()


def is_encodable(name: str) -> bool:
    """Return whether UTF-8 can encode the name."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def is_address(name: str) -> bool:
    """Return whether a name is one of the web or of a bucket (https, s3, gs, data: and the like), not a path."""
    return _ADDRESS.match(name) is not None


def unreadable(error: OSError) -> PictureError:
    """Return the refusal of a picture whose file the system did not give."""
    if isinstance(error, FileNotFoundError):
        return PictureError("file_not_found")
    return PictureError("unreadable", (error.strerror or str(error)).lower())


def read_file(path: str) -> bytes:
    """Return the bytes of one picture file.

    No more is read than its size says, however it grows.

    Raises:
        PictureError: it is missing, empty, unreadable, too large, or not a regular file.
    """
    try:
        found = os.stat(path)
        # A named pipe would wait for ever on opening, so this comes first.
        if not stat.S_ISREG(found.st_mode):
            raise PictureError("not_a_regular_file")
        if found.st_size > MAX_BYTES:
            raise PictureError("too_large", LIMIT)
        if not found.st_size:  # nor is one of the kernel's opened, which may wait for ever, or never end
            raise PictureError("empty_file")
        with open(path, "rb", buffering=0) as file:
            content = file.read(found.st_size)
            while len(content) < found.st_size and (more := file.read(found.st_size - len(content))):
                content += more
    except ValueError as error:  # a NUL inside the path
        raise PictureError("invalid_file_name") from error
    except FileNotFoundError as error:
        raise PictureError("url") if is_address(path) else unreadable(error) from error
    except OSError as error:
        raise unreadable(error) from error
    if not content:
        raise PictureError("empty_file")
    return content
