"""The intervals of a lab: 92 to 98 of 100 hold the true difference, and at most 5 of 100 labs of equals find one.

Thousands of small labs are held, each on a fresh draw of pictures, in the two ways of `kilat lab`: networks that are
trained once a seed with a fifth of the pictures held out (5 and 10 seeds), and heads on cached features (5 folds, once
and three times over). What is trained takes a millisecond, since only the chances matter: linear classifiers with
little and much L2 penalty, nearest class means, and networks with one hidden layer whose first weights are drawn and
not trained, so that seeds differ as those of real networks do.

Drawn pictures are Gaussian clouds of 4 classes; in one of the settings every picture comes twice, a near-duplicate
beside it. Real ones are scikit-learn's handwritten digits, of which every lab draws some. The true difference is the
mean over many training sets of the size that trials have, each measured on pictures outside of the lab. Labs of equals
compare two networks that differ in the draw of their first weights alone.

    python benchmarks/lab_intervals.py                   3 minutes on two cores
    python benchmarks/lab_intervals.py --repeats 1000    narrower: the share of 200 labs is known to 3 points
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # processes side by side, before NumPy is loaded

import _measure as measure
import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from kilat.evaluate.paired_trials import TrialDifferences, adjust, effect

HELD_OUT = 0.2
LOWEST, HIGHEST, MOST_FALSE = 0.92, 0.98, 0.08
TRUE_DRAWS, TRUE_PICTURES = 600, 1000

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


class Pictures(NamedTuple):
    """Features ``[n, d]``, classes ``[n]``, and groups of near-duplicates ``[n]``."""

    features: Doubles
    classes: Ints
    groups: Ints

    def some(self, rows: Ints) -> "Pictures":
        """Return some of them."""
        return Pictures(self.features[rows], self.classes[rows], self.groups[rows])


@dataclass(frozen=True)
class Drawn:
    """Gaussian clouds.

    Args:
        copies: how often each picture comes, a little changed.
    """

    copies: int = 1
    classes: int = 4
    features: int = 20

    def draw(self, count: int, generator: np.random.Generator) -> Pictures:
        """Return fresh pictures."""
        means = np.random.default_rng(1).normal(size=(self.classes, self.features)) * 0.55
        groups = np.arange(count) // self.copies
        truth = generator.integers(0, self.classes, groups[-1] + 1)
        originals = means[truth] + generator.normal(size=(len(truth), self.features))
        noise = 0.1 * generator.normal(size=(count, self.features)) if self.copies > 1 else 0.0
        return Pictures(originals[groups] + noise, truth[groups], groups)


@dataclass(frozen=True)
class Digits:
    """The handwritten digits, drawn without putting back."""

    classes: int = 10

    def draw(self, count: int, generator: np.random.Generator) -> Pictures:
        """Return some of the pictures."""
        features, truth = _digits()
        chosen = generator.permutation(len(truth))[:count]
        return Pictures(features[chosen], truth[chosen], np.arange(len(chosen)))


@cache
def _digits() -> tuple[Doubles, Ints]:
    data = load_digits()
    return data.data / 16 - 0.3, data.target.astype(np.int64)


Fit = Callable[[Doubles, Ints, Doubles, int, np.random.Generator], Doubles]
"""From training features and classes to the logits of others."""


def linear(l2: float) -> Fit:
    """Return a linear classifier by least squares with an L2 penalty."""

    def fit(features: Doubles, truth: Ints, others: Doubles, classes: int, _generator: np.random.Generator) -> Doubles:
        inputs, queries = (np.column_stack([one, np.ones(len(one))]) for one in (features, others))
        penalty = l2 * np.eye(inputs.shape[1])
        weights = np.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ np.eye(classes)[truth])
        logits: Doubles = 6 * queries @ weights
        return logits

    return fit


def network(units: int) -> Fit:
    """Return a network with one hidden layer whose first weights stay as they were drawn."""

    def fit(features: Doubles, truth: Ints, others: Doubles, classes: int, generator: np.random.Generator) -> Doubles:
        weights = generator.normal(size=(features.shape[1], units)) / np.sqrt(features.shape[1])
        biases = 0.5 * generator.normal(size=units)
        hidden, queries = (np.maximum(one @ weights + biases, 0) for one in (features, others))
        return linear(1.0)(hidden, truth, queries, classes, generator)

    return fit


def nearest_mean(
    features: Doubles, truth: Ints, others: Doubles, classes: int, _generator: np.random.Generator
) -> Doubles:
    """Return minus half the squared distances to the class means."""
    members = np.eye(classes)[truth]
    means = members.T @ features / np.maximum(members.sum(0), 1)[:, None]
    distances: Doubles = ((others[:, None] - means) ** 2).sum(-1)
    return -0.5 * distances


LEARNERS: dict[str, Fit] = {
    "network of 40": network(40),
    "network of 40, again": network(40),
    "network of 100": network(100),
    "linear": linear(0.1),
    "linear, penalised": linear(30.0),
    "nearest mean": nearest_mean,
}
EQUALS = ("network of 40", "network of 40, again")
PAIRS = (EQUALS, ("network of 40", "network of 100"), ("linear", "linear, penalised"), ("linear", "nearest mean"))


@dataclass(frozen=True)
class Setting:
    """A kind of lab.

    Args:
        source: of the pictures: ``drawn``, ``twice`` or ``digits``.
        pictures: how many a lab has.
        pair: the two learners.
        folds: of a repeat; 1 where a fifth is held out once a seed.
        repeats: of the folds, or seeds.
    """

    source: str
    pictures: int
    pair: tuple[str, str]
    folds: int
    repeats: int

    def __str__(self) -> str:
        trials = f"{self.folds} folds × {self.repeats}" if self.folds > 1 else f"{self.repeats} seeds"
        return f"{self.source:6} {self.pictures:5,}  {trials:11}  {self.pair[0]} / {self.pair[1]}"


class Measured(NamedTuple):
    """What one lab found on accuracy and log loss: differences, intervals, and whether it found one."""

    differences: tuple[float, float]
    intervals: tuple[tuple[float, float], tuple[float, float]]
    found: bool


SOURCES: dict[str, Drawn | Digits] = {"drawn": Drawn(), "twice": Drawn(copies=2), "digits": Digits()}
SIZES = {"drawn": (100, 400), "twice": (200,), "digits": (300,)}
TRIALS = ((1, 5), (1, 10), (5, 1), (5, 3))


def differences(setting: Setting, train: Pictures, others: Pictures, generator: np.random.Generator) -> Doubles:
    """Return how much more right and how much more log loss the second learner has of each picture, ``[2, n]``."""
    classes = SOURCES[setting.source].classes
    found = []
    for name in setting.pair:
        logits = LEARNERS[name](train.features, train.classes, others.features, classes, generator)
        logits -= logits.max(1, keepdims=True)
        own = logits[np.arange(len(logits)), others.classes]
        found.append([logits.argmax(1) == others.classes, np.log(np.exp(logits).sum(1)) - own])
    measured: Doubles = np.asarray(found[1], np.float64) - np.asarray(found[0], np.float64)
    return measured


def splits(setting: Setting, groups: Ints, generator: np.random.Generator) -> Iterator[Ints]:
    """Yield what each trial holds out: whole groups of near-duplicates."""
    count = groups[-1] + 1
    for _ in range(setting.repeats):
        order = generator.permutation(count)
        parts = [order[: round(HELD_OUT * count)]] if setting.folds == 1 else np.array_split(order, setting.folds)
        for part in parts:
            yield np.flatnonzero(np.isin(groups, part))


def lab(setting: Setting, seed: int) -> Measured:
    """Hold one lab."""
    generator = np.random.default_rng([seed, setting.pictures, setting.folds, setting.repeats])
    pictures = SOURCES[setting.source].draw(setting.pictures, generator)
    values, trials, groups = [], [], []
    for number, held_out in enumerate(splits(setting, pictures.groups, generator)):
        rest = np.setdiff1d(np.arange(setting.pictures), held_out)
        train, others = pictures.some(rest), pictures.some(held_out)
        values.append(differences(setting, train, others, generator))
        trials.append(np.full(len(held_out), number))
        groups.append(others.groups)
    ratio = HELD_OUT / (1 - HELD_OUT)
    columns = np.concatenate(trials), np.concatenate(groups)
    effects = [
        effect(TrialDifferences(row, *columns, ratio, is_share=is_share))
        for row, is_share in zip(np.concatenate(values, axis=1), (True, False), strict=True)
    ]
    adjusted = adjust([one.p_value for one in effects])
    intervals = tuple(one.interval or (one.value, one.value) for one in effects)
    return Measured(
        (effects[0].value, effects[1].value),
        (intervals[0], intervals[1]),
        any(value is not None and value <= 0.05 for value in adjusted),
    )


def true_difference(setting: Setting) -> Doubles:
    """Return the expected differences in accuracy and log loss at the size of the trials' training sets, ``[2]``."""
    if setting.pair == EQUALS:
        return np.zeros(2)
    source, generator = SOURCES[setting.source], np.random.default_rng(12345)
    size = setting.pictures - round(HELD_OUT * setting.pictures)
    means = []
    for _ in range(TRUE_DRAWS):
        pictures = source.draw(size + TRUE_PICTURES, generator)
        rows = np.arange(len(pictures.classes))
        train, others = pictures.some(rows[:size]), pictures.some(rows[size:])
        means.append(differences(setting, train, others, generator).mean(1))
    truth: Doubles = np.mean(means, axis=0)
    return truth


class Result(NamedTuple):
    """What the labs of one setting came to.

    Args:
        truth: the true differences in accuracy and log loss.
        coverage: the shares of intervals that hold them.
        width: of the intervals, as a multiple of those of an oracle that knows how much the differences vary.
        found: the share of labs that found a difference.
    """

    truth: Doubles
    coverage: Doubles
    width: Doubles
    found: float


def run(setting: Setting, repeats: int) -> Result:
    """Hold many labs of one setting."""
    truth = true_difference(setting)
    labs = [lab(setting, seed) for seed in range(repeats)]
    intervals = np.array([one.intervals for one in labs])
    holds = (intervals[..., 0] <= truth) & (truth <= intervals[..., 1])
    spread = 2 * 1.96 * np.array([one.differences for one in labs]).std(0)
    widths = (intervals[..., 1] - intervals[..., 0]).mean(0)
    return Result(truth, holds.mean(0), widths / spread, float(np.mean([one.found for one in labs])))


def settings() -> Sequence[Setting]:
    """Return all kinds of labs."""
    return [
        Setting(source, size, pair, *trials)
        for source, sizes in SIZES.items()
        for size in sizes
        for pair in (PAIRS if source != "twice" else PAIRS[:2])
        for trials in TRIALS
    ]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200, help="labs of each kind")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", help="kinds whose line has this in it")
    args = parser.parse_args()
    measure.print_header(__doc__, "kilat", "numpy", "scipy", "scikit-learn")
    chosen = [setting for setting in settings() if (args.only or "") in str(setting)]
    begin = time.perf_counter()
    print("coverage of accuracy and log loss; width against an oracle's; labs that find a difference; the true ones")
    with ProcessPoolExecutor(args.workers) as pool:
        results = list(pool.map(run, chosen, [args.repeats] * len(chosen)))
    for setting, result in zip(chosen, results, strict=True):
        coverage, width, truth = result.coverage, result.width, result.truth
        print(f"  {setting!s:66} {coverage[0]:6.1%} {coverage[1]:6.1%}  {width[0]:4.2f} {width[1]:4.2f}", end="")
        print(f"  {result.found:6.1%}  {truth[0]:+.4f} {truth[1]:+.4f}")
    labs = args.repeats * len(chosen)
    print(f"held {labs:,} labs in {time.perf_counter() - begin:.0f} s, n={args.repeats} of each kind")
    claims(chosen, results)


def claims(chosen: Sequence[Setting], results: Sequence[Result]) -> None:
    """Print whether the claims hold, by kind of trials and over all."""
    for folds, repeats in TRIALS:
        some = [
            result.coverage
            for setting, result in zip(chosen, results, strict=True)
            if (setting.folds, setting.repeats) == (folds, repeats)
        ]
        if some:
            mean, low, high = np.mean(some), np.min(some), np.max(some)
            name = f"{folds} folds × {repeats}" if folds > 1 else f"{repeats} seeds"
            words = f"{mean:.1%} (kinds of labs {low:.1%} to {high:.1%})"
            measure.verdict(
                f"{name}: 92% to 98% of the intervals hold the truth", words, bool(LOWEST <= mean <= HIGHEST)
            )
    for source in SOURCES:
        found = [
            result.found
            for setting, result in zip(chosen, results, strict=True)
            if setting.pair == EQUALS and setting.source == source
        ]
        if found:
            words = ", ".join(f"{share:.1%}" for share in found)
            measure.verdict(f"{source}: at most 5% (±3) of labs of equals find one", words, max(found) <= MOST_FALSE)


if __name__ == "__main__":
    main()
