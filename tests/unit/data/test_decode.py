"""Every kind of picture comes out upright in 8-bit RGB, or is refused with a reason, whatever its bytes are."""

import io
import random
import re
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kilat.data.decode import FORMATS, decode, picture_size, without_warnings
from kilat.errors import PictureError
from kilat.locale.refusals import Refusal, refusal_hint
from kilat.runtime.array_types import Pixels

ORIENTATION = 0x0112


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(height: int, width: int, *channels: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, *channels), dtype=np.uint8)


def photo(height: int, width: int) -> Image.Image:
    """Smooth enough for lossy formats to keep it."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [255 * x / width, 255 * y / height, 127 + 120 * np.sin(x / 9) * np.cos(y / 7)]
    return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))


def pixels(picture: bytes | Pixels, **options: Any) -> NDArray[np.int64]:
    image, _ = decode(picture, **options)
    assert image.mode == "RGB"
    return np.asarray(image, np.int64)


def refusal(picture: bytes | Pixels) -> Refusal:
    with pytest.raises(PictureError) as caught:
        decode(picture)
    return caught.value.refusal


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, rows: bytes, *chunks: bytes, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG by hand: any depth and colour type, with what stands between the header and the pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class TestUpright:
    TURNS: ClassVar[dict[int, Callable[[Any], Any]]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90,
    }

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
    @pytest.mark.parametrize("orientation", TURNS)
    def test_exif_orientation_turns_pixels_and_size(self, kind: str, orientation: int) -> None:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
        plain = pixels(encoded(photo(24, 40), kind, **options))
        image, size = decode(encoded(photo(24, 40), kind, exif=exif, **options))
        assert size == image.size == ((24, 40) if orientation >= 5 else (40, 24))
        np.testing.assert_array_equal(np.asarray(image), self.TURNS[orientation](plain))

    def test_a_turned_photo_that_is_shrunk_reports_its_full_upright_size(self) -> None:
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        image, size = decode(encoded(photo(600, 1000), "JPEG", exif=exif), shrink_to=64)
        assert size == (600, 1000)
        assert image.size == (150, 250)

    @pytest.mark.parametrize("orientation", [0, 9, 65535])
    def test_an_impossible_orientation_is_none(self, orientation: int) -> None:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        plain = encoded(photo(24, 40), "PNG")
        np.testing.assert_array_equal(pixels(encoded(photo(24, 40), "PNG", exif=exif)), pixels(plain))

    def test_damaged_exif_does_not_cost_the_picture(self) -> None:
        plain = encoded(photo(24, 40), "JPEG")
        for exif in (b"Exif\0\0", b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(9)):
            spoilt = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]
            np.testing.assert_array_equal(pixels(spoilt), pixels(plain))


class TestDeepGrey:
    VALUES = np.array([[0, 128, 257, 32896], [40000, 65278, 65406, 65535]], np.uint16)
    SCALED = np.array([[0, 0, 1, 128], [156, 254, 254, 255]])

    def check(self, picture: bytes) -> None:
        got = pixels(picture)
        np.testing.assert_array_equal(got, np.repeat(self.SCALED[:, :, None], 3, axis=2))

    def test_scaled_not_clipped(self) -> None:
        np.testing.assert_array_equal(np.rint(self.VALUES / 257), self.SCALED)
        image = Image.fromarray(self.VALUES)
        assert image.mode == "I;16"
        self.check(encoded(image, "PNG"))
        self.check(encoded(image, "TIFF"))
        self.check(b"P5 4 2 65535\n" + self.VALUES.astype(">u2").tobytes())
        self.check(encoded(Image.fromarray(self.VALUES.astype(np.int32)), "TIFF"))

    @pytest.mark.parametrize(("kind", "largest"), [(5, 1), (5, 100), (5, 4095), (5, 65_534), (6, 7), (6, 1023)])
    def test_samples_with_another_end_are_those_of_pillow(self, kind: int, largest: int) -> None:
        """PGM and PPM, such as those of 12-bit cameras; samples above their end are cut off there."""
        shape = (9, 11) if kind == 5 else (9, 11, 3)
        values = np.random.default_rng(kind).integers(0, 1.2 * largest + 1, shape)
        values[0, 0] = largest
        content = b"P%d\n# a comment\n11 9\n%d\n" % (kind, largest)
        content += values.clip(0, 255 if largest < 256 else 65_535).astype("u1" if largest < 256 else ">u2").tobytes()
        with Image.open(io.BytesIO(content)) as image:
            expected = np.asarray(image, float)
        if image.mode == "I":
            expected = np.rint(expected / 257)
        got = pixels(content)
        np.testing.assert_array_equal(got[..., 0] if kind == 5 else got, expected)
        assert refusal(content[:-1]).code == "truncated"

    def test_big_endian(self) -> None:
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in self.VALUES)
        self.check(png(4, 2, rows, depth=16))

    def test_floats_are_0_to_1(self) -> None:
        values = np.array([[0, 0.25], [0.5, 1]], np.float32)
        got = pixels(encoded(Image.fromarray(values), "TIFF"))
        np.testing.assert_array_equal(got[..., 0], [[0, 64], [128, 255]])

    @pytest.mark.parametrize(
        ("values", "bounds"),
        [
            (np.array([[0, 70_000]], np.int32), "[0, 65535]"),
            (np.array([[-1, 5]], np.int32), "[0, 65535]"),
            (np.array([[0, 255]], np.float32), "[0, 1]"),
            (np.array([[-0.5, 1]], np.float32), "[0, 1]"),
            (np.array([[np.nan, 1]], np.float32), "[0, 1]"),
            (np.array([[np.inf, 1]], np.float32), "[0, 1]"),
        ],
    )
    def test_what_has_no_scale_is_refused(self, values: NDArray[Any], bounds: str) -> None:
        assert refusal(encoded(Image.fromarray(values), "TIFF")) == Refusal("sample_range", bounds)


class TestColours:
    def test_rgb_and_grey_as_they_are(self) -> None:
        colour, grey = noise(7, 5, 3), noise(7, 5)
        for kind in ("PNG", "BMP", "TIFF", "PPM"):
            np.testing.assert_array_equal(pixels(encoded(Image.fromarray(colour), kind)), colour)
            np.testing.assert_array_equal(pixels(encoded(Image.fromarray(grey), kind)), np.stack([grey] * 3, -1))

    def test_black_and_white(self) -> None:
        bits = noise(9, 11) > 127
        for kind in ("PNG", "TIFF", "BMP", "PPM"):
            got = pixels(encoded(Image.fromarray(bits), kind))
            np.testing.assert_array_equal(got, np.repeat(bits[:, :, None] * 255, 3, axis=2))

    @pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
    def test_cmyk(self, kind: str) -> None:
        ink = np.zeros((16, 16, 4), np.uint8)
        ink[8:, :, 3] = 255  # black ink below
        ink[:8, 8:, 1] = 255  # magenta above on the right
        got = pixels(encoded(Image.fromarray(ink, "CMYK"), kind))
        for rows, columns, colour in ((2, 2, (255, 255, 255)), (2, 13, (255, 0, 255)), (13, 2, (0, 0, 0))):
            np.testing.assert_allclose(got[rows, columns], colour, atol=4)

    def test_ycbcr(self) -> None:
        got = pixels(encoded(photo(16, 16).convert("YCbCr"), "TIFF"))
        np.testing.assert_allclose(got, np.asarray(photo(16, 16), int), atol=3)

    def test_a_palette(self) -> None:
        few = Image.fromarray(noise(1, 9, 3).repeat(4, axis=0))
        for kind in ("PNG", "GIF", "BMP", "TIFF"):
            np.testing.assert_array_equal(pixels(encoded(few.quantize(16), kind)), np.asarray(few))

    def test_a_palette_with_one_transparent_colour_lies_on_white(self) -> None:
        few = Image.new("P", (3, 1))
        few.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
        few.putdata([0, 1, 2])
        for kind in ("PNG", "GIF"):
            got = pixels(encoded(few, kind, transparency=1))
            np.testing.assert_array_equal(got, [[[10, 20, 30], [255, 255, 255], [70, 80, 90]]])

    def test_a_palette_with_alpha_lies_on_white(self) -> None:
        few = Image.new("P", (3, 1))
        few.putpalette([0, 0, 0, 0, 0, 0, 9, 9, 9])
        few.putdata([0, 1, 2])
        got = pixels(encoded(few, "PNG", transparency=bytes((255, 51, 0))))
        np.testing.assert_array_equal(got[0, :, 0], [0, 204, 255])

    def test_alpha_lies_on_white(self) -> None:
        layer = noise(6, 7, 4)
        alpha = layer[..., 3:].astype(float) / 255
        expected = layer[..., :3] * alpha + 255 * (1 - alpha)
        for picture in (
            encoded(Image.fromarray(layer), "PNG"),
            encoded(Image.fromarray(layer), "TIFF"),
            encoded(Image.fromarray(layer), "WEBP", lossless=True, exact=True),
            layer,
        ):
            np.testing.assert_allclose(pixels(picture), expected, atol=1)

    def test_grey_with_alpha_lies_on_white(self) -> None:
        layer = noise(6, 7, 2)
        alpha = layer[..., 1].astype(float) / 255
        got = pixels(encoded(Image.fromarray(layer, "LA"), "PNG"))
        np.testing.assert_allclose(got[..., 1], layer[..., 0] * alpha + 255 * (1 - alpha), atol=1)

    def test_a_colour_that_stands_for_transparent(self) -> None:
        colour = png(2, 1, b"\0\x01\x02\x03\x04\x05\x06", chunk(b"tRNS", bytes((0, 1, 0, 2, 0, 3))), colour=2)
        np.testing.assert_array_equal(pixels(colour), [[[255, 255, 255], [4, 5, 6]]])
        grey = png(2, 1, b"\0\x07\x09", chunk(b"tRNS", bytes((0, 7))))
        np.testing.assert_array_equal(pixels(grey), [[[255] * 3, [9] * 3]])
        bits = png(2, 1, b"\0\x40", chunk(b"tRNS", bytes(2)), depth=1)
        np.testing.assert_array_equal(pixels(bits), [[[255] * 3, [255] * 3]])


class TestAnimations:
    @pytest.mark.parametrize(
        ("kind", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})]
    )
    def test_the_first_frame(self, kind: str, options: dict[str, Any]) -> None:
        frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
        animated = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        with Image.open(io.BytesIO(animated)) as image:
            assert getattr(image, "n_frames", 1) == 3
        np.testing.assert_array_equal(pixels(animated), np.asarray(frames[0]))

    def test_the_first_picture_of_a_phones_pair(self) -> None:
        pair = encoded(photo(40, 60), "MPO", save_all=True, append_images=[Image.new("RGB", (60, 40))])
        image, size = decode(pair, shrink_to=8)
        assert size == (60, 40)
        assert image.size == (30, 20)
        np.testing.assert_allclose(pixels(pair), np.asarray(photo(40, 60), int), atol=30)


class TestShrinking:
    @pytest.mark.parametrize("width", [63, 64, 127, 128, 129, 255, 256, 511, 513, 1000])
    @pytest.mark.parametrize("side", [16, 32, 56])
    def test_a_jpeg_is_never_below_twice_the_side_that_is_needed(self, width: int, side: int) -> None:
        height = width * 3 // 4
        image, size = decode(encoded(photo(height, width), "JPEG"), shrink_to=side)
        assert size == (width, height)
        assert min(image.size) >= min(2 * side, height)
        assert max(image.size) <= width
        if height >= 4 * side:  # halving it would have been enough
            assert image.size[0] <= (width + 1) // 2

    def test_it_looks_like_the_whole_picture(self) -> None:
        photograph = encoded(photo(480, 640), "JPEG", quality=95)
        small = decode(photograph, shrink_to=60)[0]
        whole = decode(photograph)[0].resize(small.size, Image.Resampling.BOX)
        assert small.size == (160, 120)
        np.testing.assert_allclose(np.asarray(small, int), np.asarray(whole, int), atol=12)

    @pytest.mark.parametrize("mode", ["L", "CMYK"])
    def test_other_colour_models_shrink_too(self, mode: str) -> None:
        image, size = decode(encoded(photo(480, 640).convert(mode), "JPEG"), shrink_to=60)
        assert (image.mode, image.size, size) == ("RGB", (160, 120), (640, 480))

    @pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
    def test_other_formats_come_whole(self, kind: str) -> None:
        image, size = decode(encoded(photo(300, 400), kind), shrink_to=16)
        assert image.size == size == (400, 300)


class TestArrays:
    def test_grey_and_colour(self) -> None:
        grey, colour = noise(5, 4), noise(5, 4, 3)
        np.testing.assert_array_equal(pixels(grey), np.stack([grey] * 3, -1))
        np.testing.assert_array_equal(pixels(colour, shrink_to=1), colour)
        np.testing.assert_array_equal(pixels(colour[::-1, ::2]), colour[::-1, ::2])
        assert decode(colour)[1] == picture_size(colour) == (4, 5)

    @pytest.mark.parametrize("shape", [(0, 4), (4, 0, 3), (2, 2, 5), (2, 2, 2, 3)])
    def test_other_shapes_are_refused(self, shape: tuple[int, ...]) -> None:
        assert refusal(np.zeros(shape, np.uint8)).code in ("no_pixels", "undecodable")


class TestRefusals:
    @pytest.mark.parametrize(
        "content",
        [
            b"hello, I am text\n" * 9,
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            b"\0",
            b"\0" * 5000,
            b"PK\x03\x04" + bytes(60),
        ],
        ids=["text", "eps", "one zero", "zeros", "zip"],
    )
    def test_what_is_no_picture_of_a_known_format(self, content: bytes) -> None:
        assert refusal(content) == Refusal("not_an_image")
        assert refusal(content).sentence() == f"not a picture in a known format ({', '.join(FORMATS)})"
        assert picture_size(content) is None

    def test_a_format_that_kilat_does_not_read_is_named(self) -> None:
        iphone = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(50)
        assert refusal(iphone).sentence() == "a HEIC picture, which kilat does not read"
        assert "magick mogrify -format jpg *.HEIC" in refusal_hint("heic")

    def test_an_empty_file(self) -> None:
        assert refusal(b"") == Refusal("empty_file")
        assert picture_size(b"") is None

    @pytest.mark.parametrize(
        ("kind", "code"),
        [
            ("ICO", "icon"),
            ("TGA", "not_an_image"),
            ("PCX", "not_an_image"),
            ("JPEG2000", "jpeg_2000"),
            ("ICNS", "not_an_image"),
            ("PDF", "pdf"),
        ],
    )
    def test_formats_that_are_not_on_the_list_are_never_decoded(self, kind: str, code: str) -> None:
        assert refusal(encoded(photo(32, 32), kind)) == Refusal(code)

    @pytest.mark.parametrize(
        "content",
        [
            png(60_000, 60_000, b""),
            png(2**31 - 1, 1, b""),
            b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0),
            b"P6 60000 60000 255\n",
        ],
        ids=["png", "png of one row", "bmp", "ppm"],
    )
    def test_what_takes_too_much_memory_is_refused_from_the_header(self, content: bytes) -> None:
        found = refusal(content)
        assert found.code == "too_much_memory"
        assert re.fullmatch(r"takes more memory to decode than is allowed: [\d.,]+ GB > 1\.1 GB", found.sentence())

    def test_a_decompression_bomb(self) -> None:
        width = height = 14_000
        bomb = png(width, height, bytes((width // 8 + 1) * height), depth=1)
        assert len(bomb) < 100_000
        assert refusal(bomb) == Refusal("too_much_memory", "2.5 GB > 1.1 GB")

    def test_a_bomb_in_what_describes_the_picture(self) -> None:
        text = chunk(b"zTXt", b"comment\0\0" + zlib.compress(bytes(80_000_000)))
        assert len(text) < 100_000
        assert refusal(png(1, 1, b"\0\0", text)).code == "undecodable"


LOSSLESS: list[tuple[str, dict[str, Any]]] = [
    ("PNG", {}),
    ("GIF", {}),
    ("WEBP", {"lossless": True}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ("BMP", {}),
    ("PPM", {}),
]
LOSSY: list[tuple[str, dict[str, Any]]] = [("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {}), ("AVIF", {})]


@pytest.mark.parametrize(("kind", "options"), LOSSLESS + LOSSY)
def test_a_file_that_is_cut_off_is_refused_wherever_that_was(kind: str, options: dict[str, Any]) -> None:
    """It may lack what follows the pixels; nothing is ever made up for pixels that are not there."""
    whole = encoded(Image.fromarray(noise(19, 23, 3)), kind, **options)
    expected = pixels(whole)
    refusals = set()
    for length in range(len(whole)):
        try:
            got = pixels(whole[:length])
        except PictureError as error:
            refusals.add(error.refusal)
        else:
            assert len(whole) - length < 32
            np.testing.assert_array_equal(got, expected)
    assert {one.code for one in refusals} <= {"empty_file", "not_an_image", "damaged", "truncated", "undecodable"}
    assert all(len(one.sentence()) > 9 for one in refusals)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_png_whose_pixels_are_damaged_is_refused(mode: str) -> None:
    whole = bytearray(encoded(Image.fromarray(noise(40, 50, 3)).convert(mode), "PNG"))
    whole[len(whole) // 2] ^= 0x55
    assert refusal(bytes(whole)).code == "undecodable"
    zeros = png(8, 8, bytes(72))
    at = zeros.index(b"IDAT") - 4
    assert refusal(zeros[:at] + b"\xff" * 4 + b"IDAT" + bytes(50)).code in ("truncated", "undecodable")


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "TIFF", "WEBP"])
def test_what_begins_as_a_picture_is_called_damaged_not_unknown(kind: str) -> None:
    assert refusal(encoded(photo(20, 20), kind)[:40]).code in ("damaged", "truncated", "undecodable")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "AVIF"])
def test_hostile_bytes_are_decoded_or_refused_and_nothing_else(kind: str) -> None:
    dice = random.Random(f"hostile {kind}")
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    options: dict[str, Any] = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "TIFF") else {}
    whole = encoded(photo(20, 30), kind, **options)
    for _ in range(150):
        spoilt = bytearray(whole[: dice.randrange(1, len(whole))] if dice.random() < 0.3 else whole)
        for _ in range(dice.choice((1, 1, 2, 8, 40))):
            place = min(int(dice.expovariate(1 / 60)), len(spoilt) - 1) if dice.random() < 0.5 else None
            spoilt[dice.randrange(len(spoilt)) if place is None else place] = dice.randrange(256)
        try:
            image, size = decode(bytes(spoilt), shrink_to=8)
        except PictureError as error:
            assert error.message  # noqa: PT017 - most are refused, and some decode
        else:
            assert image.mode == "RGB"
            assert np.asarray(image).shape == (image.height, image.width, 3)
            assert min(size) >= 1
        picture_size(bytes(spoilt))


def test_a_fresh_process_decodes_every_format_and_warns_of_nothing(tmp_path: Path) -> None:
    """What Pillow would warn of is nothing that a user could act on."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0\x01\0"
    jpeg = encoded(photo(24, 40), "JPEG")
    files = [encoded(photo(24, 40), kind) for kind in reversed(FORMATS)]
    files.append(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    files.append(png(10_000, 10_000, b""))  # Pillow's warning, not kilat's ceiling
    for number, content in enumerate(files):
        (tmp_path / str(number)).write_bytes(content)
    code = (
        "import sys, pathlib; from kilat.data.decode import decode, picture_size\n"
        "for file in sorted(pathlib.Path(sys.argv[1]).iterdir(), key=lambda f: int(f.name))[:-1]:\n"
        "    print(decode(file.read_bytes())[1])\n"
        "print(picture_size(pathlib.Path(sys.argv[1], sys.argv[2]).read_bytes()))"
    )
    for action in ("default", "always", "error"):
        done = subprocess.run(
            [sys.executable, "-W", action, "-c", code, str(tmp_path), str(len(files) - 1)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        assert done.stdout.split("\n") == [*["(40, 24)"] * (len(files) - 1), "(10000, 10000)", ""]


def test_warnings_of_other_code_stay_as_they_are() -> None:
    filters = list(warnings.filters)
    decode(noise(4, 4, 3))
    with without_warnings():
        decode(encoded(photo(24, 40), "JPEG"))
    assert warnings.filters == filters
    code = (
        "import numpy, pandas, PIL.Image, warnings; before = [*warnings.filters]\n"
        "import kilat.data.decode; print(warnings.filters == before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
