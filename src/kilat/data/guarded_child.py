"""What runs in a guarded process (``kilat.data.guarded_process``): read a picture, decode it within limits, answer."""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import AvifImagePlugin, Image

from kilat.data.decode import decode_here, picture_errors, without_warnings
from kilat.data.file_stats import new_file_stats
from kilat.data.guarded_process import ANSWER, REQUEST
from kilat.data.picture_header import STRIP_PIXELS
from kilat.errors import PictureError

with contextlib.suppress(ImportError):  # Windows
    import resource

_SLACK = 128 << 20
"""Bytes that the libraries take besides, whatever the picture."""


def serve() -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # threads take address space
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    with without_warnings(), answers, contextlib.suppress(BrokenPipeError):
        while _answer_one(sys.stdin.buffer, answers):
            pass


def _answer_one(requests: BinaryIO, answers: BinaryIO) -> bool:
    head = requests.read(REQUEST.size)
    if len(head) < REQUEST.size:
        return False
    size, most_pixels, shrink_to, allowed, seconds = REQUEST.unpack(head)
    _limit(size + allowed, seconds)
    content = requests.read(size)
    if len(content) < size:
        return False
    image = None
    try:
        with picture_errors():
            Image.MAX_IMAGE_PIXELS = -(-most_pixels // 2)  # Pillow refuses pictures of more than twice as many
            stats = new_file_stats()
            image, full = decode_here(content, most_pixels, shrink_to or None, stats)
            said = {"size": image.size, "full": full, "file_stats": stats.tobytes().hex()}
    except PictureError as error:
        image, said = None, {"code": error.refusal.code, "detail": error.refusal.detail}
    text = json.dumps(said).encode()
    answers.write(ANSWER.pack(len(text), 3 * image.width * image.height if image else 0) + text)
    answers.writelines(_strips(image) if image else ())
    answers.flush()
    return True


def _strips(image: Image.Image) -> Iterator[bytes]:
    """Yield the pixels in parts, so that there is no second copy of all of them."""
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height))).tobytes()


def _limit(allowed: int, seconds: float) -> None:
    """Set how much memory and processor time this process may take from now on, where the system has such limits."""
    if "resource" not in globals():
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = resource.getrusage(resource.RUSAGE_SELF)
    _lower(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + seconds) + 1)
    with contextlib.suppress(OSError):  # not Linux
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + allowed + _SLACK)


def _lower(kind: int, value: int) -> None:
    """Set a limit of its own, never above that of the user."""
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
