"""The peak memory of `kilat train` grows by features and catalog alone: shown at 200, 3,670 and 58,000 pictures.

Peak: the most memory that the whole process held at once, as the operating system counts it (maximum resident set).
From it are taken the feature matrix (pictures × features × 4 bytes) and the catalog (its table in pandas, in full);
what is left is shown for each number of pictures, and how much it grows per picture between the last two.

`--of cifar10` takes small photos as they are, thinned evenly to the numbers; `--of flowers` takes real photos of 256
pixels and more, repeated under other bytes (a JPEG with bytes after its end is the same picture and another content),
which takes several times as long. Every run starts with an empty cache and reads its pictures from a folder.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import _measure as measure
import pandas as pd
from PIL import Image

from kilat.features import lite

NUMBERS = (200, 3_670, 58_000)
_NOISE = 0.05
"""Share of a picture's own features by which what is left may seem to grow: allocators do not give back every page."""


@dataclass(frozen=True)
class Taken:
    """What a run took, in bytes."""

    pictures: int
    peak: int
    features: int
    catalog: int
    seconds: float

    @property
    def left(self) -> int:
        """The peak without features and catalog."""
        return self.peak - self.features - self.catalog


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="pictures in class folders, instead of the set's own")
    parser.add_argument("--of", choices=["cifar10", "flowers"], default="cifar10")
    parser.add_argument("--pictures", type=int, nargs="+", default=NUMBERS)
    given = parser.parse_args()
    source = measure.pictures_of(given.of, given.folder)
    measure.opening(__doc__)
    print(f"pictures  {given.of}, {side_of(source)}")
    taken = []
    for pictures in sorted(given.pictures):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / given.of
            (repeat if given.of == "flowers" else link)(source, pictures, folder)
            taken.append(train(folder, Path(place)))
            print(line(taken[-1]), flush=True)
    conclude(taken)


def train(folder: Path, place: Path) -> Taken:
    """One run, and what it took."""
    done = measure.train(folder, place / "runs", place / "cache")
    catalog = pd.read_csv(Path(done.document["run"]) / "catalog.csv", keep_default_na=False)
    width = lite.build(lite.STRIDE).width
    table = int(catalog.memory_usage(deep=True).sum())
    return Taken(len(catalog), done.peak, len(catalog) * width * 4, table, done.seconds)


def link(source: Path, count: int, folder: Path) -> None:
    """Fills a folder with links to ``count`` pictures, spread evenly over the source; train/ and test/ are merged."""
    files = measure.pictures_below(source)
    if count > len(files):
        measure.skip(f"{source} holds {len(files):,} pictures, fewer than {count:,}")
    for number in range(count):
        file = files[number * len(files) // count]
        target = folder / file.parent.name / f"{number}{file.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(file)


def repeat(source: Path, count: int, folder: Path) -> None:
    """Fills a folder with ``count`` photos, each content another; once through the source, they start anew."""
    files = measure.pictures_below(source)
    for number in range(count):
        file = files[number * len(files) // count % len(files)] if count <= len(files) else files[number % len(files)]
        target = folder / file.parent.name / f"{number}{file.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes() + f"\n{number}".encode())


def side_of(source: Path) -> str:
    """The size of the first picture."""
    with Image.open(measure.pictures_below(source)[0]) as image:
        return f"the first has {image.width}×{image.height} pixels"


def line(taken: Taken) -> str:
    """A run in a line."""
    return (
        f"n = {taken.pictures:>6,}   peak {megabytes(taken.peak)}   features {megabytes(taken.features)}   "
        f"catalog {megabytes(taken.catalog)}   left {megabytes(taken.left)}   in {taken.seconds:,.1f} s"
    )


def conclude(taken: list[Taken]) -> None:
    """What the last two runs say of the growth."""
    if len(taken) < 2:
        return
    fewer, more = taken[-2:]
    pictures = more.pictures - fewer.pictures
    grown = (more.left - fewer.left) / pictures
    own = more.features / more.pictures
    measured = (
        f"{grown:+,.0f} bytes a picture, {megabytes(more.left - fewer.left).strip()} for {pictures:,} pictures more "
        f"(features {own:,.0f} bytes a picture, catalog {more.catalog / more.pictures:,.0f})"
    )
    claim = (
        f"from {fewer.pictures:,} to {more.pictures:,} pictures what is left grows by ≤ {_NOISE:.0%} of the features"
    )
    measure.verdict(claim, measured, grown <= _NOISE * own)


def megabytes(size: int) -> str:
    """Bytes in megabytes."""
    return f"{size / 1e6:>8,.1f} MB"


if __name__ == "__main__":
    main()
