"""Prediction sets: coverage over 100 resplits within 1 point of asked, LAC sizes within 5% of MAPIE's; and the ECE.

A frozen backbone looks at CIFAR-10 (the shared copy, its own test) and a linear head is fitted and calibrated, as by
`kilat train`; what was seen comes from the feature cache where it is known already. The calibrated probabilities of
the test pictures are split in two halves at random, again and again: one half sets the thresholds, the other one is
asked about, for coverages of 0.8, 0.9 and 0.95, by LAC and RAPS, with one threshold for all classes and one a class.
MAPIE gets the same probabilities and the same splits in the same run. Sets may be empty here; what becomes of them
where the likeliest class is always taken in, as a classifier of kilat answers, is shown as well.

The calibration error (15 bins) is that of all test pictures, before and after calibration, by the temperature that
cross-validation on the training pictures gave.

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
from kilat.learn.frozen import Result, fit_head
from kilat.recipe import load
from kilat.runtime.progress import silent
from kilat.runtime.timer import Timer
from kilat.verbs.train import open_data

COVERAGES = (0.8, 0.9, 0.95)
MOST_OFF, MOST_SIZE, MOST_ECE = 0.01, 0.05, 0.02
METHODS: tuple[Method, ...] = ("lac", "raps")

Rows = list[list[float]]
"""Of every split: share of right sets, mean size, share of empty ones, and ours the coverage of the worst class."""
Found = dict[str, dict[str, Rows]]


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="pictures in class folders; CIFAR-10 by default")
    parser.add_argument("--mapie", default=os.environ.get("MAPIE_PYTHON"), help="a Python that has MAPIE")
    parser.add_argument("--pictures", type=int, default=0, help="take only so many, spread evenly (0: all)")
    parser.add_argument("--resplits", type=int, default=100)
    parser.add_argument("--json", type=Path, help="write everything that was measured into this file")
    given = parser.parse_args()
    python = find_mapie(given.mapie)
    with tempfile.TemporaryDirectory() as place:
        folder = measure.thin(measure.pictures_of("cifar10", given.folder), given.pictures, Path(place))
        measure.opening(__doc__, *measure.PACKAGES)
        begin = time.perf_counter()
        result, measured = learn(folder)
        print(f"learnt    in {time.perf_counter() - begin:.0f} s; {len(result.learnt.classes)} classes; ", end="")
        print(f"test accuracy {measured['accuracy']:.4f}, n={measured['n']:,}; temperature {result.temperature:.3f}")
        calibration(measured)
        truth, n = result.learnt.asked.truth, measured["n"]
        dice = np.random.default_rng(0)
        splits = np.stack([dice.permutation(n) for _ in range(given.resplits)])
        print(
            f"splits    n={len(splits)}: {n // 2:,} pictures set thresholds, {n - n // 2:,} are asked about", flush=True
        )
        ours = resplit(result.answers, truth, splits)
        for name, rows in ours.items():
            show("kilat", name, rows)
        theirs = mapie(python, result.answers, truth, splits, Path(place)) if python else {}
        for name, rows in theirs.items():
            show("MAPIE", name, rows)
        claims(ours, theirs)
        if given.json:
            document = {"machine": measure.machine(), "test": measured, "kilat": ours, "mapie": theirs}
            given.json.write_text(json.dumps(document, indent=1), "utf-8")


def find_mapie(python: str | None) -> Path | None:
    """The interpreter that has MAPIE; None, with a word on how to get one, where there is none."""
    path = Path(shutil.which(python) or python).absolute() if python else None
    probe: list[str | Path] = [path, "-c", "import mapie.classification"] if path else []
    if path and path.is_file() and not subprocess.run(probe, check=False, capture_output=True).returncode:
        return path
    print("without MAPIE: python3 -m venv mp && mp/bin/pip install mapie, then --mapie mp/bin/python, or MAPIE_PYTHON")
    return None


def learn(folder: Path) -> tuple[Result, dict[str, Any]]:
    """A calibrated head on a frozen backbone, and the measures of its test."""
    source = open_data(str(folder), None)
    result = Result.of(fit_head(source, load("transfer", {"runtime.device": "cpu"}), Timer(), silent))
    return result, result.measures()["test"]


def calibration(measured: dict[str, Any]) -> None:
    """Prints the calibration before and after, and whether the claim holds."""
    for when, of in (("before", measured["uncalibrated"]), ("after", measured)):
        low, high = of["ece_interval"]
        by_class = statistics.mean(row["ece"] for row in of["per_class"].values())
        print(f"{when:9} ECE {of['ece']:.4f} ({low:.4f}–{high:.4f}), adaptive {of['adaptive_ece']:.4f}, ", end="")
        print(f"by class {by_class:.4f}, Brier {of['brier']:.4f}, log loss {of['log_loss']:.4f}, n={measured['n']:,}")
    before, after = measured["uncalibrated"]["ece"], measured["ece"]
    holds = after <= MOST_ECE or after <= before / 2
    measure.verdict(f"ECE after calibration ≤ {MOST_ECE}, or halved", f"{before:.4f} → {after:.4f}", holds)


def resplit(probabilities: NDArray[np.float32], truth: NDArray[np.int64], splits: NDArray[np.int64]) -> Found:
    """Sets in every way, for every split."""
    found: Found = {}
    half = splits.shape[1] // 2
    for split in splits:
        fitted, asked = split[:half], split[half:]
        for name, coverage, members in ways(probabilities, truth, fitted, asked):
            of = measure_sets(members, truth[asked], [str(c) for c in range(probabilities.shape[1])])
            row = [of["coverage"], of["size"], of["empty"], of["worst_class"]["coverage"]]
            found.setdefault(name, {}).setdefault(str(coverage), []).append(row)
    return found


def ways(
    probabilities: NDArray[np.float32],
    truth: NDArray[np.int64],
    fitted: NDArray[np.int64],
    asked: NDArray[np.int64],
) -> Iterator[tuple[str, float, NDArray[np.bool_]]]:
    """What each way is called, the coverage asked for, and its sets."""
    for method in METHODS:
        for per_class in (False, True):
            for coverage in COVERAGES:
                sets = ConformalSets.fit(
                    probabilities[fitted], truth[fitted], coverage=coverage, method=method, per_class=per_class
                )
                name = f"{method} a class" if per_class else method
                yield name, coverage, sets.members(probabilities[asked])
                yield f"{name}, never empty", coverage, sets.members(probabilities[asked], never_empty=True)


def mapie(
    python: Path, probabilities: NDArray[np.float32], truth: NDArray[np.int64], splits: NDArray[np.int64], place: Path
) -> Found:
    """MAPIE's sets of the same splits."""
    file = place / "answers.npz"
    np.savez(file, probabilities=probabilities, truth=truth, splits=splits, coverages=np.array(COVERAGES))
    done = measure.whole([str(python), str(measure.HERE / "_mapie_sets.py"), str(file)])
    used = ", ".join(f"{name} {version}" for name, version in done.document["versions"].items())
    print(f"MAPIE     {used}; {done.seconds:.0f} s")
    sets: Found = done.document["sets"]
    return sets


def show(who: str, name: str, found: dict[str, Rows]) -> None:
    """Prints one way: means over the splits, with the standard deviation of the coverage."""
    for coverage, rows in found.items():
        right, size, empty, *worst = zip(*rows, strict=True)
        deviation = statistics.stdev(right) if len(right) > 1 else 0.0
        print(
            f"  {who} {name:25} asked {coverage:4}: {mean(right):.4f} ± {deviation:.4f}, size {mean(size):.4f}", end=""
        )
        print(f", empty {mean(empty):.4f}{f', worst class {mean(worst[0]):.4f}' if worst else ''}", flush=True)


def mean(values: tuple[float, ...]) -> float:
    """The mean."""
    return statistics.mean(values)


def claims(ours: Found, theirs: Found) -> None:
    """Prints whether the claims hold."""
    for name, found in ours.items():
        if "never" not in name:
            off = {coverage: mean(tuple(row[0] for row in rows)) - float(coverage) for coverage, rows in found.items()}
            worst = max(off.values(), key=abs)
            measure.verdict(f"{name}: coverage within {MOST_OFF} of asked", f"{worst:+.4f}", abs(worst) <= MOST_OFF)
    for name in [name for name in ours if name in theirs]:
        for coverage, rows in ours[name].items():
            sizes = [[row[1] for row in side] for side in (rows, theirs[name][coverage])]
            part = statistics.mean(sizes[0]) / statistics.mean(sizes[1])
            words = f"{statistics.mean(sizes[0]):.4f} / {statistics.mean(sizes[1]):.4f} = {part:.4f}"
            measure.verdict(f"{name} at {coverage}: sizes within 5% of MAPIE's", words, abs(part - 1) <= MOST_SIZE)


if __name__ == "__main__":
    main()
