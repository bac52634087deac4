"""Preset `best` trains a backbone further where that wins, and spends little on it where it does not.

Each run is a whole `kilat train --preset best` on the CPU with an empty cache; with `--exhaustive` another follows on
the same pictures that trains in any case and to the end of its epochs (`fit.when=always`, no early stopping), which
shows whether fine-tuning would have won by more than noise on the validation pictures. Sets: flowers (all); digits
(all); 2,000 pictures of Fashion-MNIST with 2,000 for the test; 20 flowers a class with 100 for the test; and two that
are unlike ImageNet, drawn from the seed (`_drawn_sets.py`): metal surfaces with faults, and weaves, 200 a class with
100 for the test. Shown are what spoke for and against a training, its seconds and their share of the whole, what was
kept, and the test accuracy of both. Another seed draws other pictures.

    python benchmarks/worth_finetuning.py --seeds 0 --root ~/data                two minutes a set, more where it trains
    python benchmarks/worth_finetuning.py --exhaustive --only inspection --only weaves
    python benchmarks/worth_finetuning.py --quick                                whether it works

`--quick` takes 8 training and 4 test pictures a class at 32 pixels and one epoch: its figures mean nothing.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _measure as measure
from _drawn_sets import SETS as DRAWN
from _drawn_sets import draw_set
from _fine_tuning import FineTuningResult, accuracy, subset

from kilat.verbs.open_data import open_data

COUNTS = {
    "flowers": (0, 0), "digits": (0, 0), "fashion-mnist": (200, 200), "flowers-20": (20, 100),
    **dict.fromkeys(DRAWN, (200, 100)),
}  # fmt: skip
"""Training and test pictures of each class, by set; 0 for the whole set, as `kilat train` splits it."""
MOST_WASTED, LEAST_FOUND = 0.15, 0.8
_QUICK = (8, 4)
_IN_ANY_CASE = ("--set", "fit.when=always", "--set", "fit.early_stopping=null")


@dataclass(frozen=True)
class Run:
    """One set and seed: whole seconds and metrics with the judgement, and metrics of training in any case."""

    name: str
    seed: int
    seconds: float
    metrics: dict[str, Any]
    exhaustive: dict[str, Any] | None

    @property
    def kept(self) -> str:
        """What answers: ``frozen`` or ``fine_tuned``."""
        return FineTuningResult.of(self.metrics).which

    @property
    def training_share(self) -> float:
        """The share of the whole run that training took, reading its pictures included."""
        timing = self.metrics["timing"]
        return float(timing.get("pictures_s", 0.0) + timing.get("fit_s", 0.0)) / self.seconds


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=COUNTS, help="a set; may be repeated")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--root", type=Path, help="folder with copies of fashion-mnist and flowers")
    parser.add_argument("--exhaustive", action="store_true", help="train in any case as well, which takes much longer")
    parser.add_argument("--quick", action="store_true", help="whether it works; the figures mean nothing")
    args = parser.parse_args()
    measure.print_header(__doc__, *measure.PACKAGES, "torch", "timm")
    print("QUICK: the figures mean nothing" if args.quick else "", flush=True)
    runs = []
    for name in args.only or COUNTS:
        for seed in args.seeds:
            runs.append(measured(name, seed, args))
            show(runs[-1])
    claims(runs)


def measured(name: str, seed: int, args: argparse.Namespace) -> Run:
    """Train once with the judgement, and if asked for once in any case."""
    options = ["--preset", "best", "--seed", str(seed), *(("--size", "32", "--epochs", "1") if args.quick else ())]
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder)
        data = pictures(name, seed, workdir, args.root, quick=args.quick)
        done = measure.train(data, workdir / "runs", workdir / "cache", *options)
        exhaustive = None
        if args.exhaustive:
            again = measure.train(data, workdir / "runs", workdir / "cache", *options, *_IN_ANY_CASE)
            exhaustive = again.document["metrics"]
    return Run(name, seed, done.seconds, done.document["metrics"], exhaustive)


def pictures(name: str, seed: int, workdir: Path, root: Path | None, *, quick: bool) -> str:
    """Return what the command gets as its data, drawn or copied where that is part of a set."""
    train, test = _QUICK if quick else COUNTS[name]
    if name in DRAWN:
        return str(draw_set(name, workdir / name, train=train, test=test, seed=seed))
    if name == "digits":
        return name
    known = name.removesuffix("-20")
    folder = measure.dataset_folder(known, root / known if root else None)
    if not train:
        return str(folder)
    source = open_data(known, root=folder.parent)
    return str(subset(source, workdir / name, train=train, test=test, seed=seed))


def show(run: Run) -> None:
    """Print one run."""
    result, prospects = FineTuningResult.of(run.metrics), run.metrics["prospects"]
    print(f"{run.name}, seed {run.seed}: test {accuracy(result.kept)}, {run.seconds:.1f} s, kept {result.which}")
    print(
        f"    {prospects['mistakes']} of {prospects['pictures']} validation pictures wrong, domain shift "
        f"{prospects['domain_shift']:.3f}, gain expected {prospects['expected_gain']:.0%}, needed "
        f"{prospects['needed_gain']:.0%}",
        flush=True,
    )
    if result.fine_tuned is not None:
        epochs = run.metrics["fit"]["epochs"]
        print(
            f"    trained {epochs} epochs, {run.training_share:.0%} of the time: test {accuracy(result.fine_tuned)}, "
            f"frozen {accuracy(result.frozen)}, gain in log loss on validation {result.gain}"
        )
    if run.exhaustive is not None:
        other = FineTuningResult.of(run.exhaustive)
        print(
            f"    in any case: test {accuracy(other.fine_tuned)}, gain in log loss on validation {other.gain}, kept "
            f"{other.which}"
        )


def claims(runs: Sequence[Run]) -> None:
    """Print whether the claims hold."""
    wasted = [run for run in runs if run.kept == "frozen"]
    if wasted:
        worst = max(wasted, key=lambda run: run.training_share)
        measure.verdict(
            f"training that is not kept takes ≤ {MOST_WASTED:.0%} of the time",
            f"{worst.training_share:.0%} at worst ({worst.name}, seed {worst.seed}, n={len(wasted)} runs)",
            worst.training_share <= MOST_WASTED,
        )
    wins = [run for run in runs if run.exhaustive and FineTuningResult.of(run.exhaustive).which == "fine_tuned"]
    if wins:
        found = sum(run.kept == "fine_tuned" for run in wins)
        measure.verdict(
            f"where fine-tuning wins it is found in ≥ {LEAST_FOUND:.0%}",
            f"{found} of {len(wins)}",
            found >= LEAST_FOUND * len(wins),
        )


if __name__ == "__main__":
    main()
