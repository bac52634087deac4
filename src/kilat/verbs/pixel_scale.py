"""Which values an imported network takes for pixels, and in which order its classes come: from labelled pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kilat.data.catalog import Source
from kilat.data.labels import spelling_key
from kilat.evaluate.metrics import wilson_interval
from kilat.locale.notes import Note
from kilat.runtime.array_types import Floats, Ints, Pixels
from kilat.verbs.answers import note_unknown_classes

MEASURED = 100
"""Labelled pictures that an imported network is measured on at most, evenly spaced."""

_CERTAIN = 0.001
"""How likely the result may be by chance where another scale or order is taken for the right one."""

_PICTURES_PER_CLASS = 3
"""Fewer say nothing about the order of the classes."""

_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@dataclass(frozen=True)
class PixelScale:
    """How 8-bit pixels become a network's input: ``factor * pixel + offset``, by channel.

    Args:
        factor: of red, green and blue, or of blue, green and red.
        offset: in the same order.
        reverse: whether blue comes first.
    """

    factor: tuple[float, ...]
    offset: tuple[float, ...]
    reverse: bool = False

    @property
    def needs_colour(self) -> bool:
        """Whether channels are treated differently."""
        return self.reverse or len(set(self.factor)) > 1

    def __call__(self, pixels: Pixels) -> Floats:
        """Return the input for pixels ``[n, height, width, 3 or 1]``."""
        channels = pixels.shape[-1]
        ordered = pixels[..., ::-1] if self.reverse else pixels
        factor, offset = (np.array(one, np.float32)[:channels] for one in (self.factor, self.offset))
        return (ordered * factor + offset).astype(np.float32)


SCALES = {
    "0..255": PixelScale((1.0,) * 3, (0.0,) * 3),
    "0..1": PixelScale((1 / 255,) * 3, (0.0,) * 3),
    "-1..1": PixelScale((2 / 255,) * 3, (-1.0,) * 3),
    "caffe": PixelScale((1.0,) * 3, (-103.939, -116.779, -123.68), reverse=True),
    "torch": PixelScale(tuple(1 / (255 * _STD)), tuple(-_MEAN / _STD)),
}
"""The usual ones, by name; ``caffe`` and ``torch`` are modes of ``preprocess_input`` of ``keras.applications``."""

DEFAULT_SCALE = "0..255"


def find_labelled(source: Source, classes: Sequence[str]) -> tuple[dict[int, int], list[Note]]:
    """Return the class of pictures to measure on, by their row, and notes on labels that are no class.

    Labels may be spelled otherwise than the classes: in case, blanks, underscores and hyphens.
    """
    index = {spelling_key(name): i for i, name in enumerate(classes)}
    labels = {row: entry.label for row, entry in enumerate(source.entries) if not entry.refused}
    known = [row for row, label in labels.items() if spelling_key(label) in index]
    unknown = pd.Series([label for label in labels.values() if spelling_key(label) not in index], dtype=object)
    chosen = np.unique(np.linspace(0, len(known) - 1, MEASURED).round().astype(np.int64)) if known else np.zeros(0, int)
    rows = [known[i] for i in chosen]
    return {row: index[spelling_key(labels[row])] for row in rows}, note_unknown_classes(unknown, classes)


@dataclass(frozen=True)
class Measured:
    """How a network does on labelled pictures, by scale of its pixels.

    Args:
        scale: the one that was taken.
        n: number of pictures.
        accuracies: by scale.
        notes: what the user should know about it.
    """

    scale: str
    n: int
    accuracies: dict[str, float]
    notes: list[Note]

    def document(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        accuracy = self.accuracies[self.scale]
        interval = wilson_interval(round(accuracy * self.n), self.n)
        return {"n": self.n, "accuracy": accuracy, "accuracy_interval": interval, "accuracies": self.accuracies}


def measure_scales(
    predict: Callable[[str], Ints], scales: Sequence[str], truth: Ints, classes: Sequence[str]
) -> Measured:
    """Measure a network on labelled pictures by each scale, and take the best where it is clearly so.

    Args:
        predict: returns the class that each picture gets under a scale, ``[n]``.
        scales: the names; the first is taken unless another one is clearly better.
        truth: class of each picture, ``[n]``.
        classes: names of the outputs, in their order.
    """
    predicted = {name: predict(name) for name in scales}
    right = {name: labels == truth for name, labels in predicted.items()}
    # Under the right scale, names in a wrong order are wrong consistently, so that both are looked for together.
    order = {name: _best_order(truth, labels, len(classes)) for name, labels in predicted.items()}
    reordered = {name: order[name][labels] == truth for name, labels in predicted.items()}
    best = max(scales, key=lambda name: (reordered[name].sum(), right[name].sum()))
    scale = best if _is_clearly_better(reordered[best], reordered[scales[0]]) else scales[0]
    accuracies = {name: float(one.mean()) for name, one in right.items()}
    notes = []
    if scale != scales[0]:
        in_order = accuracies[scale] > accuracies[scales[0]]
        shown = accuracies if in_order else {name: float(one.mean()) for name, one in reordered.items()}
        values = {"scale": scale, "accuracy": shown[scale], "default": scales[0], "default_accuracy": shown[scales[0]]}
        notes.append(Note("pixels_chosen" if in_order else "pixels_chosen_reordered", values))
    notes += _order_notes(right[scale], reordered[scale], order[scale], truth, classes)
    return Measured(scale, len(truth), accuracies, notes)


def _order_notes(right: Any, reordered: Any, order: Ints, truth: Ints, classes: Sequence[str]) -> list[Note]:
    """Return what there is to say about an accuracy that is no better than chance, or worse."""
    accuracy = float(right.mean())
    if len(truth) >= _PICTURES_PER_CLASS * len(classes) and _is_clearly_better(reordered, right):
        names = ",".join(f'"{classes[i]}"' if "," in classes[i] else classes[i] for i in order)
        values = {"accuracy": accuracy, "reordered": float(reordered.mean()), "names": names}
        return [Note("classes_in_other_order", values)]
    chance = float(np.bincount(truth).max() / len(truth))
    low, _high = wilson_interval(int(right.sum()), len(right)) or (0.0, 1.0)
    if low <= chance and len(np.unique(truth)) > 1:
        return [Note("no_better_than_chance", {"accuracy": accuracy, "chance": chance})]
    return []


def _best_order(truth: Ints, predicted: Ints, classes: int) -> Ints:
    """Return the class that each output stands for, so that most predictions are right, ``[classes]``."""
    from scipy.optimize import linear_sum_assignment

    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (predicted, truth), 1)
    counts = 2 * counts + np.eye(classes, dtype=np.int64)  # as they are where nothing speaks against it
    return np.asarray(linear_sum_assignment(counts, maximize=True)[1], np.int64)


def _is_clearly_better(one: Any, other: Any) -> bool:
    """Return whether more pictures are right than by the other way, by more than chance (McNemar's exact test)."""
    from scipy.stats import binomtest

    gained, lost = int((one & ~other).sum()), int((other & ~one).sum())
    return gained > lost and float(binomtest(gained, gained + lost).pvalue) < _CERTAIN
