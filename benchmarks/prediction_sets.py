"""Prediction sets: coverage over 100 resplits within 1 point of the target, LAC sizes within 5% of MAPIE's; the ECE.

A linear head on a frozen backbone is fitted to CIFAR-10 (the shared copy, its own test set) and calibrated, as by
`kilat train`; features come from the feature cache where they are cached. The calibrated probabilities of
the test pictures are split in two halves at random, again and again: one half sets the thresholds, the other
half is measured, for coverages of 0.8, 0.9 and 0.95, by LAC and RAPS, with one threshold for all classes and one per
class.
MAPIE gets the same probabilities and the same splits in the same run. Sets may be empty here; sets that always hold
the likeliest class, as those of kilat's classifiers do, are shown as well.

The calibration error (15 bins) is that of all test pictures, before and after calibration, with the temperature fitted
by cross-validation on the training pictures.

MAPIE lives in an environment of its own, named by `--mapie` or `MAPIE_PYTHON`; without, its claims are left out:

    python3 -m venv mp && mp/bin/pip install mapie
    python benchmarks/prediction_sets.py --mapie mp/bin/python
    python benchmarks/prediction_sets.py --pictures 6000 --resplits 10     whether it works; the figures mean nothing
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _measure as measure
import numpy as np
from numpy.typing import NDArray

from kilat.evaluate.conformal import ConformalSets, Method, measure_sets
from kilat.learn.frozen import learn_head
from kilat.learn.learned import SplitLogits
from kilat.learn.time_budget import TimeBudget
from kilat.recipe import load
from kilat.runtime.progress import silent
from kilat.runtime.timer import Timer
from kilat.verbs.open_data import open_data

COVERAGES = (0.8, 0.9, 0.95)
MAX_COVERAGE_ERROR, MAX_SIZE_DIFFERENCE, MAX_ECE = 0.01, 0.05, 0.02
METHODS: tuple[Method, ...] = ("lac", "raps")

Rows = list[list[float]]
"""Of every split: coverage, mean size, share of empty sets and, for kilat, the coverage of the worst class."""
Results = dict[str, dict[str, Rows]]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="pictures in class folders; CIFAR-10 by default")
    parser.add_argument("--mapie", default=os.environ.get("MAPIE_PYTHON"), help="a Python that has MAPIE")
    parser.add_argument("--pictures", type=int, default=0, help="use only so many, evenly spaced (0: all)")
    parser.add_argument("--resplits", type=int, default=100)
    parser.add_argument("--json", type=Path, help="write everything that was measured into this file")
    args = parser.parse_args()
    python = find_mapie(args.mapie)
    with tempfile.TemporaryDirectory() as workdir:
        folder = measure.subsample(measure.dataset_folder("cifar10", args.folder), args.pictures, Path(workdir))
        measure.print_header(__doc__, *measure.PACKAGES)
        begin = time.perf_counter()
        split = train(folder)
        measures = split.measures()["test"]
        print(f"trained   in {time.perf_counter() - begin:.0f} s; {len(split.classes)} classes; ", end="")
        print(f"test accuracy {measures['accuracy']:.4f}, n={measures['n']:,}; temperature {split.temperature:.3f}")
        show_calibration(measures)
        probabilities, truth, n = split.test_probabilities, split.test.truth, measures["n"]
        rng = np.random.default_rng(0)
        splits = np.stack([rng.permutation(n) for _ in range(args.resplits)])
        print(
            f"splits    n={len(splits)}: {n // 2:,} pictures for calibration, {n - n // 2:,} for the test", flush=True
        )
        ours = resplit(probabilities, truth, splits)
        for name, rows in ours.items():
            show("kilat", name, rows)
        theirs = mapie(python, probabilities, truth, splits, Path(workdir)) if python else {}
        for name, rows in theirs.items():
            show("MAPIE", name, rows)
        claims(ours, theirs)
        if args.json:
            document = {"machine": measure.machine(), "test": measures, "kilat": ours, "mapie": theirs}
            args.json.write_text(json.dumps(document, indent=1), "utf-8")


def find_mapie(python: str | None) -> Path | None:
    """Return the interpreter that has MAPIE; None where there is none, and print how to get one."""
    path = Path(shutil.which(python) or python).absolute() if python else None
    probe: list[str | Path] = [path, "-c", "import mapie.classification"] if path else []
    if path and path.is_file() and not subprocess.run(probe, check=False, capture_output=True).returncode:
        return path
    print("without MAPIE: python3 -m venv mp && mp/bin/pip install mapie, then --mapie mp/bin/python, or MAPIE_PYTHON")
    return None


def train(folder: Path) -> SplitLogits:
    """Fit a head on a frozen backbone, and return its logits."""
    recipe = load("transfer", {"runtime.device": "cpu"})
    return learn_head(open_data(folder), recipe, Timer(), TimeBudget(), silent).split


def show_calibration(measures: dict[str, Any]) -> None:
    """Print the calibration before and after, and whether the claim holds."""
    for when, own in (("before", measures["uncalibrated"]), ("after", measures)):
        low, high = own["ece_interval"]
        ece_per_class = statistics.mean(row["ece"] for row in own["per_class"].values())
        print(f"{when:9} ECE {own['ece']:.4f} ({low:.4f}–{high:.4f}), adaptive {own['adaptive_ece']:.4f}, ", end="")
        print(f"per class {ece_per_class:.4f}, Brier {own['brier']:.4f}, ", end="")
        print(f"log loss {own['log_loss']:.4f}, n={measures['n']:,}")
    before, after = measures["uncalibrated"]["ece"], measures["ece"]
    holds = after <= MAX_ECE or after <= before / 2
    measure.verdict(f"ECE after calibration ≤ {MAX_ECE}, or halved", f"{before:.4f} → {after:.4f}", holds)


def resplit(probabilities: NDArray[np.float32], truth: NDArray[np.int64], splits: NDArray[np.int64]) -> Results:
    """Return the results of every method, for every split."""
    results: Results = {}
    half = splits.shape[1] // 2
    for split in splits:
        test = split[half:]
        for name, coverage, members in make_sets(probabilities, truth, split[:half], test):
            measures = measure_sets(members, truth[test], [str(c) for c in range(probabilities.shape[1])])
            row = [measures["coverage"], measures["size"], measures["empty"], measures["worst_class"]["coverage"]]
            results.setdefault(name, {}).setdefault(str(coverage), []).append(row)
    return results


def make_sets(
    probabilities: NDArray[np.float32],
    truth: NDArray[np.int64],
    calibration: NDArray[np.int64],
    test: NDArray[np.int64],
) -> Iterator[tuple[str, float, NDArray[np.bool_]]]:
    """Yield the name of each method, its target coverage, and its sets of the test pictures."""
    for method in METHODS:
        for per_class in (False, True):
            for coverage in COVERAGES:
                sets = ConformalSets.fit(
                    probabilities[calibration],
                    truth[calibration],
                    coverage=coverage,
                    method=method,
                    per_class=per_class,
                )
                name = f"{method} per class" if per_class else method
                yield name, coverage, sets.members(probabilities[test])
                yield f"{name}, never empty", coverage, sets.members(probabilities[test], never_empty=True)


def mapie(
    python: Path, probabilities: NDArray[np.float32], truth: NDArray[np.int64], splits: NDArray[np.int64], workdir: Path
) -> Results:
    """Return MAPIE's results for the same splits."""
    file = workdir / "probabilities.npz"
    np.savez(file, probabilities=probabilities, truth=truth, splits=splits, coverages=np.array(COVERAGES))
    done = measure.run([str(python), str(measure.HERE / "_mapie_sets.py"), str(file)])
    versions = ", ".join(f"{name} {version}" for name, version in done.document["versions"].items())
    print(f"MAPIE     {versions}; {done.seconds:.0f} s")
    sets: Results = done.document["sets"]
    return sets


def show(system: str, name: str, results: dict[str, Rows]) -> None:
    """Print the results of one method: means over the splits, with the standard deviation of the coverage."""
    for coverage, rows in results.items():
        coverages, size, empty, *worst = zip(*rows, strict=True)
        deviation = statistics.stdev(coverages) if len(coverages) > 1 else 0.0
        print(f"  {system} {name:25} target {coverage:4}: {mean(coverages):.4f} ± {deviation:.4f}", end="")
        print(f", size {mean(size):.4f}", end="")
        print(f", empty {mean(empty):.4f}{f', worst class {mean(worst[0]):.4f}' if worst else ''}", flush=True)


def mean(values: tuple[float, ...]) -> float:
    """Return the mean."""
    return statistics.mean(values)


def claims(ours: Results, theirs: Results) -> None:
    """Print whether the claims hold."""
    for name, results in ours.items():
        if "never" not in name:
            errors = [mean(tuple(row[0] for row in rows)) - float(coverage) for coverage, rows in results.items()]
            worst = max(errors, key=abs)
            measure.verdict(
                f"{name}: coverage within {MAX_COVERAGE_ERROR} of the target",
                f"{worst:+.4f}",
                abs(worst) <= MAX_COVERAGE_ERROR,
            )
    for name in [name for name in ours if name in theirs]:
        for coverage, rows in ours[name].items():
            sizes = [[row[1] for row in side] for side in (rows, theirs[name][coverage])]
            ratio = statistics.mean(sizes[0]) / statistics.mean(sizes[1])
            words = f"{statistics.mean(sizes[0]):.4f} / {statistics.mean(sizes[1]):.4f} = {ratio:.4f}"
            measure.verdict(
                f"{name} at {coverage}: sizes within 5% of MAPIE's", words, abs(ratio - 1) <= MAX_SIZE_DIFFERENCE
            )


if __name__ == "__main__":
    main()
