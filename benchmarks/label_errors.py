"""Planted wrong labels are found, and correcting what looks wrong brings the accuracy back.

In the pictures to learn from, a tenth of the labels is replaced by another class drawn by lot (or, with `--kind pair`,
always by the next class); the test stays as it is. Shown are, against what was planted: the area under the curve of the
ranking, precision and recall of what is suspected; and the test accuracy learnt from the true labels, from the planted
ones, and after the suspected ones got their true label, as a person would give it.

With flowers all of that goes through `kilat.train`: the planted labels stand in a table, and its `suspects.csv` comes
back filled in as `labels`. (The ranking holds every picture and the file only its top, so it is asked for by itself.)
With CIFAR-10 the pictures are looked at once, and heads and labels are judged for every seed.

    python benchmarks/label_errors.py
    python benchmarks/label_errors.py --only cifar10 --pictures 10000     fewer pictures of CIFAR-10, and a fifth to ask
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import _measure as measure
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

import kilat
from kilat.check.label_issues import HeadRefit, Suspects, suspect
from kilat.data.label_corrections import CORRECT
from kilat.data.source import open_source
from kilat.data.split import folds
from kilat.evaluate.calibration import apply_temperature, fit_temperature
from kilat.learn.frozen import Extracted, fitted_head, look_at
from kilat.recipe import Recipe
from kilat.runtime.progress import silent
from kilat.runtime.timer import Timer

SETS = ("flowers", "cifar10")
AIM_RANKING, AIM_PRECISION, AIM_ACCURACY = 0.95, 0.8, 0.01
RECIPE = Recipe.model_validate({})


@dataclass(frozen=True)
class Judged:
    """What came of one set of labels.

    Args:
        held: which pictures to learn from were held out, and so judged.
        suspects: among them.
        accuracy: on the test.
        seconds: that judging the labels took.
    """

    held: NDArray[np.int64]
    suspects: Suspects
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class Found:
    """What one seed showed.

    Args:
        planted: how many labels are wrong, of how many that were judged.
        area: under the curve of the ranking.
        suspected: how many labels are.
        precision: the share of them that is wrong.
        recall: the share of the wrong ones that is suspected.
        before: test accuracy with the planted labels.
        after: with the suspected ones corrected.
        seconds: that judging the labels took.
    """

    planted: tuple[int, int]
    area: float
    suspected: int
    precision: float
    recall: float
    before: float
    after: float
    seconds: float


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=SETS, help="a set; may be said again")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="each plants other mistakes")
    parser.add_argument("--share", type=float, default=0.1, help="of the labels that are replaced")
    parser.add_argument("--kind", choices=("any", "pair"), default="any", help="by any other class, or by the next one")
    parser.add_argument("--pictures", type=int, default=0, help="of CIFAR-10 to learn from; 0 for all 50,000")
    given = parser.parse_args()
    measure.opening(__doc__)
    for name in given.only or SETS:
        folder = measure.pictures_of(name)
        with tempfile.TemporaryDirectory() as place:
            os.environ["KILAT_CACHE"] = str(Path(place) / "cache")
            if name == "flowers":
                report(name, *through_verbs(folder, Path(place), given))
            else:
                thinned = measure.thin(folder, given.pictures * 6 // 5, Path(place))
                report(name, *through_pieces(thinned, given))


def report(name: str, clean: float, rounds: Iterator[Found]) -> None:
    """Prints what every seed shows as it comes, and then what that makes of the claims."""
    found = []
    for one in rounds:
        print(f"  {one.planted[0]:,} of {one.planted[1]:,} wrong: area under the curve {one.area:.4f}; ", end="")
        print(f"{one.suspected:,} suspected, precision {one.precision:.3f}, recall {one.recall:.3f} ", end="")
        print(f"({one.seconds:.1f} s); accuracy {one.before:.4f}, corrected {one.after:.4f}", flush=True)
        found.append(one)
    area, precision = min(one.area for one in found), min(one.precision for one in found)
    lost = max(clean - one.after for one in found)
    measure.verdict(f"{name}: area under the curve ≥ {AIM_RANKING}", f"{area:.4f} at least", area >= AIM_RANKING)
    if name == "flowers":
        held = precision >= AIM_PRECISION
        measure.verdict(f"{name}: precision ≥ {AIM_PRECISION}", f"{precision:.3f} at least", held)
    claim = f"{name}: corrected within {AIM_ACCURACY} of the true labels' accuracy"
    measure.verdict(claim, f"{lost:+.4f} lost at most", lost <= AIM_ACCURACY)


def through_verbs(folder: Path, place: Path, given: argparse.Namespace) -> tuple[float, Iterator[Found]]:
    """Accuracy from the true labels, and what every seed shows, by whole runs."""
    runs = place / "runs"
    run = kilat.train(folder, name="true", runs=runs)
    clean, suspected = accuracy_of(run), int(suspects_of(run)["suspected"].sum())
    table = pd.read_csv(run.folder / "catalog.csv", dtype=str, keep_default_na=False)
    table = table.loc[table["status"] == "used", ["path", "label", "split"]].reset_index(drop=True)
    table["path"] = [str(folder / path) for path in table["path"]]
    opened(folder, int((table["split"] == "train").sum()), clean, suspected)
    return clean, (whole_runs(table, place / f"noisy-{seed}.csv", runs, given, seed) for seed in given.seeds)


def whole_runs(table: pd.DataFrame, file: Path, runs: Path, given: argparse.Namespace, seed: int) -> Found:
    """Plants wrong labels in a table, learns from it, fills in what looks wrong, and learns again."""
    noisy, learnt = table.copy(), np.flatnonzero(table["split"] == "train")
    classes, code = np.unique(table["label"], return_inverse=True)
    noisy.loc[learnt, "label"] = classes[plant(code[learnt], len(classes), given, seed)]
    noisy.to_csv(file, index=False)
    run = kilat.train(file, name=file.stem, runs=runs)

    truth = table.set_index("path")["label"]
    filled = suspects_of(run)
    filled = filled[filled["suspected"]]
    filled[CORRECT] = truth[filled["path"]].to_numpy()
    filled.to_csv(corrections := file.with_suffix(".suspects.csv"), index=False)
    corrected = kilat.train(file, name=f"{file.stem}-corrected", runs=runs, labels=corrections)

    looked = look_at(open_source(file), RECIPE, Timer(), silent)
    judged = judge(looked, looked.learnt.truth)
    paths = looked.catalog.table["path"].to_numpy()[looked.learnt.rows[judged.held]]
    wrong = truth[paths].to_numpy() != np.array(looked.classes)[judged.suspects.truth]
    right = filled[CORRECT] != filled["label"]
    return Found(
        (int(wrong.sum()), len(wrong)), float(roc_auc_score(wrong, -judged.suspects.right)),
        len(filled), float(right.mean()), float(right.sum() / wrong.sum()),
        accuracy_of(run), accuracy_of(corrected), judged.seconds,
    )  # fmt: skip


def through_pieces(folder: Path, given: argparse.Namespace) -> tuple[float, Iterator[Found]]:
    """The same by one look at the pictures, and heads on what was seen."""
    looked = look_at(open_source(folder), RECIPE, Timer(), silent)
    clean = judge(looked, looked.learnt.truth)
    opened(folder, len(looked.learnt.rows), clean.accuracy, int(clean.suspects.flagged.sum()))
    return clean.accuracy, (heads_alone(looked, given, seed) for seed in given.seeds)


def heads_alone(looked: Extracted, given: argparse.Namespace, seed: int) -> Found:
    """Plants wrong labels, learns, puts right what looks wrong, and learns again."""
    true = looked.learnt.truth
    planted = plant(true, len(looked.classes), given, seed)
    before = judge(looked, planted)
    flagged = before.suspects.flagged
    corrected = planted.copy()
    corrected[before.held[flagged]] = true[before.held[flagged]]
    after = judge(looked, corrected)
    wrong = (planted != true)[before.held]
    return Found(
        (int(wrong.sum()), len(wrong)), float(roc_auc_score(wrong, -before.suspects.right)),
        int(flagged.sum()), float(wrong[flagged].mean()), float(flagged[wrong].mean()),
        before.accuracy, after.accuracy, before.seconds,
    )  # fmt: skip


def opened(folder: Path, learnt: int, accuracy: float, suspected: int) -> None:
    """Prints what the true labels come to."""
    print(f"{folder.name}: {learnt:,} pictures to learn from")
    print(f"  true labels: accuracy {accuracy:.4f}, {suspected:,} suspected", flush=True)


def plant(truth: NDArray[np.int64], classes: int, given: argparse.Namespace, seed: int) -> NDArray[np.int64]:
    """The labels, a share of them replaced."""
    dice, labels = np.random.default_rng(seed), truth.copy()
    for at in dice.permutation(len(labels))[: round(given.share * len(labels))]:
        labels[at] = (labels[at] + (1 if given.kind == "pair" else dice.integers(1, classes))) % classes
    return labels


def judge(looked: Extracted, truth: NDArray[np.int64]) -> Judged:
    """Learns from labels, and judges them."""
    learnt = replace(looked.learnt, truth=truth)
    fitted = fitted_head(replace(looked, features=looked.features.copy()), learnt, RECIPE)
    begin = time.perf_counter()
    answers = apply_temperature(fitted.held_out_logits, fit_temperature(fitted.held_out_logits, truth[fitted.held_out]))
    fold = folds(learnt, RECIPE.head.folds, RECIPE.runtime.seed)
    again = HeadRefit.of(fitted, learnt.rows, truth, fold, len(looked.classes))
    suspects = suspect(truth[fitted.held_out], answers, again)
    seconds = time.perf_counter() - begin
    right = fitted.logits(looked.asked.rows).argmax(1) == looked.asked.truth
    return Judged(fitted.held_out, suspects, float(right.mean()), seconds)


def suspects_of(run: kilat.Run) -> pd.DataFrame:
    """The suspected labels that a run left in its folder."""
    return pd.read_csv(run.folder / "suspects.csv", dtype={"label": str, "suggested": str})


def accuracy_of(run: kilat.Run) -> float:
    """On the test."""
    return float(run.metrics["test"]["accuracy"])


if __name__ == "__main__":
    main()
