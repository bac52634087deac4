"""Picture formats by their bytes: what is not decoded, and how many frames a file holds, counted without decoding."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from kilat.data.picture_formats import count_frames, foreign_format
from kilat.locale.refusals import HINTS, REFUSALS

RNG = np.random.default_rng(0)


def encoded(kind: str, frames: int = 1, **options: object) -> bytes:
    """A file with so many different frames."""
    first, *others = (Image.fromarray(RNG.integers(0, 256, (24, 32, 3), np.uint8)) for _ in range(frames))
    file = io.BytesIO()
    more = {"save_all": True, "append_images": others} if others else {}
    first.save(file, kind, **more, **options)
    return file.getvalue()


def tiff(*pages: dict[int, int], order: str = "<") -> bytes:
    """The directories of a TIFF, by hand: tags with a number each."""
    content = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    for number, tags in enumerate(pages, 1):
        entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
        after = len(content) + 2 + len(entries) + 4
        content += (
            struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", after * (number < len(pages)))
        )
    return content


def box(brand: bytes, *compatible: bytes) -> bytes:
    """The first box of a file of the ISO base media family."""
    content = b"ftyp" + brand + bytes(4) + b"".join(compatible)
    return struct.pack(">I", len(content) + 4) + content + bytes(64)


class TestFrames:
    @pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
    @pytest.mark.parametrize("frames", [1, 2, 7])
    def test_as_many_as_were_saved(self, kind: str, frames: int) -> None:
        assert count_frames(encoded(kind, frames)) == frames

    def test_as_pillow_counts(self) -> None:
        for content in (encoded("PNG", 4, default_image=True), encoded("TIFF", 5, big_tiff=True)):
            with Image.open(io.BytesIO(content)) as image:
                assert count_frames(content) == image.n_frames > 1

    def test_previews_behind_a_jpeg_are_no_pages(self) -> None:
        assert count_frames(encoded("JPEG")) == count_frames(encoded("MPO", 3)) == 1

    @pytest.mark.parametrize("order", "<>")
    def test_smaller_copies_and_masks_in_a_tiff_are_no_pages(self, order: str) -> None:
        page, smaller, mask = {254: 0, 256: 9}, {254: 1, 256: 4}, {254: 4, 256: 9}
        assert count_frames(tiff(page, smaller, smaller, order=order)) == 1
        assert count_frames(tiff(page, mask, {256: 9}, smaller, {254: 2}, order=order)) == 3

    def test_directories_in_a_circle_end(self) -> None:
        circle = bytearray(tiff({256: 9}, {256: 9}))
        circle[-4:] = struct.pack("<I", 8)
        assert count_frames(bytes(circle)) == 2

    @pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
    def test_damage_raises_nothing(self, kind: str) -> None:
        content = encoded(kind, 3)
        for end in (*range(0, min(len(content), 300), 7), len(content) // 2):
            damaged = bytearray(content[:end])
            assert 1 <= count_frames(bytes(damaged)) <= 3
            if damaged:
                damaged[RNG.integers(len(damaged))] ^= 0xFF
                assert count_frames(bytes(damaged)) >= 1
        assert count_frames(b"") == 1


class TestForeignFormats:
    @pytest.mark.parametrize(
        ("content", "code"),
        [
            (box(b"heic", b"mif1", b"heic"), "heic"),
            (box(b"mif1", b"mif1", b"heic"), "heic"),
            (box(b"mif1", b"mif1"), "heic"),
            (box(b"hevc", b"msf1"), "heic"),
            (box(b"heix"), "heic"),
            (box(b"crx ", b"isom"), "camera_raw"),
            (box(b"isom", b"mp42"), "video"),
            (box(b"qt  "), "video"),
            (b"II*\0\x10\0\0\0CR\x02\0" + bytes(50), "camera_raw"),
            (tiff({254: 1, 330: 200}), "camera_raw"),  # a preview of what stands in sub-directories: Nikon, Sony
            (tiff({254: 0, 50706: 1}), "camera_raw"),  # Adobe's DNG
            (tiff({254: 1, 330: 200}, order=">"), "camera_raw"),
            (b"FUJIFILMCCD-RAW 0201", "camera_raw"),
            (b"IIRO\x08\0\0\0", "camera_raw"),
            (b"8BPS\0\1", "photoshop"),
            (b"%PDF-1.7\n", "pdf"),
            (b"\xff\x0a\xfa", "jpeg_xl"),
            (b"\0\0\0\x0cJXL \r\n\x87\n", "jpeg_xl"),
            (b"\0\0\0\x0cjP  \r\n\x87\n", "jpeg_2000"),
            (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "svg"),
            (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- x -->\n<svg width="9"/>', "svg"),
            (b"\n <!DOCTYPE html><html><body>404 Not Found</body></html>", "web_page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git_lfs_pointer"),
        ],
    )
    def test_they_are_told_by_their_bytes(self, content: bytes, code: str) -> None:
        assert foreign_format(content) == code
        assert code in REFUSALS
        assert code in HINTS

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF"])
    def test_what_kilat_reads_is_not_among_them(self, kind: str) -> None:
        assert foreign_format(encoded(kind)) == ""

    def test_neither_is_a_tiff_with_smaller_copies(self) -> None:
        assert foreign_format(tiff({254: 0, 330: 200}, {254: 1})) == ""
