"""Measures what is left of a model's accuracy under the common corruptions of ImageNet-C.

ImageNet-C corrupts the squares that the network is shown, not the photos that they were cut from, and its constants are
in pixels of those squares. So a picture is first brought to the model's own square, then corrupted, then asked about:
noise and blur put on a photo of many megapixels would be gone once it is made small. A picture that is smaller than the
square is corrupted at its own size, as CIFAR-10-C does, and enlarged by the model afterwards.
"""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilat.bundle.predictor import Classifier
from kilat.data.catalog import Picture, Source
from kilat.data.decode import decode
from kilat.evaluate.corruptions import CORRUPTIONS, GROUPS, SEVERITIES, SIDES, SMALLEST, Pixels, corrupt, table_side
from kilat.evaluate.metrics import wilson_interval
from kilat.features.resize_graph import Resizer
from kilat.recipe import Resize
from kilat.runtime.cores import parallel_map, single_threaded_blas, threads
from kilat.runtime.progress import Advance, ignore

Answers = NDArray[np.bool_]
Rows = NDArray[np.int64]

LIMIT = 200


def measure_robustness(
    classifier: Classifier,
    source: Source,
    rows: Rows,
    truth: Rows,
    *,
    limit: int = LIMIT,
    seed: int = 0,
    advance: Advance = ignore,
) -> dict[str, Any]:
    """Accuracy under every corruption and severity, on the same pictures.

    Args:
        classifier: the finished model.
        source: where the pictures are.
        rows: which of them can be asked about.
        truth: the true class of each of ``rows``, an index into the model's classes.
        limit: at most so many pictures are asked about, as evenly over the classes as there are pictures.
        seed: decides which pictures, and everything that a corruption draws. A picture gets the same draws at all
            severities, so that these differ in strength alone.
        advance: told how many pictures are done.

    Returns:
        - ``n``, and ``tables``: how many of the pictures took the constants for 32, 64 or 224 pixels.
        - ``clean``; ``corruptions``: for each name its ``group``, the mean over severities, and ``severities``, a list
          of five; ``groups``: the mean over each group; ``mean``: over everything. Each has ``accuracy``,
          ``accuracy_interval`` (95%, of `_share`).
        - ``mean_error``: 1 - mean accuracy. The published mCE divides each corruption's error by AlexNet's on ImageNet
          before it takes the mean; other data has no such errors to divide by.
        - ``relative_drop``: the share of clean accuracy that corruption takes away on average; None if there is none.
        - ``frost``: ``drawn``, since it is no photograph as in ImageNet-C.

    Raises:
        PictureError: a picture cannot be read.
    """
    chosen = choose(truth, limit, seed)
    exam = _Exam(classifier, seed)
    answers: list[Answers] = []
    sides: list[int] = []
    step = 4 * threads()  # few pictures in memory at a time, and no core waits long for the last of them
    with single_threaded_blas():
        for start in range(0, len(chosen), step):
            block = chosen[start : start + step]
            work = [
                (int(row), source.read(int(row)), int(true))
                for row, true in zip(rows[block], truth[block], strict=True)
            ]
            for side, right in parallel_map(exam.ask, work):
                sides.append(side)
                answers.append(right)
            advance(len(answers), len(chosen))
    right = np.array(answers, bool).reshape(len(chosen), 1 + len(CORRUPTIONS) * len(SEVERITIES))
    return {"n": len(chosen), "tables": {str(side): sides.count(side) for side in SIDES}, **_summary(right)}


def choose(truth: Rows, limit: int, seed: int) -> Rows:
    """At most ``limit`` positions in ``truth``, rising: one of every class, then a second of every class, and so on."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(truth))
    place = np.empty(len(truth), np.int64)  # of each picture within its class
    for label in np.unique(truth):
        members = order[truth[order] == label]
        place[members] = np.arange(len(members))
    return np.sort(order[np.argsort(place[order], kind="stable")][:limit])


class _Exam:
    """Asks the model about one picture after the other; safe to use from several threads."""

    def __init__(self, classifier: Classifier, seed: int) -> None:
        self.classifier, self.seed = classifier, seed
        self.size, self.resize = classifier.manifest.size, _resize(classifier.manifest.recipe)
        self.fitter = functools.cache(lambda side: Resizer(side, self.resize))

    def ask(self, item: tuple[int, Picture, int]) -> tuple[int, Answers]:
        """Whose constants a picture took, and whether the answers were right: to it, then to its corrupted copies."""
        row, picture, truth = item
        pixels = self._square(picture)
        right = [self._right(pixels[None], truth)]
        for index, name in enumerate(CORRUPTIONS):
            draws = (np.random.default_rng([self.seed, index, row]) for _severity in SEVERITIES)
            copies = [corrupt(pixels, name, severity, rng) for severity, rng in zip(SEVERITIES, draws, strict=True)]
            right.append(self._right(np.stack(copies), truth))
        return table_side(pixels), np.concatenate(right)

    def _square(self, picture: Picture) -> Pixels:
        image, _full = decode(picture, shrink_to=self.size)
        own = min(image.size) if self.resize == "crop" else max(image.size)
        fit: Resizer = self.fitter(max(SMALLEST, min(self.size, own)))
        return fit(np.asarray(image))

    def _right(self, pixels: Pixels, truth: int) -> Answers:
        right: Answers = self.classifier.probabilities(pixels).argmax(1) == truth
        return right


def _resize(recipe: dict[str, Any]) -> Resize:
    """How a model fits pictures into its square, of the recipe in its manifest; an imported one says it directly."""
    section = recipe if "resize" in recipe else recipe["input" if recipe.get("model") else "features"]
    resize: Resize = section["resize"]
    return resize


def _summary(right: Answers) -> dict[str, Any]:
    """The measures of right answers ``[n, 1 + 15 * 5]``: of the clean pictures, then by corruption and severity."""
    clean, each = right[:, :1], right[:, 1:].reshape(len(right), len(CORRUPTIONS), len(SEVERITIES))
    of = {name: each[:, index] for index, name in enumerate(CORRUPTIONS)}
    mean, untouched = _share(each), _share(clean)
    accuracy = mean["accuracy"]
    return {
        "clean": untouched,
        "corruptions": {
            name: {
                "group": group,
                **_share(of[name]),
                "severities": [{"severity": s, **_share(of[name][:, s - 1])} for s in SEVERITIES],
            }
            for group, names in GROUPS.items()
            for name in names
        },
        "groups": {group: _share(np.stack([of[name] for name in names], 1)) for group, names in GROUPS.items()},
        "mean": mean,
        "mean_error": None if accuracy is None else 1 - accuracy,
        "relative_drop": 1 - accuracy / untouched["accuracy"] if untouched["accuracy"] else None,
        "frost": "drawn",
    }


def _share(right: Answers) -> dict[str, Any]:
    """The share of right answers ``[n, ...]`` with a 95% interval.

    Answers to copies of one picture are alike, so that the interval is Wilson's for as many independent answers as
    would vary like the pictures' means do (the effective sample size of Korn and Graubard 1998): with one copy n.
    """
    n = len(right)
    if n == 0:
        return {"accuracy": None, "accuracy_interval": None}
    each = right.reshape(n, -1).mean(1)
    share, spread_of_means = float(each.mean()), float(each.var())
    effective = n * share * (1 - share) / spread_of_means if spread_of_means else n
    interval = wilson_interval(share * effective, effective)  # type: ignore[arg-type]  # fractions do as well
    return {"accuracy": share, "accuracy_interval": interval}
