"""Fine-tuning never ends below the frozen baseline on the test by more than its interval: the choice is made honestly.

A whole `kilat train` by a recipe that fine-tunes, on three sets where that may well lose: the handwritten digits (all
1,797), some of Fashion-MNIST (stratified, its own test set), and flowers with 20 training pictures a class. Whether the
fine-tuned network replaces the frozen result is decided on validation pictures, which are taken from the training
pictures; the test set is used once, at the end, for both. Shown are the test accuracies (95% intervals) of the frozen
result, of the fine-tuned network and of what was kept, and whether the last lies below the first by more than half of
the first's interval. Another seed draws other pictures.

    python benchmarks/honest_choice.py --seeds 0 1 2
    python benchmarks/honest_choice.py --preset good --only flowers
    python benchmarks/honest_choice.py --quick                      whether it works, in a minute

`--quick` takes 8 training and 4 test pictures a class at 32 pixels (flowers: 64) and one epoch: its figures mean
nothing.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import _measure as measure
from _fine_tuning import FineTuningResult, accuracy, subset

from kilat.verbs.open_data import open_data

SETS = ("digits", "fashion-mnist", "flowers")
CLASSES = 10
_QUICK = (8, 4)


@dataclass(frozen=True)
class Case:
    """What is trained on: a known set, and how many training and test pictures of each class.

    Args:
        name: of the set.
        root: folder that holds it, where it is not embedded.
        train: training pictures a class; 0 for the whole set, as `kilat train` splits it.
        test: test pictures a class.
    """

    name: str
    root: Path | None
    train: int
    test: int

    def data(self, seed: int, workdir: Path) -> str:
        """Return what the command gets as its data."""
        if not self.train:
            return self.name
        source = open_data(self.name, root=self.root)
        return str(subset(source, workdir / self.name, train=self.train, test=self.test, seed=seed))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--recipe", default="finetune", help="one that fine-tunes")
    group.add_argument("--preset", help="instead of a recipe: good or best")
    parser.add_argument("--only", action="append", choices=SETS, help="a set; may be repeated")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--root", type=Path, help="folder with copies of fashion-mnist and flowers")
    parser.add_argument("--fashion", type=int, default=2000, help="its training pictures")
    parser.add_argument("--fashion-test", type=int, default=2000, help="its test pictures")
    parser.add_argument("--flowers", type=int, default=20, help="its training pictures a class")
    parser.add_argument("--flowers-test", type=int, default=100, help="its test pictures a class")
    parser.add_argument("--quick", action="store_true", help="whether it works; the figures mean nothing")
    args = parser.parse_args()
    method = ("--preset", args.preset) if args.preset else ("--recipe", args.recipe)
    measure.print_header(__doc__, *measure.PACKAGES, "torch", "timm")
    print(f"method    {' '.join(method)}{'; QUICK: the figures mean nothing' if args.quick else ''}", flush=True)
    results = [(task.name, run(task, seed, method, quick=args.quick)) for task in tasks(args) for seed in args.seeds]
    for name in dict.fromkeys(name for name, _ in results):
        shortfalls = [shortfall(result) for one, result in results if one == name]
        words = ", ".join(f"{value:+.4f}" for value in shortfalls)
        holds = all(value <= 0 for value in shortfalls)
        measure.verdict(
            f"{name}: kept ≥ frozen − half its interval", f"shortfall {words} (n={len(shortfalls)} runs)", holds
        )


def tasks(args: argparse.Namespace) -> Iterator[Case]:
    """Yield the chosen sets; skip where one of them is not here."""
    counts = {
        "digits": (0, 0),
        "fashion-mnist": (args.fashion // CLASSES, args.fashion_test // CLASSES),
        "flowers": (args.flowers, args.flowers_test),
    }
    for name in args.only or SETS:
        root = None
        if name != "digits":
            root = measure.dataset_folder(name, args.root / name if args.root else None).parent
        yield Case(name, root, *(_QUICK if args.quick else counts[name]))


def run(task: Case, seed: int, method: Sequence[str], *, quick: bool) -> FineTuningResult:
    """Train once and print the results."""
    options = [*method, "--seed", str(seed)]
    if quick:
        options += ["--epochs", "1", "--size", "64" if task.name == "flowers" else "32"]
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder)
        done = measure.train(task.data(seed, workdir), workdir / "runs", workdir / "cache", *options)
    metrics = done.document["metrics"]
    result = FineTuningResult.of(metrics)
    pictures = sum(metrics["data"][split] for split in ("train", "validation", "calibration"))
    print(f"{task.name}, seed {seed}: {pictures:,} pictures besides the test set, {done.seconds:.1f} s")
    print(
        f"    frozen {accuracy(result.frozen)}, fine-tuned {accuracy(result.fine_tuned)}, kept {accuracy(result.kept)}"
    )
    print(f"    kept {result.which}: gain in log loss on validation {result.gain}")
    print(f"    kept ≥ frozen − half its interval: {'yes' if shortfall(result) <= 0 else 'NO'}", flush=True)
    return result


def shortfall(result: FineTuningResult) -> float:
    """Return how far what was kept lies below the frozen result less half its interval; at most 0 if it does not."""
    low, high = result.frozen["accuracy_interval"]
    return float(result.frozen["accuracy"] - (high - low) / 2 - result.kept["accuracy"])


if __name__ == "__main__":
    main()
