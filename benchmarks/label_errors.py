"""Planted wrong labels are found, and correcting what is suspected brings the accuracy back.

Among the training pictures, a tenth of the labels is replaced by another class drawn at random (or, with `--kind pair`,
always by the next class); the test set stays as it is. Shown are, against what was planted: the AUROC of the ranking,
precision and recall of what is suspected; and the test accuracy with the true labels, with the planted ones, and after
the suspected ones got their true label, as a person would give it.

With flowers all of that goes through `kilat.train`: the planted labels stand in a table, and its `suspects.csv` comes
back filled in as `labels`. (The file holds only the top of the ranking, so the ranking of all pictures is computed
here.) With CIFAR-10 features are extracted once, and heads are fitted and labels judged for every seed.

With `--one-way`, a share of one class of flowers is labelled as one other class, for every pair and direction
but the four that the method was chosen on (with seeds 100 to 102).

    python benchmarks/label_errors.py
    python benchmarks/label_errors.py --one-way 0.1 0.25
    python benchmarks/label_errors.py --only cifar10 --pictures 10000     fewer pictures, a fifth more to test
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

import _measure as measure
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

import kilat
from kilat.check.head_refit import HeadRefit
from kilat.check.label_issues import LabelIssues, find_label_issues
from kilat.data.label_corrections import CORRECT
from kilat.data.source import open_source
from kilat.data.split import folds
from kilat.evaluate.calibration import apply_temperature
from kilat.learn.frozen import Extracted, extract, fit_head
from kilat.learn.time_budget import UNLIMITED
from kilat.recipe import Recipe
from kilat.runtime.array_types import Ints
from kilat.runtime.progress import silent
from kilat.runtime.timer import Timer

SETS = ("flowers", "cifar10")
MIN_AUROC, MIN_PRECISION, MIN_ONE_WAY_RECALL, MAX_LOSS = 0.95, 0.8, 0.5, 0.01
CHOSEN_ON = (("daisy", "roses"), ("dandelion", "sunflowers"), ("tulips", "roses"), ("sunflowers", "daisy"))
"""Pairs of flowers, the true class and what it is labelled as, that the method was chosen on."""
RECIPE = Recipe.model_validate({})


@dataclass(frozen=True)
class Judged:
    """A head fitted on some labels, and what is found about them.

    Args:
        held_out: positions of the training pictures that a fold held out, whose labels are judged, ``[n]``.
        issues: what is found about these labels.
        accuracy: on the test set.
        seconds: spent on judging the labels.
    """

    held_out: Ints
    issues: LabelIssues
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class Result:
    """The results of one seed.

    Args:
        wrong: how many of the judged labels are wrong.
        judged: how many labels are judged.
        auroc: of the ranking.
        suspected: how many labels are suspected.
        precision: the share of these that is wrong.
        recall: the share of the wrong ones that is suspected.
        before: test accuracy with the planted labels.
        after: test accuracy with the suspected ones corrected.
        seconds: spent on judging the labels.
    """

    wrong: int
    judged: int
    auroc: float
    suspected: int
    precision: float
    recall: float
    before: float
    after: float
    seconds: float


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=SETS, help="a set; may be repeated")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="each plants other mistakes")
    parser.add_argument("--share", type=float, default=0.1, help="of the labels that are replaced")
    parser.add_argument("--kind", choices=("any", "pair"), default="any", help="by any other class, or by the next one")
    parser.add_argument("--one-way", nargs="+", type=float, default=[], help="shares of one class, instead of the rest")
    parser.add_argument("--pictures", type=int, default=0, help="training pictures of CIFAR-10; 0 for all 50,000")
    args = parser.parse_args()
    measure.print_header(__doc__)
    if args.one_way:
        with tempfile.TemporaryDirectory() as workdir:
            os.environ["KILAT_CACHE"] = str(Path(workdir) / "cache")
            report_one_way(measure.dataset_folder("flowers"), args)
        return
    for name in args.only or SETS:
        folder = measure.dataset_folder(name)
        with tempfile.TemporaryDirectory() as workdir:
            os.environ["KILAT_CACHE"] = str(Path(workdir) / "cache")
            if name == "flowers":
                report(name, *by_whole_runs(folder, Path(workdir), args))
            else:
                report(name, *by_heads(measure.subsample(folder, args.pictures * 6 // 5, Path(workdir)), args))


def report(name: str, clean: float, results: Iterator[Result]) -> None:
    """Print the results of every seed as they come, and then whether the claims hold."""
    found = []
    for result in results:
        print(f"  {result.wrong:,} of {result.judged:,} wrong: AUROC {result.auroc:.4f}; ", end="")
        print(f"{result.suspected:,} suspected, precision {result.precision:.3f}, recall {result.recall:.3f} ", end="")
        print(f"({result.seconds:.1f} s); accuracy {result.before:.4f}, corrected {result.after:.4f}", flush=True)
        found.append(result)
    auroc, precision = min(result.auroc for result in found), min(result.precision for result in found)
    lost = max(clean - result.after for result in found)
    measure.verdict(f"{name}: AUROC ≥ {MIN_AUROC}", f"{auroc:.4f} at least", auroc >= MIN_AUROC)
    if name == "flowers":
        holds = precision >= MIN_PRECISION
        measure.verdict(f"{name}: precision ≥ {MIN_PRECISION}", f"{precision:.3f} at least", holds)
    claim = f"{name}: corrected within {MAX_LOSS} of the true labels' accuracy"
    measure.verdict(claim, f"{lost:+.4f} lost at most", lost <= MAX_LOSS)


def report_one_way(folder: Path, args: argparse.Namespace) -> None:
    """Print, for pairs of classes, how many labels of one that were given to the other are found, and the claims."""
    extracted = extract(open_source(folder), RECIPE, Timer(), UNLIMITED, silent)
    found = []
    for share in args.one_way:
        for truth, label in (pair for pair in permutations(extracted.classes, 2) if pair not in CHOSEN_ON):
            for seed in args.seeds:
                judged = judge(extracted, plant_one_way(extracted, truth, label, share, seed))
                wrong, flagged = (judged.issues.labels != extracted.train.truth[judged.held_out]), judged.issues.flagged
                precision, recall = float(wrong[flagged].mean()), float(flagged[wrong].mean())
                auroc = float(roc_auc_score(wrong, -judged.issues.label_probability))
                print(
                    f"  {share:.0%} of {truth} as {label}, seed {seed}: {int(wrong.sum()):,} of {len(wrong):,} wrong; ",
                    end="",
                )
                print(f"AUROC {auroc:.4f}; {int(flagged.sum()):,} suspected, precision {precision:.3f}, ", end="")
                print(f"recall {recall:.3f} ({judged.seconds:.1f} s)", flush=True)
                found.append((precision, recall))
    precision, recall = np.min(found, axis=0)
    measure.verdict(f"one way: precision ≥ {MIN_PRECISION}", f"{precision:.3f} at least", precision >= MIN_PRECISION)
    holds = recall >= MIN_ONE_WAY_RECALL
    measure.verdict(f"one way: recall ≥ {MIN_ONE_WAY_RECALL}", f"{recall:.3f} at least", holds)


def by_whole_runs(folder: Path, workdir: Path, args: argparse.Namespace) -> tuple[float, Iterator[Result]]:
    """Return the accuracy with the true labels, and the results of every seed, by whole runs."""
    runs = workdir / "runs"
    run = kilat.train(folder, name="true", runs=runs)
    clean, suspected = accuracy_of(run), int(suspects_of(run)["suspected"].sum())
    table = run.catalog.loc[run.catalog["status"] == "used", ["path", "label", "split"]].reset_index(drop=True)
    table["path"] = [str(folder / path) for path in table["path"]]
    show_clean(folder, int((table["split"] == "train").sum()), clean, suspected)
    return clean, (train_twice(table, workdir / f"noisy-{seed}.csv", runs, args, seed) for seed in args.seeds)


def train_twice(table: pd.DataFrame, file: Path, runs: Path, args: argparse.Namespace, seed: int) -> Result:
    """Plant wrong labels in a table, train on it, correct the suspected labels, and train again."""
    noisy, train_rows = table.copy(), np.flatnonzero(table["split"] == "train")
    classes, labels = np.unique(table["label"], return_inverse=True)
    noisy.loc[train_rows, "label"] = classes[plant(labels[train_rows], len(classes), args, seed)]
    noisy.to_csv(file, index=False)
    run = kilat.train(file, name=file.stem, runs=runs)

    truth = table.set_index("path")["label"]
    suspects = suspects_of(run)
    suspects = suspects[suspects["suspected"]]
    suspects[CORRECT] = truth[suspects["path"]].to_numpy()
    suspects.to_csv(corrections := file.with_suffix(".suspects.csv"), index=False)
    corrected = kilat.train(file, name=f"{file.stem}-corrected", runs=runs, labels=corrections)

    extracted = extract(open_source(file), RECIPE, Timer(), UNLIMITED, silent)
    judged = judge(extracted, extracted.train.truth)
    paths = extracted.catalog.table["path"].to_numpy()[extracted.train.rows[judged.held_out]]
    wrong = truth[paths].to_numpy() != np.array(extracted.classes)[judged.issues.labels]
    found = suspects[CORRECT] != suspects["label"]
    return Result(
        wrong=int(wrong.sum()),
        judged=len(wrong),
        auroc=float(roc_auc_score(wrong, -judged.issues.label_probability)),
        suspected=len(suspects),
        precision=float(found.mean()),
        recall=float(found.sum() / wrong.sum()),
        before=accuracy_of(run),
        after=accuracy_of(corrected),
        seconds=judged.seconds,
    )


def by_heads(folder: Path, args: argparse.Namespace) -> tuple[float, Iterator[Result]]:
    """Return the same from features that are extracted once, and heads fitted on them."""
    extracted = extract(open_source(folder), RECIPE, Timer(), UNLIMITED, silent)
    clean = judge(extracted, extracted.train.truth)
    show_clean(folder, len(extracted.train.rows), clean.accuracy, int(clean.issues.flagged.sum()))
    return clean.accuracy, (fit_twice(extracted, args, seed) for seed in args.seeds)


def fit_twice(extracted: Extracted, args: argparse.Namespace, seed: int) -> Result:
    """Plant wrong labels, fit a head, correct the suspected labels, and fit again."""
    truth = extracted.train.truth
    planted = plant(truth, len(extracted.classes), args, seed)
    before = judge(extracted, planted)
    flagged = before.issues.flagged
    corrected = planted.copy()
    corrected[before.held_out[flagged]] = truth[before.held_out[flagged]]
    after = judge(extracted, corrected)
    wrong = (planted != truth)[before.held_out]
    return Result(
        wrong=int(wrong.sum()),
        judged=len(wrong),
        auroc=float(roc_auc_score(wrong, -before.issues.label_probability)),
        suspected=int(flagged.sum()),
        precision=float(wrong[flagged].mean()),
        recall=float(flagged[wrong].mean()),
        before=before.accuracy,
        after=after.accuracy,
        seconds=before.seconds,
    )


def show_clean(folder: Path, train_pictures: int, accuracy: float, suspected: int) -> None:
    """Print the results with the true labels."""
    print(f"{folder.name}: {train_pictures:,} training pictures")
    print(f"  true labels: accuracy {accuracy:.4f}, {suspected:,} suspected", flush=True)


def plant(truth: Ints, classes: int, args: argparse.Namespace, seed: int) -> Ints:
    """Return the labels, a share of them replaced."""
    rng, labels = np.random.default_rng(seed), truth.copy()
    for at in rng.permutation(len(labels))[: round(args.share * len(labels))]:
        labels[at] = (labels[at] + (1 if args.kind == "pair" else rng.integers(1, classes))) % classes
    return labels


def plant_one_way(extracted: Extracted, truth: str, label: str, share: float, seed: int) -> Ints:
    """Return the labels of the training pictures, a share of one class given as another one."""
    labels, classes = extracted.train.truth.copy(), extracted.classes
    own = np.random.default_rng(seed).permutation(np.flatnonzero(labels == classes.index(truth)))
    labels[own[: round(share * len(own))]] = classes.index(label)
    return labels


def judge(extracted: Extracted, labels: Ints) -> Judged:
    """Fit a head on labels of the training pictures, and judge these labels."""
    train, test = replace(extracted.train, truth=labels), extracted.test
    fitted = fit_head(extracted, train, UNLIMITED, overwrite_features=False)
    begin = time.perf_counter()
    fold = folds(train, RECIPE.head.folds, RECIPE.runtime.seed)
    refit = HeadRefit.of(fitted, train.rows, labels, fold, len(extracted.classes))
    heads = refit.fit()
    probabilities = apply_temperature(refit.logits(heads), 1.0)
    issues = find_label_issues(labels[refit.held_out], probabilities, replace(refit, starts=tuple(heads)))
    seconds = time.perf_counter() - begin
    correct = fitted.logits(test.rows).argmax(1) == test.truth
    return Judged(refit.held_out, issues, float(correct.mean()), seconds)


def suspects_of(run: kilat.Run) -> pd.DataFrame:
    """Return the suspected labels that a run left in its folder."""
    return pd.read_csv(run.folder / "suspects.csv", dtype={"label": str, "suggested": str})


def accuracy_of(run: kilat.Run) -> float:
    """Return the test accuracy of a run."""
    accuracy = run.metrics.test.accuracy
    assert accuracy is not None
    return accuracy


if __name__ == "__main__":
    main()
