"""The header of a picture is read first in a few microseconds, and a JPEG scan of 400 megapixels is used.

Claimed: reading the header takes less processor time than Pillow takes to open the picture, for photographs and for
PNGs of 32×32; a scan of 20,000×20,000 is decoded for a network of 224 pixels within the memory that decoding is
allowed. Times of headers are medians of 7 rounds over 200 pictures, in turn; the scan is written by one process and
decoded by another, from start to end, whose most memory the system tells.

    python benchmarks/decoding.py [FOLDER_OF_PHOTOGRAPHS]
"""

import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import _measure as measure
from PIL import Image

from kilat.data.picture_header import read_header
from kilat.runtime.memory import decoding_memory

ROUNDS, PICTURES = 7, 200
WRITE = """
import sys
from PIL import Image
Image.effect_noise((80, 80), 90).convert("RGB").resize((20_000, 20_000)).save(sys.argv[1], "JPEG")
"""
DECODE = """
import sys
from pathlib import Path
from kilat.data.decode import decode
image, full = decode(Path(sys.argv[1]).read_bytes(), shrink_to=224)
print(full, "as", image.size)
"""


def microseconds(work: Callable[[bytes], object], pictures: Sequence[bytes]) -> float:
    """Return the processor time of some work on one of the pictures."""
    start = time.process_time()
    for picture in pictures:
        work(picture)
    return (time.process_time() - start) / len(pictures) * 1e6


def as_png(photo: bytes) -> bytes:
    """Return a photograph as a PNG of 32×32."""
    file = io.BytesIO()
    Image.open(io.BytesIO(photo)).resize((32, 32)).save(file, "PNG")
    return file.getvalue()


def open_image(picture: bytes) -> object:
    """Have Pillow open a picture, without decoding it."""
    return Image.open(io.BytesIO(picture))


def main() -> None:
    """Measure both."""
    measure.print_header(__doc__)
    folder = measure.dataset_folder("flowers", Path(sys.argv[1]) if sys.argv[1:] else None)
    photos = [file.read_bytes() for file in measure.list_pictures(folder)[:PICTURES]]
    for name, pictures in {"photographs": photos, "PNGs of 32×32": [*map(as_png, photos)]}.items():
        rivals = {
            "header": partial(microseconds, read_header, pictures),
            "Pillow": partial(microseconds, open_image, pictures),
        }
        times = measure.interleave(ROUNDS, rivals)
        shown = f"{measure.summary(times['header'], 'µs', 1)} against {measure.summary(times['Pillow'], 'µs', 1)}"
        holds = statistics.median(times["header"]) < statistics.median(times["Pillow"])
        measure.verdict(f"the header of {name} (n = {len(pictures)}) before Pillow has opened it", shown, holds)
    with tempfile.TemporaryDirectory() as temporary:
        path = str(Path(temporary, "scan.jpg"))
        measure.run([sys.executable, "-c", WRITE, path])
        done = measure.run([sys.executable, "-c", DECODE, path])
    shown = f"{done.output.strip()} in {done.seconds:.2f} s, {done.peak / 1e6:,.0f} MB at most"
    measure.verdict("400 megapixels within the memory for decoding", shown, done.peak < decoding_memory())


if __name__ == "__main__":
    main()
