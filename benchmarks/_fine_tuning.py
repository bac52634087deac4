"""What the benchmarks of fine-tuning share: the results of a run, and subsets of known data sets."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kilat.data.catalog import Source

Metrics = dict[str, Any]


@dataclass(frozen=True)
class FineTuningResult:
    """The test accuracies of one run: of what was kept, of the frozen result, and of the fine-tuned network.

    Args:
        kept: the section ``test`` of what was kept.
        frozen: of the frozen result that fine-tuning began with.
        fine_tuned: of the fine-tuned network, or of the small one; None where nothing was trained.
        validation: of the comparison, from which the choice was made; None likewise.
        which: what was kept, ``frozen``, ``fine_tuned`` or ``network``.
    """

    kept: Metrics
    frozen: Metrics
    fine_tuned: Metrics | None
    validation: Metrics | None
    which: str

    @classmethod
    def of(cls, metrics: Metrics) -> "FineTuningResult":
        """Return those of a ``metrics.json``."""
        comparison, test = metrics.get("comparison"), metrics["test"]
        if comparison is None:
            return cls(test, test, None, None, "frozen")
        trained = next(name for name in ("fine_tuned", "network") if name in comparison)
        frozen, fine_tuned = (comparison[name]["test"] for name in ("frozen", trained))
        return cls(test, frozen, fine_tuned, comparison["validation"], comparison["kept"])

    @property
    def gain(self) -> str:
        """What fine-tuning gained in log loss on the validation pictures, with its standard error."""
        if self.validation is None:
            return "–"
        gain, error = self.validation["log_loss_gain"], self.validation["standard_error"]
        return f"{gain:+.4f} ± {error:.4f} (n={self.validation['n']:,})"


def accuracy(measured: Metrics | None) -> str:
    """Return an accuracy with its 95% interval and its number of pictures, in words."""
    if measured is None:
        return "–"
    low, high = measured["accuracy_interval"]
    return f"{measured['accuracy']:.4f} ({low:.4f}–{high:.4f}, n={measured['n']:,})"


def subset(source: Source, folder: Path, *, train: int, test: int, seed: int) -> Path:
    """Write some pictures of every class into ``folder/train`` and ``folder/test``, drawn by a seed.

    Pictures of the source's own test set are never trained on; where it has none, the test set is drawn from the rest.

    Args:
        source: where the pictures come from.
        folder: to write into.
        train: training pictures of each class.
        test: test pictures of each class; fewer where there are no more.
        seed: another seed draws other pictures.
    """
    rng = np.random.default_rng(seed)
    for label in sorted({entry.label for entry in source.entries}):
        rows = [row for row, entry in enumerate(source.entries) if entry.label == label]
        drawn = [int(row) for row in rng.permutation(rows)]
        others = [row for row in drawn if source.entries[row].split != "test"]
        test_rows = [row for row in drawn if source.entries[row].split == "test"] or others[train:]
        for split, chosen in (("train", others[:train]), ("test", test_rows[:test])):
            target = folder / split / label.replace("/", "-")
            target.mkdir(parents=True)
            for row in chosen:
                _write_picture(source, row, target)
    return folder


def _write_picture(source: Source, row: int, folder: Path) -> None:
    """Write one picture: a file as it is, pixels as PNG."""
    picture = source.read(row)
    suffix = Path(source.entries[row].path).suffix
    if not isinstance(picture, bytes):
        file, suffix = io.BytesIO(), ".png"
        Image.fromarray(picture).save(file, "PNG")
        picture = file.getvalue()
    (folder / f"{row}{suffix}").write_bytes(picture)
