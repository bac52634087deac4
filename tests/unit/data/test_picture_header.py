"""The header alone tells size and memory of a picture, in bounded work, and whether that can be believed."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kilat.data.picture_header import (
    LARGE_PIXELS,
    MOST_BYTES_OF_ODD_HEADERS,
    MOST_CHUNKS,
    MOST_COMMENTS,
    MOST_COMPRESSED_TEXTS,
    MOST_SCANS,
    MOST_SEGMENTS,
    MOST_SEGMENTS_OF_A_KIND,
    MOST_STRIPS,
    MOST_SUB_BLOCKS,
    MOST_TAGS,
    UNKNOWN,
    Header,
    read_header,
    reduction,
)
from kilat.errors import PictureError
from kilat.locale.refusals import Refusal


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(mode: str = "RGB", width: int = 50, height: int = 30) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    if mode == "I;16":
        return Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    if mode in {"F", "I"}:
        return Image.fromarray(noise[..., 0] / np.float32(255) if mode == "F" else noise[..., 0].astype(np.int32))
    return Image.fromarray(noise).convert(mode)


def refusal(content: bytes) -> Refusal:
    with pytest.raises(PictureError) as caught:
        read_header(content)
    return caught.value.refusal


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def segment(marker: int, content: bytes = b"") -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def tiff(*entries: tuple[int, int, int, int], size: int = 0) -> bytes:
    """A TIFF of one directory: tag, kind, count and value of each entry."""
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + bytes(4 + size)


ORDINARY: list[tuple[str, str, dict[str, Any], int]] = [
    ("JPEG", "RGB", {}, 4),
    ("JPEG", "RGB", {"progressive": True}, 4),
    ("JPEG", "L", {"subsampling": 0}, 1),
    ("JPEG", "CMYK", {}, 4),
    ("PNG", "1", {}, 1),
    ("PNG", "L", {}, 1),
    ("PNG", "P", {}, 1),
    ("PNG", "I;16", {}, 2),
    ("PNG", "RGB", {}, 4),
    ("PNG", "RGBA", {}, 4),
    ("GIF", "P", {}, 2),
    ("BMP", "L", {}, 1),
    ("BMP", "RGB", {}, 4),
    ("PPM", "1", {}, 1),
    ("PPM", "L", {}, 1),
    ("PPM", "I", {}, 4),
    ("PPM", "RGB", {}, 4),
    ("WEBP", "RGB", {}, 20),
    ("WEBP", "RGB", {"lossless": True}, 20),
    ("TIFF", "L", {}, 1),
    ("TIFF", "I;16", {}, 2),
    ("TIFF", "F", {}, 4),
    ("TIFF", "RGB", {}, 4),
    ("TIFF", "RGBA", {}, 4),
    ("TIFF", "1", {}, 1),
]


@pytest.mark.parametrize(("kind", "mode", "options", "pixel"), ORDINARY)
def test_an_ordinary_picture_is_believed(kind: str, mode: str, options: dict[str, Any], pixel: int) -> None:
    header = read_header(encoded(picture(mode), kind, **options))
    assert (header.width, header.height, header.pixel) == (50, 30, pixel)
    assert header.is_believable
    assert header.needed_bytes(None) < 4 << 20


def test_avif_is_never_believed_for_its_frames_may_be_larger_than_its_boxes_say() -> None:
    header = read_header(encoded(picture(), "AVIF"))
    assert (header.width, header.height, header.is_believable) == (50, 30, False)


@pytest.mark.parametrize("side", [7, 16, 40, 224])
@pytest.mark.parametrize("size", [(1000, 400), (449, 448), (3000, 90), (100, 100)])
def test_the_size_of_a_shrunk_jpeg_is_that_of_the_decoder(size: tuple[int, int], side: int) -> None:
    content = encoded(Image.new("L", size), "JPEG")
    with Image.open(io.BytesIO(content)) as image:
        image.draft("L", (2 * side, 2 * side))
        assert read_header(content).decoded_size(side) == image.size
    assert read_header(content).decoded_size(None) == size


class TestMemory:
    def test_a_progressive_jpeg_holds_the_coefficients_of_all_its_samples(self) -> None:
        shape = 8 * 100, 8 * 90
        plain, scanned = (
            read_header(encoded(Image.new("RGB", shape), "JPEG", progressive=progressive, subsampling="4:2:0"))
            for progressive in (False, True)
        )
        assert scanned.beside - plain.beside >= 2 * 1.5 * 800 * 720

    def test_a_strip_or_a_tile_counts_beside_the_picture(self) -> None:
        size = (256, 3, 1, 64), (257, 3, 1, 64)
        small = read_header(tiff(*size, (259, 3, 1, 5), (278, 3, 1, 64), (273, 4, 1, 8)))
        tile = (322, 4, 1, 65_520), (323, 4, 1, 32_752)
        large = read_header(tiff(*size, (259, 3, 1, 5), *tile, (324, 4, 1, 8)))
        assert large.needed_bytes(64) > 65_520 * 32_752 > 100 * small.needed_bytes(64)

    def test_a_canvas_counts_whatever_is_drawn_on_it(self) -> None:
        side = (16_383 - 1).to_bytes(3, "little")
        canvas = b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0" + side + side
        assert read_header(canvas).needed_bytes(64) > 8 * 16_383**2

    def test_what_comes_of_the_picture_counts(self) -> None:
        small = Header(100, 100, 1)
        assert small.needed_bytes(None) >= 13 * 100 * 100
        large = Header(10_000, 10_000, 1)
        assert large.needed_bytes(100) < 4 * 10_000 * 10_000 < large.needed_bytes(None)


@pytest.mark.parametrize(
    ("size", "shrink_to", "factor"),
    [
        ((8_000, 4_000), 100, 1),  # not large
        ((10_000, 10_000), None, 1),
        ((10_000, 10_000), 100, 50),
        ((10_000, 10_000), 5_001, 1),
        ((LARGE_PIXELS + 1, 1), 100, 1),
    ],
)
def test_only_large_pictures_are_reduced_and_never_below_twice_the_side(
    size: tuple[int, int], shrink_to: int | None, factor: int
) -> None:
    assert reduction(*size, shrink_to) == factor


class TestParts:
    """Counts that no picture needs are refused before anything goes through them."""

    JPEG = encoded(picture(), "JPEG")
    PNG = encoded(picture(), "PNG")

    def too_many(self, content: bytes, most: int) -> None:
        found = refusal(content)
        assert found.code == "too_many_parts"
        assert found.detail.endswith(f" > {most:,}")

    @pytest.mark.parametrize("part", [segment(0xFE), b"\xff", b"\0"], ids=["comments", "fill bytes", "junk"])
    def test_segments_of_a_jpeg(self, part: bytes) -> None:
        self.too_many(self.JPEG[:20] + part * (MOST_SEGMENTS + 1) + self.JPEG[20:], MOST_SEGMENTS)

    def test_segments_that_take_long(self) -> None:
        for part in (segment(0xE1, b"Exif\0\0"), segment(0xED, b"Photoshop 3.0\0")):
            parts = part * (MOST_SEGMENTS_OF_A_KIND + 1)
            self.too_many(self.JPEG[:2] + parts + self.JPEG[2:], MOST_SEGMENTS_OF_A_KIND)

    def test_scans(self) -> None:
        scans = encoded(picture(), "JPEG", progressive=True)
        extra = segment(0xDA, b"\1\1\0\1\x3f\0") * (MOST_SCANS + 1)
        self.too_many(scans[:-2] + extra + scans[-2:], MOST_SCANS)
        few = read_header(scans[:-2] + extra[: len(extra) // 5] + scans[-2:])
        assert (few.width, few.is_believable) == (50, False)
        assert read_header(self.JPEG[:-2] + extra + self.JPEG[-2:]).is_believable  # a decoder ends after the first

    @pytest.mark.parametrize("behind", [33, -12], ids=["before the pixels", "behind them"])
    def test_chunks(self, behind: int) -> None:
        chunks = chunk(b"abCd", b"") * (MOST_CHUNKS * 2)
        found = refusal(self.PNG[:behind] + chunks + self.PNG[behind:])
        assert found.code == "too_many_parts"

    def test_many_chunks_of_pixels_are_ordinary_in_a_large_file(self) -> None:
        chunks = chunk(b"IDAT", bytes(8192)) * (MOST_CHUNKS + 1)
        assert read_header(self.PNG[:33] + chunks + self.PNG[-12:]).is_believable

    def test_compressed_texts(self) -> None:
        texts = chunk(b"zTXt", b"a\0\0") * (MOST_COMPRESSED_TEXTS + 1)
        self.too_many(self.PNG[:33] + texts + self.PNG[33:], MOST_COMPRESSED_TEXTS)

    def test_blocks_before_the_first_image_of_a_gif(self) -> None:
        gif = encoded(picture("P"), "GIF")
        start = 13 + 3 * 256
        comment = b"!\xfe" + b"\1a" * (MOST_SUB_BLOCKS + 1) + b"\0"
        self.too_many(gif[:start] + comment + gif[start:], MOST_SUB_BLOCKS)

    def test_tags_and_strips_of_a_tiff(self) -> None:
        self.too_many(tiff(*[(256, 3, 1, 9)] * (MOST_TAGS + 1)), MOST_TAGS)
        size = (256, 3, 1, 9), (257, 4, 1, MOST_STRIPS + 1)
        self.too_many(tiff(*size, (278, 3, 1, 1), (273, 4, 1, 8)), MOST_STRIPS)

    def test_chunks_of_a_webp(self) -> None:
        webp = encoded(picture(), "WEBP")
        self.too_many(webp + b"abcd\0\0\0\0" * (MOST_CHUNKS + 1), MOST_CHUNKS)

    def test_samples_that_are_decoded_one_by_one(self) -> None:
        assert refusal(b"P3 9000 9000 255\n").code == "too_slow"
        self.too_many(b"P6\n" + b"#\n" * (MOST_BYTES_OF_ODD_HEADERS // 2) + b"4 4 255\n", MOST_BYTES_OF_ODD_HEADERS)
        assert read_header(b"P6 9000 9000 200\n").is_believable
        self.too_many(b"P2 9 9 255\n" + b"#\n" * (MOST_COMMENTS + 1), MOST_COMMENTS)
        header = struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 9_000, 9_000, 1, 8, 1, 0, 0, 0, 0, 0)
        assert refusal(b"BM" + header).code == "too_slow"


class TestDoubt:
    """What a decoder may read otherwise than this is not believed."""

    def test_two_headers(self) -> None:
        png = encoded(picture(), "PNG")
        second = chunk(b"IHDR", struct.pack(">IIBBBBB", 9_000, 9_000, 8, 2, 0, 0, 0))
        assert not read_header(png[:33] + second + png[33:]).is_believable
        jpeg = encoded(picture(), "JPEG")
        frame = segment(0xC0, struct.pack(">BHHB", 8, 9_000, 9_000, 1) + b"\1\x11\0")
        assert not read_header(jpeg[:2] + frame + jpeg[2:]).is_believable

    def test_unusual_kinds(self) -> None:
        jpeg = encoded(picture(), "JPEG")
        for kind in (0xC3, 0xC9, 0xCA):  # lossless, and arithmetic coding
            assert not read_header(jpeg.replace(b"\xff\xc0", bytes((0xFF, kind)), 1)).is_believable
        size = (256, 3, 1, 64), (257, 3, 1, 64), (278, 3, 1, 64), (273, 4, 1, 8)
        for compression in (2, 5, 6, 7, 8, 32_773, 34_925, 50_000, 50_001):
            assert not read_header(tiff(*size, (259, 4, 1, compression))).is_believable
        assert not read_header(tiff(*size, (256, 3, 1, 99), (259, 3, 1, 1))).is_believable
        assert not read_header(b"P3 9 9 255\n").is_believable

    def test_a_lossless_webp_may_have_tables_for_every_few_pixels(self) -> None:
        photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8))
        assert not read_header(encoded(photo, "WEBP", lossless=True)).is_believable
        assert read_header(encoded(photo, "WEBP")).is_believable

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF"])
    def test_a_file_that_is_cut_off_or_damaged_says_something_or_nothing(self, kind: str) -> None:
        whole = encoded(picture(), kind)
        dice = np.random.default_rng(0)
        for length in range(16, min(len(whole), 700), 3):
            assert read_header(whole[:length]) is not None
            spoilt = bytearray(whole)
            spoilt[int(dice.integers(4, len(whole)))] = int(dice.integers(256))
            try:
                read_header(bytes(spoilt))
            except PictureError as error:
                assert error.refusal.code in {"not_an_image", "too_many_parts", "too_slow"}  # noqa: PT017

    @pytest.mark.parametrize("content", [b"MM\0*", b"RIFF\0\0\0\0WEBPVP8X", b"P6", b"BM", b"GIF89a"])
    def test_a_signature_alone(self, content: bytes) -> None:
        assert read_header(content) is UNKNOWN

    @pytest.mark.parametrize("content", [b"", b"RIFF\0\0\0\0WAVEfmt ", b"Please", b"PK\3\4", b"\0" * 40])
    def test_no_picture(self, content: bytes) -> None:
        assert refusal(content) == Refusal("not_an_image")


MEASURE = """
import io, sys
import numpy as np
from PIL import Image
from kilat.data.decode import decode
from kilat.data.picture_header import read_header
from kilat.runtime.peak_memory import PeakMemory
content = open(sys.argv[1], "rb").read()
small = io.BytesIO()
Image.new("RGB", (9, 9)).save(small, sys.argv[2])
decode(small.getvalue())  # libraries are loaded
shrink_to = int(sys.argv[3]) or None
peak = PeakMemory()
before = int(open("/proc/self/statm").read().split()[1]) * 4096
image = decode(content, shrink_to=shrink_to)[0]
print(peak.read() - before, read_header(content).needed_bytes(shrink_to))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of a part")
@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [*(one[:3] for one in ORDINARY if one[0] != "WEBP"), ("WEBP", "RGB", {}), ("PNG", "LA", {}), ("TIFF", "CMYK", {})],
)
@pytest.mark.parametrize("shrink_to", [0, 224])
def test_no_picture_takes_more_memory_than_its_header_says(
    kind: str, mode: str, options: dict[str, Any], shrink_to: int, tmp_path: Path
) -> None:
    file = tmp_path / "picture"
    file.write_bytes(encoded(picture(mode, 4_000, 3_000), kind, **options))
    command = [sys.executable, "-c", MEASURE, str(file), kind, str(shrink_to)]
    taken, said = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert taken <= said + (16 << 20)
