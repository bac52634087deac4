"""Decode what a source gives to upright 8-bit RGB, or refuse it. Nothing is guessed or replaced.

How special kinds are decoded: EXIF orientation is applied; 16-bit grey is scaled to 8 bits; CMYK, palettes and other
colour models are converted; transparency is put on a white background; of an animation or a document the first frame
or page counts; large JPEGs are shrunk while they are decoded, to no less than twice the size that is needed. A camera's
raw file is refused, not replaced by the small preview in it.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from kilat.data.image_file import SIGNATURE_BYTES, has_image_signature
from kilat.data.picture_formats import foreign_format
from kilat.errors import PictureError
from kilat.runtime.array_types import Pixels
from kilat.runtime.shared_block import SharedBlock

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF")
"""The only decoders that are ever used, whatever a file is called. JPEG also opens MPO, as many phones write it."""

MAX_PIXELS = 178_956_970
"""A picture with more pixels is refused before it is decoded; this is Pillow's own limit."""

BACKGROUND = (255, 255, 255)
_ORIENTATION = 0x0112


@contextlib.contextmanager
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        yield


without_warnings = SharedBlock(_no_warnings)
"""Ignore what Pillow warns of while the block lasts: pictures of half of MAX_PIXELS, and damage that it can live with.

What counts is what it raises. Whoever decodes many pictures opens a block around all of them, which saves time.
"""


def decode(picture: bytes | Pixels, *, shrink_to: int | None = None) -> tuple[Image.Image, tuple[int, int]]:
    """Decode a picture to upright RGB.

    Args:
        picture: the bytes of an image file, or pixels ``[height, width]``, ``[height, width, 3]`` (or 4, with alpha).
        shrink_to: the side in pixels that will be needed; a large JPEG may come back smaller than it is, never with a
            shorter side below twice this. None decodes all pixels.

    Returns:
        The picture, and its full width and height.

    Raises:
        PictureError: it cannot be decoded.
    """
    try:
        with without_warnings():
            return _decode(picture, shrink_to)
    except PictureError:
        raise
    except Image.DecompressionBombError:
        raise PictureError("too_many_pixels", f"{MAX_PIXELS:,}") from None
    except MemoryError:
        raise PictureError("out_of_memory") from None
    except Exception as error:  # a decoder may raise anything on hostile bytes
        reason = str(error) or type(error).__name__
        raise PictureError("truncated" if "truncated" in reason.lower() else "undecodable", reason) from error


def picture_size(picture: bytes | Pixels) -> tuple[int, int] | None:
    """Return width and height from the header alone, or None where it cannot be read."""
    if isinstance(picture, np.ndarray):
        return picture.shape[1], picture.shape[0]
    try:
        with without_warnings(), Image.open(io.BytesIO(picture), formats=FORMATS) as image:
            return image.size
    except Exception:  # noqa: BLE001 - the pass over all pictures decodes it again and records why it fails
        return None


def _decode(picture: bytes | Pixels, shrink_to: int | None) -> tuple[Image.Image, tuple[int, int]]:
    image = _open(picture)
    width, height = image.size
    if isinstance(picture, bytes):
        if shrink_to:
            image.draft(image.mode, (2 * shrink_to, 2 * shrink_to))
        try:
            orientation = int(image.getexif().get(_ORIENTATION, 1))
        except Exception:  # noqa: BLE001 - damaged EXIF says nothing about the picture itself
            orientation = 1
        if orientation >= 5 and image.format != "TIFF":  # Pillow rotates TIFF by itself, its size from the start
            width, height = height, width
        if orientation > 1:
            image = ImageOps.exif_transpose(image)
    return _rgb(image), (width, height)


def _open(picture: bytes | Pixels) -> Image.Image:
    """Return the picture with its header read, its pixels not decoded yet."""
    if isinstance(picture, np.ndarray):
        image = Image.fromarray(picture)
    elif not picture:
        raise PictureError("empty_file")
    elif code := foreign_format(picture):
        raise PictureError(code)
    else:
        try:
            image = Image.open(io.BytesIO(picture), formats=FORMATS)
        except UnidentifiedImageError:
            is_image = has_image_signature(picture[:SIGNATURE_BYTES])
            raise PictureError("damaged" if is_image else "not_an_image") from None
    pixels = image.width * image.height
    if not pixels:
        raise PictureError("no_pixels")
    if pixels > MAX_PIXELS:
        raise PictureError("too_many_pixels", f"{MAX_PIXELS:,}")
    return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image
    if image.mode.startswith("I") or image.mode == "F":
        # Grey with more than 8 bits: 16-bit samples are divided by 257 (65535 becomes 255); floats are 0 to 1.
        values = np.asarray(image, np.float64)
        top = 1.0 if image.mode == "F" else 65535.0
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > top:
            raise PictureError("sample_range", f"[0, {top:g}]")
        return Image.fromarray(np.rint(values * (255 / top)).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        base = Image.new("RGBA", layer.size, (*BACKGROUND, 255))
        return Image.alpha_composite(base, layer).convert("RGB")
    return image.convert("RGB")
