"""Time limits hold for whole commands, within a tenth of the limit or three seconds, alone and beside other programs.

Every case trains with an empty cache, so that nothing was extracted before; what was given up is printed as noted:
400 classes of 2 drawn pictures at 10 s, 1,200 of 2 at 40 s, flowers at 1 minute with the preset `good` alone and `best`
alone and beside two busy processes, CIFAR-10 (60,000 pictures) at 60 s. 400 classes are timed without a limit too; no
time is claimed.

    python benchmarks/time_limits.py [--flowers DIR] [--root DIR] [--only NAME]     DIR/cifar10 for --root
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import _measure as measure
import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Case:
    """A command with a limit, and how many busy processes run beside it."""

    name: str
    arguments: tuple[str, ...]
    limit: float | None
    busy: int = 0


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flowers", type=Path, help="folder of the flowers")
    parser.add_argument("--root", type=Path, help="folder with a copy of cifar10")
    parser.add_argument("--only", help="cases whose name begins so")
    args = parser.parse_args()
    measure.print_header(__doc__)
    with tempfile.TemporaryDirectory() as workdir:
        place = Path(workdir)
        for case in cases(place, args.flowers, args.root):
            if case.name.startswith(args.only or ""):
                time_case(case, place)


def cases(place: Path, flowers: Path | None, root: Path | None) -> Iterator[Case]:
    """Yield the cases, their pictures drawn when they are come to."""
    many = draw(place / "many", 400, 2)
    yield Case("many", (str(many),), None)
    yield Case("many-10s", (str(many),), 10)
    yield Case("more-40s", (str(draw(place / "more", 1200, 2)),), 40)
    if flowers or (root and (root / "flowers").is_dir()):
        folder = str(measure.dataset_folder("flowers", flowers or (root and root / "flowers")))
        yield Case("good-60s", (folder, "--preset", "good"), 60)
        yield Case("best-60s", (folder, "--preset", "best"), 60)
        yield Case("best-60s-busy", (folder, "--preset", "best"), 60, busy=2)
    if root:
        yield Case("cifar10-60s", ("cifar10", "--root", str(root)), 60)


def time_case(case: Case, place: Path) -> None:
    """Run a case, and print how long it took and what it gave up."""
    limit = ("--time-limit", f"{case.limit:g}s") if case.limit else ()
    with tempfile.TemporaryDirectory() as cache, beside(case.busy):
        data, *options = case.arguments
        done = measure.train(data, place / "runs", Path(cache), *options, *limit)
    metrics = done.document["metrics"]
    noted = [note["code"] for note in metrics["notes"] if "time" in note["code"]]
    print(f"{case.name}: {done.seconds:.1f} s; test accuracy {metrics['test']['accuracy']}; noted {', '.join(noted)}")
    print(f"          {json.dumps(metrics['timing'])}")
    if case.limit:
        allowed = case.limit + max(0.1 * case.limit, 3.0)
        measure.verdict(f"{case.name} within {allowed:g} s", f"{done.seconds:.1f} s", done.seconds <= allowed)


@contextlib.contextmanager
def beside(busy: int) -> Iterator[None]:
    """Keep so many processes busy while the block lasts."""
    spin: Sequence[str] = (sys.executable, "-c", "while True: pass")
    others = [subprocess.Popen(spin) for _ in range(busy)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def draw(folder: Path, classes: int, pictures: int) -> Path:
    """Return a folder of classes, each of which has four by four colours of its own."""
    dice = np.random.default_rng(0)
    for label in range(classes):
        own = folder / f"class{label:04}"
        own.mkdir(parents=True)
        base = dice.integers(30, 220, (4, 4, 3))
        for number in range(pictures):
            colours = np.clip(base + dice.normal(0, 30, base.shape), 0, 255)
            pixels = np.kron(colours, np.ones((16, 16, 1))) + dice.normal(0, 15, (64, 64, 3))
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(own / f"{number}.jpg")
    return folder


if __name__ == "__main__":
    main()
