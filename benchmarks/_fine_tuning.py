"""What the benchmarks of fine-tuning share: how a run is read and written down, and subsets of known pictures."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kilat.data.catalog import Source

Metrics = dict[str, Any]


@dataclass(frozen=True)
class Told:
    """What one run says of itself: the test accuracies of what was kept, of the frozen result, and of fine-tuning.

    Args:
        kept: the section ``test`` of what was kept.
        frozen: of the frozen result that fine-tuning began with.
        tuned: of the fine-tuned network; None where nothing was fine-tuned.
        validation: of the comparison, from which the choice was made; None likewise.
        which: what was kept, ``frozen`` or ``fine_tuned``.
    """

    kept: Metrics
    frozen: Metrics
    tuned: Metrics | None
    validation: Metrics | None
    which: str

    @classmethod
    def of(cls, metrics: Metrics) -> "Told":
        """Reads it out of ``metrics.json``."""
        found, test = metrics.get("comparison"), metrics["test"]
        if found is None:
            return cls(test, test, None, None, "frozen")
        return cls(test, found["frozen"]["test"], found["fine_tuned"]["test"], found["validation"], found["kept"])

    @property
    def gain(self) -> str:
        """What fine-tuning gained on validation pictures, with its standard error."""
        if self.validation is None:
            return "–"
        found = self.validation
        return f"{found['log_loss_gain']:+.4f} ± {found['standard_error']:.4f} (n={found['n']:,})"


def accuracy(measured: Metrics | None) -> str:
    """An accuracy with its 95% interval and its number of pictures."""
    if measured is None:
        return "–"
    low, high = measured["accuracy_interval"]
    return f"{measured['accuracy']:.4f} ({low:.4f}–{high:.4f}, n={measured['n']:,})"


def subset(source: Source, folder: Path, *, learn: int, test: int, seed: int) -> Path:
    """Writes some pictures of every class into ``folder/train`` and ``folder/test``, drawn by a seed.

    Pictures of the source's own test are only ever asked about; where it has none, the test is drawn from the rest.

    Args:
        source: where the pictures come from.
        folder: to write into.
        learn: pictures of each class to learn from.
        test: pictures of each class to ask about; fewer where there are no more.
        seed: decides which.
    """
    dice = np.random.default_rng(seed)
    for label in sorted({entry.label for entry in source.entries}):
        rows = [row for row, entry in enumerate(source.entries) if entry.label == label]
        drawn = [int(row) for row in dice.permutation(rows)]
        others = [row for row in drawn if source.entries[row].split != "test"]
        asked = [row for row in drawn if source.entries[row].split == "test"] or others[learn:]
        for split, chosen in (("train", others[:learn]), ("test", asked[:test])):
            place = folder / split / label.replace("/", "-")
            place.mkdir(parents=True)
            for row in chosen:
                _write(source, row, place)
    return folder


def _write(source: Source, row: int, place: Path) -> None:
    """Writes one picture: a file as it is, pixels as PNG."""
    picture = source.read(row)
    suffix = Path(source.entries[row].path).suffix
    if not isinstance(picture, bytes):
        file, suffix = io.BytesIO(), ".png"
        Image.fromarray(picture).save(file, "PNG")
        picture = file.getvalue()
    (place / f"{row}{suffix}").write_bytes(picture)
