"""Shortcuts planted in the flowers: every class in turn gets a frame or another JPEG quality; does kilat warn of it?

A frame replaces the outer 4 pixels, in black, white, grey or the class's mean colour, saved with the file's
own quantisation tables and subsampling, so that nothing but the frame differs. Another quality is a re-save at 40, 60,
75, 85 or 90. For each of the 45 sets the warning that names the class is printed: its severity, group and balanced
accuracy on held-out pictures, and how many other warnings there were. First comes the set as it is, without warnings.
Image stats are measured once, and again only of the class that was altered.
"""

import argparse
import io
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import _measure as measure
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageOps, JpegImagePlugin

from kilat.check import shortcuts
from kilat.data.catalog import Catalog
from kilat.data.decode import decode
from kilat.data.folder import FolderSource
from kilat.data.image_stats import IMAGE_STATS, image_stats

SIDE = 256
FRAME = 4
QUALITIES = (40, 60, 75, 85, 90)
TONES = {"black": (0, 0, 0), "white": (255, 255, 255), "grey": (128, 128, 128)}
Change = Callable[[bytes], bytes]
Stats = NDArray[np.void]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, help="folder of the flowers")
    parser.add_argument("--only", help="one class")
    args = parser.parse_args()
    measure.print_header(__doc__, "pillow")
    source = FolderSource(measure.dataset_folder("flowers", args.flowers))
    table = Catalog.from_entries(source.entries).table
    files = [source.read(row) for row in range(len(table))]
    stats = measure_stats(files)
    start = time.perf_counter()
    findings = shortcuts.find(table, stats)
    print(f"as it is: {len(findings)} warnings in {len(table)} pictures, in {time.perf_counter() - start:.2f} s")
    for label in [args.only] if args.only else sorted(set(table["label"])):
        rows = np.flatnonzero(table["label"] == label)
        mean_colour = tuple(stats["colour_grid"][rows].mean(axis=(0, 1, 2)).round().astype(int).tolist())
        for name, change in changes(mean_colour):
            altered = stats.copy()
            altered[rows] = measure_stats([change(files[row]) for row in rows])
            print(f"{label:12} {name:12} {outcome(table, altered, label)}", flush=True)


def changes(mean_colour: tuple[int, ...]) -> Iterator[tuple[str, Change]]:
    """Yield what is done to the files of a class, with its name."""
    for name, tone in {**TONES, "mean colour": mean_colour}.items():
        yield name, partial(framed, tone=tone)
    for quality in QUALITIES:
        yield f"quality {quality}", partial(resaved, quality=quality)


def framed(data: bytes, tone: tuple[int, ...]) -> bytes:
    """Return the picture with a frame, compressed as it was."""
    with Image.open(io.BytesIO(data)) as image:
        assert isinstance(image, JpegImagePlugin.JpegImageFile), "the flowers are JPEG files"
        tables, sampling = image.quantization, JpegImagePlugin.get_sampling(image)
        changed = ImageOps.expand(ImageOps.crop(image.convert("RGB"), FRAME), FRAME, tone)
    buffer = io.BytesIO()
    changed.save(buffer, "JPEG", qtables=tables, subsampling=sampling)
    return buffer.getvalue()


def resaved(data: bytes, quality: int) -> bytes:
    """Return the picture at another JPEG quality."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.convert("RGB").save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def measure_stats(files: list[bytes]) -> Stats:
    """Return the image stats of files, ``[n]``."""
    stats = np.zeros(len(files), IMAGE_STATS)
    for row, data in enumerate(files):
        image, full = decode(data, shrink_to=SIDE)
        stats[row] = image_stats([data], [image], full)[0]
    return stats


def outcome(table: pd.DataFrame, stats: Stats, label: str) -> str:
    """Return the warning that names the class, in one line."""
    findings = shortcuts.find(table, stats)
    own = [f for f in findings if any(rule["label"] == label for rule in f.values["rules"])]
    if not own:
        return f"MISSED ({len(findings)} other warnings)"
    rule = next(rule for rule in own[0].values["rules"] if rule["label"] == label)
    low, high = rule["balanced_accuracy_interval"]
    return (
        f"{own[0].severity:8} {own[0].values['group']:12} {rule['balanced_accuracy']:.1%} ({low:.1%} to {high:.1%}) "
        f"{rule['pictures_with']} of {rule['pictures']} have this {rule['trait']}, "
        f"{rule['others_with']} of {rule['others']} others; {len(findings) - 1} other warnings"
    )


if __name__ == "__main__":
    main()
