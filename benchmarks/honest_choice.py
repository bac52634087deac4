"""Fine-tuning never ends below the frozen baseline on the test by more than its interval: the choice is made honestly.

A whole `kilat train` by a recipe that fine-tunes, on three sets where that may well lose: the handwritten digits (all
1,797), some of Fashion-MNIST (stratified, its own test), and flowers with 20 pictures a class to learn from. Whether
the fine-tuned network replaces the frozen result is decided on validation pictures, which are taken from those to
learn from; the test is asked once, at the end, about both. Shown are the test accuracies (95% intervals) of the frozen
result, of the fine-tuned network and of what was kept, and whether the last lies below the first by more than half of
the first's interval. Another seed draws other pictures.

    python benchmarks/honest_choice.py --seeds 0 1 2
    python benchmarks/honest_choice.py --preset good --only flowers
    python benchmarks/honest_choice.py --quick                      whether it works, in a minute

`--quick` takes 8 pictures a class to learn from and 4 to ask about at 32 pixels (flowers: 64) and one epoch: its
figures mean nothing.
"""

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import _measure as measure
from _fine_tuning import Told, accuracy, subset

from kilat.verbs.train import open_data

SETS = ("digits", "fashion-mnist", "flowers")
CLASSES = 10
_QUICK = (8, 4)


@dataclass(frozen=True)
class Task:
    """What is trained on: a known set, and how many pictures of each class, to learn from and to ask about.

    Args:
        name: of the set.
        root: folder that holds it, where it is not embedded.
        learn: pictures a class to learn from; 0 for the whole set, as `kilat train` splits it.
        test: pictures a class to ask about.
    """

    name: str
    root: Path | None
    learn: int
    test: int

    def data(self, seed: int, place: Path) -> str:
        """What the command gets."""
        if not self.learn:
            return self.name
        source = open_data(self.name, self.root)
        return str(subset(source, place / self.name, learn=self.learn, test=self.test, seed=seed))


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--recipe", default="finetune", help="one that fine-tunes")
    way.add_argument("--preset", help="instead of a recipe: good or best")
    parser.add_argument("--only", action="append", choices=SETS, help="a set; may be said again")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--root", type=Path, help="folder with copies of fashion-mnist and flowers")
    parser.add_argument("--fashion", type=int, default=2000, help="its pictures to learn from")
    parser.add_argument("--fashion-test", type=int, default=2000, help="its pictures to ask about")
    parser.add_argument("--flowers", type=int, default=20, help="its pictures a class to learn from")
    parser.add_argument("--flowers-test", type=int, default=100, help="its pictures a class to ask about")
    parser.add_argument("--quick", action="store_true", help="whether it works; the figures mean nothing")
    given = parser.parse_args()
    way_said = ("--preset", given.preset) if given.preset else ("--recipe", given.recipe)
    measure.opening(__doc__, *measure.PACKAGES, "torch", "timm")
    print(f"way       {' '.join(way_said)}{'; QUICK: the figures mean nothing' if given.quick else ''}", flush=True)
    found = [(task.name, run(task, seed, way_said, quick=given.quick)) for task in tasks(given) for seed in given.seeds]
    for name in dict.fromkeys(name for name, _told in found):
        short = [falls_short(told) for one, told in found if one == name]
        words = ", ".join(f"{value:+.4f}" for value in short)
        holds = all(value <= 0 for value in short)
        measure.verdict(f"{name}: kept ≥ frozen − half its interval", f"short by {words} (n={len(short)} runs)", holds)


def tasks(given: argparse.Namespace) -> Iterator[Task]:
    """The sets that were asked for; skips where one of them is not here."""
    counts = {
        "digits": (0, 0),
        "fashion-mnist": (given.fashion // CLASSES, given.fashion_test // CLASSES),
        "flowers": (given.flowers, given.flowers_test),
    }
    for name in given.only or SETS:
        root = None
        if name != "digits":
            root = measure.pictures_of(name, given.root / name if given.root else None).parent
        yield Task(name, root, *(_QUICK if given.quick else counts[name]))


def run(task: Task, seed: int, way: tuple[str, ...], *, quick: bool) -> Told:
    """One whole run, printed."""
    options = [*way, "--seed", str(seed)]
    if quick:
        options += ["--epochs", "1", "--size", "64" if task.name == "flowers" else "32"]
    place = Path(tempfile.mkdtemp())
    try:
        done = measure.train(task.data(seed, place), place / "runs", place / "cache", *options)
    finally:
        shutil.rmtree(place)
    metrics = done.document["metrics"]
    told = Told.of(metrics)
    learnt = sum(metrics["data"][split] for split in ("train", "validation"))
    print(f"{task.name}, seed {seed}: {learnt:,} pictures to learn from, {done.seconds:.1f} s")
    print(f"    frozen {accuracy(told.frozen)}, fine-tuned {accuracy(told.tuned)}, kept {accuracy(told.kept)}")
    print(f"    kept {told.which}: gain in log loss on validation {told.gain}")
    print(f"    kept ≥ frozen − half its interval: {'yes' if falls_short(told) <= 0 else 'NO'}", flush=True)
    return told


def falls_short(told: Told) -> float:
    """By how much what was kept lies below the frozen result less half its interval; not above 0 where it does not."""
    low, high = told.frozen["accuracy_interval"]
    return float(told.frozen["accuracy"] - (high - low) / 2 - told.kept["accuracy"])


if __name__ == "__main__":
    main()
