"""The peak memory of `kilat train` grows by features and catalog alone: shown at 200, 3,670 and 58,000 pictures.

Peak: the most memory that the whole process held at once, as the operating system reports it (maximum resident set).
From it the feature matrix (pictures × features × 4 bytes) and the catalog (its table in pandas, in full) are
subtracted; the rest is shown for each number of pictures, and how much it grows per picture between the last two.

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
_TOLERANCE = 0.05
"""Share of a picture's features by which the rest may seem to grow: allocators do not return every page."""


@dataclass(frozen=True)
class Memory:
    """The memory of a run in bytes, and its seconds."""

    pictures: int
    peak: int
    features: int
    catalog: int
    seconds: float

    @property
    def rest(self) -> int:
        """The peak without features and catalog."""
        return self.peak - self.features - self.catalog


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="pictures in class folders, instead of the set's own")
    parser.add_argument("--of", choices=["cifar10", "flowers"], default="cifar10")
    parser.add_argument("--pictures", type=int, nargs="+", default=NUMBERS)
    args = parser.parse_args()
    source = measure.dataset_folder(args.of, args.folder)
    measure.print_header(__doc__)
    print(f"pictures  {args.of}, {side_of(source)}")
    runs = []
    for pictures in sorted(args.pictures):
        with tempfile.TemporaryDirectory() as workdir:
            folder = Path(workdir) / args.of
            (repeat if args.of == "flowers" else link)(source, pictures, folder)
            runs.append(train(folder, Path(workdir)))
            print(line(runs[-1]), flush=True)
    conclude(runs)


def train(folder: Path, workdir: Path) -> Memory:
    """Train once and return the memory of it."""
    done = measure.train(folder, workdir / "runs", workdir / "cache")
    catalog = pd.read_csv(Path(done.document["run"]) / "catalog.csv", keep_default_na=False)
    width = lite.build(lite.STRIDE).width
    table = int(catalog.memory_usage(deep=True).sum())
    return Memory(len(catalog), done.peak, len(catalog) * width * 4, table, done.seconds)


def link(source: Path, count: int, folder: Path) -> None:
    """Fill a folder with links to ``count`` pictures, evenly spaced over the source; train/ and test/ are merged."""
    files = measure.list_pictures(source)
    if count > len(files):
        measure.skip(f"{source} holds {len(files):,} pictures, fewer than {count:,}")
    for number in range(count):
        file = files[number * len(files) // count]
        target = folder / file.parent.name / f"{number}{file.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(file)


def repeat(source: Path, count: int, folder: Path) -> None:
    """Fill a folder with ``count`` photos, all of different bytes; the source is repeated as often as needed."""
    files = measure.list_pictures(source)
    for number in range(count):
        file = files[number * len(files) // count % len(files)] if count <= len(files) else files[number % len(files)]
        target = folder / file.parent.name / f"{number}{file.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes() + f"\n{number}".encode())


def side_of(source: Path) -> str:
    """Return the size of the first picture, in words."""
    with Image.open(measure.list_pictures(source)[0]) as image:
        return f"the first has {image.width}×{image.height} pixels"


def line(run: Memory) -> str:
    """Return a run in a line."""
    return (
        f"n = {run.pictures:>6,}   peak {megabytes(run.peak)}   features {megabytes(run.features)}   "
        f"catalog {megabytes(run.catalog)}   rest {megabytes(run.rest)}   in {run.seconds:,.1f} s"
    )


def conclude(runs: list[Memory]) -> None:
    """Print how much the last two runs differ."""
    if len(runs) < 2:
        return
    fewer, more = runs[-2:]
    pictures = more.pictures - fewer.pictures
    growth = (more.rest - fewer.rest) / pictures
    per_picture = more.features / more.pictures
    measured = (
        f"{growth:+,.0f} bytes a picture, {megabytes(more.rest - fewer.rest).strip()} for {pictures:,} pictures more "
        f"(features {per_picture:,.0f} bytes a picture, catalog {more.catalog / more.pictures:,.0f})"
    )
    claim = (
        f"from {fewer.pictures:,} to {more.pictures:,} pictures the rest grows by ≤ {_TOLERANCE:.0%} of the features"
    )
    measure.verdict(claim, measured, growth <= _TOLERANCE * per_picture)


def megabytes(size: int) -> str:
    """Return bytes in megabytes, in words."""
    return f"{size / 1e6:>8,.1f} MB"


if __name__ == "__main__":
    main()
