"""A picture in the guarded process: as anywhere else, and whatever it does there is a refusal of that picture alone."""

import contextlib
import io
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kilat.data.decode import decode, decode_guarded
from kilat.data.guarded_process import Request, ask
from kilat.errors import PictureError
from kilat.locale.refusals import Refusal
from kilat.runtime.array_types import Pixels
from kilat.runtime.byte_budget import ByteBudget, LeftToParent, decoded_bytes

ONLY_LINUX = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the limits are those of Linux")


def encoded(pixels: Pixels, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def noise(height: int, width: int, *channels: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, *channels), np.uint8)


def refusal(request: Request) -> Refusal:
    with pytest.raises(PictureError) as caught:
        ask(request)
    return caught.value.refusal


def children() -> set[int]:
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # threads come and go
            found |= {int(child) for child in (task / "children").read_text("ascii").split()}
    return found


GOOD = Request(encoded(noise(6, 7, 3)), 42, None, 1 << 20)


def answers_the_next() -> bool:
    return ask(GOOD).pixels == noise(6, 7, 3).tobytes()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "AVIF"])
def test_the_same_pixels_as_in_this_process(kind: str) -> None:
    content = encoded(noise(40, 60, 3), kind)
    here, full = decode(content, shrink_to=10)
    guarded, full_guarded = decode_guarded(content, shrink_to=10)
    assert full == full_guarded
    np.testing.assert_array_equal(np.asarray(here), np.asarray(guarded))
    np.testing.assert_array_equal(np.asarray(decode_guarded(noise(4, 5, 3))[0]), noise(4, 5, 3))


def test_the_same_refusals_as_in_this_process() -> None:
    for content in (b"", b"text", encoded(noise(40, 60, 3))[:90], b"\xff\xd8\xff\xe0" + bytes(90)):
        with pytest.raises(PictureError) as here:
            decode(content)
        with pytest.raises(PictureError) as guarded:
            decode_guarded(content)
        assert here.value.refusal == guarded.value.refusal


def test_a_large_picture_is_reduced_where_a_small_one_is_needed() -> None:
    """Of 16-bit grey, whose last strip and column are narrower than the squares that are averaged."""
    height, width = 5_000, 7_001
    tones = np.broadcast_to((np.arange(width) * 9).astype(">u2"), (height, width))
    image, full = decode(f"P5 {width} {height} 65535\n".encode() + tones.tobytes(), shrink_to=300)
    assert full == (width, height)
    assert image.size == (876, 625)
    greys = np.rint(tones[0] / 257)
    np.testing.assert_allclose(np.asarray(image)[0, :875, 0], greys[:7_000].reshape(875, 8).mean(1), atol=0.51)


@ONLY_LINUX
def test_more_memory_than_its_header_says() -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    content = GOOD.content[:8] + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    request = Request(content + GOOD.content[33:], 10_000**2, None, 1 << 20)
    assert refusal(request) == Refusal("out_of_memory")
    assert answers_the_next()


def test_more_pixels_than_its_header_says() -> None:
    assert refusal(Request(GOOD.content, 20, None, GOOD.allowed)) == Refusal("damaged")
    assert answers_the_next()


@ONLY_LINUX
def test_more_processor_time_than_it_may_take() -> None:
    slow = b"P3 1500 1500 255\n" + b"7 " * (3 * 1500**2)
    assert refusal(Request(slow, 1500**2, None, 1 << 28, seconds=0)).code == "too_slow"
    assert answers_the_next()


@ONLY_LINUX
def test_a_process_that_was_killed_is_replaced() -> None:
    assert answers_the_next()
    for child in children():
        if b"guarded_child" in Path(f"/proc/{child}/cmdline").read_bytes():
            os.kill(child, signal.SIGKILL)
            while "\nState:\tZ" not in Path(f"/proc/{child}/status").read_text("ascii"):
                time.sleep(0.001)
    assert answers_the_next()


def test_a_worker_process_leaves_it_to_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = ByteBudget(lambda: 1 << 30)
    budget.restrict(1 << 20, leaves_large=True)
    monkeypatch.setattr("kilat.data.decode.decoded_bytes", budget)
    for content in (encoded(noise(40, 60, 3), "AVIF"), encoded(noise(2_000, 2_000), compress_level=1)):
        with pytest.raises(LeftToParent):
            decode(content)
    assert decode(encoded(noise(40, 60, 3)))[1] == (60, 40)
    assert not decoded_bytes.is_worker


START = """
import io, os, sys, time
from PIL import Image
from kilat.data.decode import decode_guarded
file = io.BytesIO()
Image.new("RGB", (5, 4)).save(file, "PNG")
print(decode_guarded(file.getvalue())[1], flush=True)
"""


@ONLY_LINUX
def test_it_starts_from_anywhere_and_ends_with_its_parent() -> None:
    tell = "print(open(f'/proc/self/task/{os.getpid()}/children').read(), flush=True)\n"
    with subprocess.Popen([sys.executable, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdin
        assert parent.stdout
        parent.stdin.write(START + tell + "time.sleep(60)\n")
        parent.stdin.close()
        assert parent.stdout.readline() == "(5, 4)\n"
        (child,) = map(int, parent.stdout.readline().split())
        os.kill(child, signal.SIGINT)  # Ctrl-C is for its parent
        time.sleep(0.05)
        assert Path(f"/proc/{child}").is_dir()
        parent.kill()
    until = time.monotonic() + 20
    while Path(f"/proc/{child}").is_dir() and time.monotonic() < until:
        time.sleep(0.02)
    assert not Path(f"/proc/{child}").is_dir()


@ONLY_LINUX
def test_a_process_that_was_forked_has_its_own() -> None:
    assert answers_the_next()
    child = os.fork()
    if not child:
        os._exit(0 if answers_the_next() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert answers_the_next()


def test_a_tiff_of_one_huge_tile_a_webp_of_a_huge_canvas_and_a_row_of_178_megapixels() -> None:
    """Small files that claim gigabytes are refused from their headers."""
    entries = ((256, 64), (257, 64), (258, 8), (259, 8), (262, 1), (322, 65_520), (323, 32_752), (324, 8), (325, 8))
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + bytes(12)
    side = (16_383 - 1).to_bytes(3, "little")
    webp = b"RIFF\x60\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0" + side + side + bytes(60)
    header = b"IHDR" + struct.pack(">IIBBBBB", 178_000_000, 1, 1, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + header + bytes(30)
    for content in (tiff, webp, png):
        with pytest.raises(PictureError) as caught:
            decode(content, shrink_to=224)
        assert caught.value.refusal.code == "too_much_memory"
