"""How much accuracy a model keeps under the common corruptions of ImageNet-C.

ImageNet-C corrupts the squares that the network gets, not the photos they were cut from, and its constants are in
pixels of those squares. So a picture is first resized to the model's own square, then corrupted, then classified: noise
and blur put on a photo of many megapixels would be gone once it is made small. A picture that is smaller than the
square is corrupted at its own size, as in CIFAR-10-C, and enlarged by the model afterwards.
"""

import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np

from kilat.bundle.predictor import Classifier
from kilat.data.catalog import Picture, Source
from kilat.data.decode import decode
from kilat.data.pixel_array import pixel_array
from kilat.data.resize_bounds import shortened
from kilat.errors import PictureError
from kilat.evaluate.corruptions import CORRUPTIONS, GROUPS, SEVERITIES, SIDES, SMALLEST, corrupt, table_side
from kilat.evaluate.metrics import wilson_interval
from kilat.features.resize_graph import Resizer
from kilat.recipe import Resize
from kilat.runtime.array_types import Flags, Ints, Pixels
from kilat.runtime.byte_budget import bytes_of, decoded_bytes
from kilat.runtime.cores import available_cores, single_threaded_blas
from kilat.runtime.ordered_map import ordered_map
from kilat.runtime.progress import Advance, ignore

_Item = tuple[int, Picture | None, int]
"""A row with its picture, None where that cannot be read, and its class."""

LIMIT = 200
"""Pictures that are corrupted unless the caller gives another limit: 76 forward passes each."""


def measure_robustness(
    classifier: Classifier,
    source: Source,
    rows: Ints,
    truth: Ints,
    *,
    limit: int = LIMIT,
    seed: int = 0,
    advance: Advance = ignore,
) -> dict[str, Any]:
    """Measure accuracy under every corruption and severity, on the same pictures.

    Args:
        classifier: the finished model.
        source: where the pictures are.
        rows: which of them may be used.
        truth: the true class of each of ``rows``, an index into the model's classes.
        limit: at most so many pictures are used, as evenly over the classes as there are pictures.
        seed: of the choice of pictures and of everything random in a corruption. A picture gets the same random numbers
            at all severities, so that these differ in strength alone.
        advance: called with how many pictures are done.

    Returns:
        - ``n``: how many were used, without those that can no longer be read; ``tables``: how many of them took the
          constants for 32, 64 or 224 pixels.
        - ``clean``; ``corruptions``: for each name its ``group``, the mean over severities, and ``severities``, a list
          of five; ``groups``: the mean over each group; ``mean``: over everything. Each has ``accuracy`` and
          ``accuracy_interval`` (95%).
        - ``mean_error``: 1 - mean accuracy. The published mCE divides each corruption's error by AlexNet's on ImageNet
          before it takes the mean; other data has no such errors to divide by.
        - ``relative_drop``: the share of clean accuracy that corruption takes away on average; None if there is none.
        - ``frost``: ``drawn``, since it is no photograph as in ImageNet-C.

    """
    chosen = choose_pictures(truth, limit, seed)
    test = _CorruptionTest(classifier, seed)
    correct: list[Flags] = []
    sides: list[int] = []
    items, workers = _read(source, rows[chosen], truth[chosen]), available_cores()
    with single_threaded_blas(), ThreadPoolExecutor(workers, thread_name_prefix="kilat-corrupt") as pool:
        outcomes = ordered_map(pool, test.run, items, lambda item: bytes_of(item[1]), 2 * workers)
        for done, outcome in enumerate(outcomes, 1):
            if outcome:
                sides.append(outcome[0])
                correct.append(outcome[1])
            advance(done, len(chosen))
    table = np.array(correct, bool).reshape(len(correct), 1 + len(CORRUPTIONS) * len(SEVERITIES))
    return {"n": len(correct), "tables": {str(side): sides.count(side) for side in SIDES}, **_summary(table)}


def _read(source: Source, rows: Ints, truth: Ints) -> Iterator[_Item]:
    for row, label in zip(rows.tolist(), truth.tolist(), strict=True):
        try:
            yield row, source.read(row), label
        except (PictureError, MemoryError):
            yield row, None, label


def choose_pictures(truth: Ints, limit: int, seed: int) -> Ints:
    """Return at most ``limit`` positions in ``truth``, rising: one of every class, then a second of every class, ..."""
    order = np.random.default_rng(seed).permutation(len(truth))
    rank = np.empty(len(truth), np.int64)  # of each picture within its class
    for label in np.unique(truth):
        members = order[truth[order] == label]
        rank[members] = np.arange(len(members))
    return np.sort(order[np.argsort(rank[order], kind="stable")][:limit])


class _CorruptionTest:
    """Classifies a picture and its corrupted copies; safe to use from several threads."""

    def __init__(self, classifier: Classifier, seed: int) -> None:
        self.classifier, self.seed = classifier, seed
        self.size, self.resize = classifier.manifest.size, cast(Resize, classifier.manifest.resize or "crop")
        self.resizer = functools.cache(lambda side: Resizer(side, self.resize))

    def run(self, item: _Item) -> tuple[int, Flags] | None:
        """Return whose constants a picture took, and whether it and then each of its copies was classified correctly.

        Args:
            item: row, content and true class of the picture.

        Returns:
            None where the picture cannot be decoded.
        """
        row, picture, truth = item
        if picture is None:
            return None
        try:
            pixels = self._pixels(picture)
        except Exception:  # noqa: BLE001 - whatever is wrong with a picture, the others are measured
            return None
        correct = [self._is_correct(pixels[None], truth)]
        for index, name in enumerate(CORRUPTIONS):
            generators = (np.random.default_rng([self.seed, index, row]) for _severity in SEVERITIES)
            copies = [
                corrupt(pixels, name, severity, rng) for severity, rng in zip(SEVERITIES, generators, strict=True)
            ]
            correct.append(self._is_correct(np.stack(copies), truth))
        return table_side(pixels), np.concatenate(correct)

    def _pixels(self, picture: Picture) -> Pixels:
        """Return a picture as the network takes it, or smaller where it is smaller itself."""
        with decoded_bytes.hold():
            image, _full = decode(picture, shrink_to=self.size)
            own = min(image.size) if self.resize == "crop" else max(image.size)
            side = max(SMALLEST, min(self.size, own))
            resizer: Resizer = self.resizer(side)
            return resizer(pixel_array(shortened(image, side, self.resize)))

    def _is_correct(self, pixels: Pixels, truth: int) -> Flags:
        correct: Flags = self.classifier.probabilities(pixels).argmax(1) == truth
        return correct


def _summary(correct: Flags) -> dict[str, Any]:
    """Return the measures of ``[n, 1 + 15 * 5]``: the clean pictures, then by corruption and severity."""
    clean, corrupted = correct[:, :1], correct[:, 1:].reshape(len(correct), len(CORRUPTIONS), len(SEVERITIES))
    by_name = {name: corrupted[:, index] for index, name in enumerate(CORRUPTIONS)}
    mean, without = _accuracy(corrupted), _accuracy(clean)
    accuracy = mean["accuracy"]
    return {
        "clean": without,
        "corruptions": {
            name: {
                "group": group,
                **_accuracy(by_name[name]),
                "severities": [{"severity": s, **_accuracy(by_name[name][:, s - 1])} for s in SEVERITIES],
            }
            for group, names in GROUPS.items()
            for name in names
        },
        "groups": {group: _accuracy(np.stack([by_name[name] for name in names], 1)) for group, names in GROUPS.items()},
        "mean": mean,
        "mean_error": None if accuracy is None else 1 - accuracy,
        "relative_drop": 1 - accuracy / without["accuracy"] if without["accuracy"] else None,
        "frost": "drawn",
    }


def _accuracy(correct: Flags) -> dict[str, Any]:
    """Return the accuracy of ``[n, ...]`` with its 95% interval.

    Answers to copies of one picture are alike, so that the interval is Wilson's for as many independent answers as
    would vary like the pictures' means do (the effective sample size of Korn and Graubard 1998): with one copy n.
    """
    n = len(correct)
    if n == 0:
        return {"accuracy": None, "accuracy_interval": None}
    means = correct.reshape(n, -1).mean(1)
    accuracy, variance = float(means.mean()), float(means.var())
    effective = n * accuracy * (1 - accuracy) / variance if variance else n
    interval = wilson_interval(accuracy * effective, effective)  # type: ignore[arg-type]  # fractions do as well
    return {"accuracy": accuracy, "accuracy_interval": interval}
