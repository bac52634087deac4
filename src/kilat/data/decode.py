"""Decode what a source gives to upright 8-bit RGB, or refuse it. Nothing is guessed or replaced.

How special kinds are decoded: EXIF orientation is applied; 16-bit grey is scaled to 8 bits; CMYK, palettes and other
colour models are converted; transparency is put on a white background; of an animation or a document the first frame
or page counts. A camera's raw file is refused, not replaced by the small preview in it.

Where a small picture is needed, large JPEGs are shrunk while they are decoded, and other pictures of more than 33
megapixels are reduced, both to no less than twice the size that is needed.

What a picture will take is read in its header (``kilat.data.picture_header``), and taken from the memory that all
decoding shares. A picture is decoded in this thread, or in a guarded process (``kilat.data.guarded_process``) where it
is large, or its header cannot be believed.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, UnidentifiedImageError

from kilat.data.file_stats import FILE_STATS_KEY, fill_file_stats
from kilat.data.guarded_process import SECONDS, Answer, Request, ask
from kilat.data.image_file import SIGNATURE_BYTES, has_image_signature
from kilat.data.picture_failure import picture_failure
from kilat.data.picture_formats import foreign_format
from kilat.data.picture_header import LARGE_PIXELS, STRIP_PIXELS, UNKNOWN, Header, read_header, reduction
from kilat.data.png_rows import has_all_rows
from kilat.data.rescaled_ppm import open_rescaled
from kilat.errors import KilatError, PictureError
from kilat.runtime.array_types import Pixels
from kilat.runtime.byte_budget import SMALL, LeftToParent, decoded_bytes
from kilat.runtime.memory import MOST_FOR_DECODING, readable_bytes
from kilat.runtime.shared_block import SharedBlock

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF")
"""The only decoders that are ever used, whatever a file is called. JPEG also opens MPO, as many phones write it."""

BACKGROUND = (255, 255, 255)
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TOP_OF_16_BITS = 65_535

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else what it says of a file goes to standard error


@contextlib.contextmanager
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        yield


without_warnings = SharedBlock(_no_warnings)
"""Ignore what Pillow warns of while the block lasts: large pictures, and damage that it can live with.

What counts is what it raises. Whoever decodes many pictures opens a block around all of them, which saves time.
"""


class picture_errors:  # noqa: N801 - used as a function; a generator would take four times as long for each picture
    """A context that turns whatever a decoder raises, or the work with what it gave, into the refusal of that picture.

    Raises:
        PictureError: something was raised.
        LeftToParent: as it was raised.
        KilatError: as it was raised, where it is about no picture.
    """

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Raise the refusal."""
        if isinstance(error, Image.DecompressionBombError):  # its pixels are more than its header says
            raise PictureError("damaged") from None
        if isinstance(error, Exception) and not isinstance(error, KilatError | LeftToParent):
            raise picture_failure(error) from error  # a decoder may raise anything on hostile bytes


def decode(picture: bytes | Pixels, *, shrink_to: int | None = None) -> tuple[Image.Image, tuple[int, int]]:
    """Decode a picture to upright RGB.

    The memory that it takes is taken from ``decoded_bytes``, for as long as the caller's own block of ``hold`` lasts.

    Args:
        picture: the bytes of an image file, or pixels ``[height, width]``, ``[height, width, 3]`` (or 4, with alpha).
        shrink_to: the side in pixels that will be needed; a large picture may come back smaller than it is, never with
            a shorter side below twice this. None decodes all pixels.

    Returns:
        The picture, and its full width and height.

    Raises:
        PictureError: it cannot be decoded.
        LeftToParent: this is a worker process, and the picture is one for the process that started it.
    """
    with picture_errors():
        header = _header(picture)
        if header.is_believable and header.most_bytes <= SMALL:
            return decode_here(picture, header.pixels, shrink_to)
        with decoded_bytes.hold():
            if isinstance(picture, bytes) and not (header.is_believable and _is_small(header, shrink_to)):
                return _decode_guarded(picture, header, shrink_to)
            _take(header, shrink_to)
            return decode_here(picture, header.pixels, shrink_to)


def decode_guarded(picture: bytes | Pixels, *, shrink_to: int | None = None) -> tuple[Image.Image, tuple[int, int]]:
    """Decode a picture as ``decode`` does, in the guarded process whatever its header says."""
    if not isinstance(picture, bytes):
        return decode(picture, shrink_to=shrink_to)
    with picture_errors(), decoded_bytes.hold():
        return _decode_guarded(picture, _header(picture), shrink_to)


def picture_size(picture: bytes | Pixels) -> tuple[int, int] | None:
    """Return width and height from the header alone, or None where it cannot be read."""
    try:
        header = _header(picture)
    except PictureError:  # the pass over all pictures decodes it again and records why it fails
        return None
    return (header.width, header.height) if header.pixels else None


def decode_here(
    picture: bytes | Pixels, most_pixels: int, shrink_to: int | None, file_stats: np.void | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """Decode a picture in this thread; what a decoder raises is not caught.

    Args:
        picture: as for ``decode``.
        most_pixels: a picture that has more, before it is shrunk, is not what its header says.
        shrink_to: as for ``decode``.
        file_stats: a record of ``FILE_STATS`` to be filled, where the caller could not do so later.

    Returns:
        The picture, and its full width and height.

    Raises:
        PictureError: it cannot be decoded.
    """
    with without_warnings():
        if isinstance(picture, np.ndarray):
            return _array_to_rgb(picture, shrink_to), (picture.shape[1], picture.shape[0])
        image = _open(picture, most_pixels)
        width, height = image.size
        if shrink_to:
            image.draft(image.mode, (2 * shrink_to, 2 * shrink_to))
        # Pillow turns TIFF by itself, whose size is that of the upright picture from the start, and forgets how.
        is_tiff = image.format == "TIFF"
        if not is_tiff:  # first, for to look for the EXIF of a PNG Pillow decodes it
            image.load()
        if image.format == "PNG" and not has_all_rows(picture, image):
            raise PictureError("truncated", "image file is truncated")  # as Pillow says of other formats
        if file_stats is not None:
            with contextlib.suppress(Exception):  # what a damaged header hides is no reason to stop
                fill_file_stats(file_stats, image)
        turn = None if is_tiff else _UPRIGHT.get(_orientation(image))
        upright = _to_rgb(image, reduction(*image.size, shrink_to))
        if turn is None:
            return upright, (width, height)
        is_quarter = turn not in {_UPRIGHT[2], _UPRIGHT[3], _UPRIGHT[4]}
        return upright.transpose(turn), (height, width) if is_quarter else (width, height)


def header_of(picture: bytes, image: Image.Image) -> Image.Image:
    """Return a picture as it was opened: once more, where decoding made a new one of it."""
    if image.format in {"JPEG", "PNG", "WEBP"}:
        return image
    return Image.open(io.BytesIO(picture), formats=FORMATS)


def _header(picture: bytes | Pixels) -> Header:
    if isinstance(picture, np.ndarray):
        return Header(picture.shape[1], picture.shape[0], 3) if picture.ndim >= 2 else UNKNOWN
    if not picture:
        raise PictureError("empty_file")
    if code := foreign_format(picture):
        raise PictureError(code)
    return read_header(picture)


def _is_small(header: Header, shrink_to: int | None) -> bool:
    width, height = header.decoded_size(shrink_to)
    return max(header.pixels // 4, width * height) <= LARGE_PIXELS


def _take(header: Header, shrink_to: int | None) -> int:
    """Take the bytes that a picture needs from the memory for decoding; return how many.

    Raises:
        PictureError: there are not so many, even for it alone.
    """
    needed, limit = header.needed_bytes(shrink_to), decoded_bytes.limit
    if not header.pixels:  # it is not known what it needs, so it gets what there is
        needed = min(needed, limit)
    if needed > limit and not decoded_bytes.is_worker:
        raise PictureError("too_much_memory", f"{readable_bytes(needed)} > {readable_bytes(limit)}")
    decoded_bytes.take(needed)
    return needed


def _decode_guarded(picture: bytes, header: Header, shrink_to: int | None) -> tuple[Image.Image, tuple[int, int]]:
    if decoded_bytes.is_worker:
        raise LeftToParent
    needed = _take(header._replace(beside=header.beside + len(picture)), shrink_to)  # which is there twice
    most_pixels = header.pixels or LARGE_PIXELS
    seconds = SECONDS * max(1, round(decoded_bytes.limit / MOST_FOR_DECODING))  # larger ones take longer as well
    return _image(ask(Request(picture, most_pixels, shrink_to, needed, seconds)))


def _image(answer: Answer) -> tuple[Image.Image, tuple[int, int]]:
    image = Image.frombytes("RGB", answer.size, answer.pixels)
    image.info[FILE_STATS_KEY] = answer.file_stats
    return image, answer.full


def _open(picture: bytes, most_pixels: int) -> Image.Image:
    """Return the picture with its header read, its pixels not decoded yet."""
    try:
        image = open_rescaled(picture) or Image.open(io.BytesIO(picture), formats=FORMATS)
    except UnidentifiedImageError:
        is_image = has_image_signature(picture[:SIGNATURE_BYTES])
        raise PictureError("damaged" if is_image else "not_an_image") from None
    if image.width * image.height > most_pixels:
        raise PictureError("damaged")
    return image


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - damaged EXIF says nothing about the picture itself
        return 1


def _array_to_rgb(pixels: Pixels, shrink_to: int | None) -> Image.Image:
    if not pixels.size:
        raise PictureError("no_pixels")
    height, width = pixels.shape[:2]
    factor = reduction(width, height, shrink_to)
    return _in_strips((width, height), factor, lambda top, bottom: Image.fromarray(pixels[top:bottom]))


def _to_rgb(image: Image.Image, factor: int) -> Image.Image:
    if factor == 1 and image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image
    width, height = image.size

    def strip(top: int, bottom: int) -> Image.Image:
        return image if bottom - top == height else image.crop((0, top, width, bottom))

    return _in_strips((width, height), factor, strip)


def _in_strips(size: tuple[int, int], factor: int, strip: Callable[[int, int], Image.Image]) -> Image.Image:
    """Return a picture in RGB made of strips of its rows, so that never all of it is there at its full size twice.

    Args:
        size: width and height.
        factor: by which it is reduced.
        strip: returns the rows from one to another, in any mode.
    """
    width, height = size
    rows = max(1, STRIP_PIXELS // width // factor) * factor
    if rows >= height:
        return _converted(strip(0, height), factor)
    result = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    for top in range(0, height, rows):
        result.paste(_converted(strip(top, min(top + rows, height)), factor), (0, top // factor))
    return result


def _converted(image: Image.Image, factor: int) -> Image.Image:
    """Return a picture of any mode in RGB, reduced where it has the fewest bytes."""
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return _reduced(image, factor)
    if image.mode.startswith("I") or image.mode == "F":
        return _reduced(Image.fromarray(_eight_bits(image)), factor).convert("RGB")
    if image.has_transparency_data:
        layer = _reduced(image.convert("RGBA"), factor)
        base = Image.new("RGBA", layer.size, (*BACKGROUND, 255))
        return Image.alpha_composite(base, layer).convert("RGB")
    if image.mode in {"1", "L"}:
        return _reduced(image.convert("L"), factor).convert("RGB")
    return _reduced(image.convert("RGB"), factor)


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    return image.reduce(factor) if factor > 1 else image


def _eight_bits(image: Image.Image) -> Pixels:
    """Return grey with more than 8 bits in 8: 16-bit samples are divided by 257 (65535 becomes 255); floats are 0 to 1.

    Raises:
        PictureError: samples lie outside of that.
    """
    values = np.asarray(image)
    top = 1 if image.mode == "F" else _TOP_OF_16_BITS
    # Whole numbers need no test for those that are not finite; with them the comparison fails as well.
    if not (values.min() >= 0 and values.max() <= top):
        raise PictureError("sample_range", f"[0, {top}]")
    if image.mode == "F":
        return np.rint(values.astype(np.float64) * 255).astype(np.uint8)
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
