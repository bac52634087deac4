"""Measures `kilat drift`: p-values where nothing changed, and how small a change is noticed.

A classifier is trained on a random 70% of the flowers. What it says of its test pictures and of the other 30%, none of
which it learnt, is split at random again and again into a reference of 500 and new pictures. At a level of 0.01, 1% of
such splits may count as drift. The new pictures are then altered, in part exchanged for CIFAR-10's, or drawn with
another mix of classes; what is asked is how often that is noticed.

The last table compares portions of the 30% with the reference in the model file itself. Since that reference is the
same one every time, its p-values hang together; what training pictures in it would do shows all the same.

    python benchmarks/drift.py                                15 minutes on two cores
    python benchmarks/drift.py --splits 5 --alterations 2     whether it works
"""

import argparse
import io
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import _measure as measure
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from kilat.bundle.predictor import Classifier, ModelOutput, load
from kilat.evaluate.drift import compare

LEVEL, REFERENCE = 0.01, 500
PORTIONS = (50, 200, 500)

Embeddings = NDArray[np.float32]
Rows = NDArray[np.int64]
Taken = Callable[[Rows], Embeddings]
ALTERATIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "brightness -30%": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "brightness +30%": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "blur, 1 pixel": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "JPEG quality 30": lambda image: again(image, 30),
    "JPEG quality 75": lambda image: again(image, 75),
}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="pictures in class folders; flowers by default")
    parser.add_argument("--splits", type=int, default=200, help="of unaltered pictures")
    parser.add_argument("--alterations", type=int, default=50, help="splits for each alteration")
    args = parser.parse_args()
    measure.print_header(__doc__, "kilat", "numpy", "onnxruntime", "pillow")
    files = measure.list_pictures(measure.dataset_folder("flowers", args.folder))
    others = measure.list_pictures(measure.dataset_folder("cifar10") / "test")
    with tempfile.TemporaryDirectory() as place:
        classifier, test, rest = learnt(files, Path(place))
    known = embeddings(classifier, test)
    labels = np.array([file.parent.name for file in rest])
    clean = embeddings(classifier, rest)
    room = Room(known, clean)
    uniform(room, args.splits)
    print(f"\nShare of {args.alterations} splits found at {LEVEL}, by how many new pictures; area under the ROC curve")
    for name, alter in ALTERATIONS.items():
        altered = embeddings(classifier, [encoded(alter(opened(file))) for file in rest])
        noticed(name, room, altered.__getitem__, args.alterations)
    foreign = embeddings(classifier, random.Random(0).sample(others, 500))
    for share in (0.05, 0.1, 0.5):
        noticed(f"{share:.0%} from CIFAR-10", room, mixed(clean, foreign, share), args.alterations)
    last = np.unique(labels)[-1]
    for name, weight in ((f"no {last}", 0.0), (f"{last} doubled", 2.0)):
        noticed(name, room, clean.__getitem__, args.alterations, np.where(labels == last, weight, 1.0))
    in_the_file(classifier, known, clean, args.splits)


class Room:
    """Embeddings of pictures that nothing was learnt from, to be split at random.

    Args:
        known: of the classifier's own test pictures.
        rest: of those that it never came across.
    """

    def __init__(self, known: Embeddings, rest: Embeddings) -> None:
        self.both, self.count = np.concatenate([rest, known]), len(rest)

    def split(
        self, m: int, rng: np.random.Generator, weights: NDArray[np.float64] | None = None
    ) -> tuple[Embeddings, Rows]:
        """A reference, and rows of ``m`` of the rest that are not in it."""
        shares = None if weights is None else weights / weights.sum()
        rows = rng.choice(self.count, m, replace=False, p=shares)
        left = np.setdiff1d(np.arange(len(self.both)), rows)
        return self.both[rng.choice(left, REFERENCE, replace=False)], rows


def learnt(files: list[Path], place: Path) -> tuple[Classifier, list[Path], list[Path]]:
    """A classifier of 70% of the pictures, its test pictures, and the other 30%."""
    import pandas as pd

    shuffled = random.Random(7).sample(files, len(files))
    cut = round(0.7 * len(files))
    for file in shuffled[:cut]:
        target = place / "own" / file.parent.name
        target.mkdir(parents=True, exist_ok=True)
        (target / file.name).symlink_to(file.resolve())
    measure.train(place / "own", place / "runs", place / "cache", "--name", "own")
    catalog = pd.read_csv(place / "runs" / "own" / "catalog.csv")
    inside = catalog.loc[catalog["split"] == "test", "path"]
    return load(place / "runs" / "own"), [files[0].parent.parent / path for path in inside], sorted(shuffled[cut:])


def embeddings(classifier: Classifier, pictures: list[Path] | list[bytes]) -> Embeddings:
    """Where the classifier places pictures."""
    answers = [one for one in classifier.outputs(pictures) if isinstance(one, ModelOutput)]
    assert len(answers) == len(pictures)
    return np.array([answer.embedding for answer in answers])


def uniform(room: Room, splits: int) -> None:
    """Print how p-values of unaltered pictures lie."""
    from scipy.stats import kstest

    print(f"\nUnaltered, {splits} splits: share of p-values below 0.01, 0.05, 0.1, 0.5; uniform by Kolmogorov-Smirnov")
    for m in PORTIONS:
        rng = np.random.default_rng(m)
        found = []
        for split in range(splits):
            reference, rows = room.split(m, rng)
            found.append(compare(reference, room.both[rows], seed=split).p_value)
        shares = [np.mean(np.array(found) <= level) for level in (0.01, 0.05, 0.1, 0.5)]
        agreement = kstest(found, "uniform").pvalue
        print(f"{m:5} new  {'  '.join(f'{share:.3f}' for share in shares)}  p = {agreement:.2f}", flush=True)
        bound = LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / splits)
        measure.verdict(
            f"at most {LEVEL:.0%} false alarms with {m} pictures", f"{shares[0]:.1%}", bool(shares[0] <= bound)
        )


def noticed(
    name: str,
    room: Room,
    taken: Taken,
    splits: int,
    weights: NDArray[np.float64] | None = None,
) -> None:
    """Print how often an alteration is found."""
    parts = []
    for m in PORTIONS:
        rng = np.random.default_rng(m)
        found = []
        for split in range(splits):
            reference, rows = room.split(m, rng, weights)
            found.append(compare(reference, taken(rows), seed=split))
        share = np.mean([one.p_value <= LEVEL for one in found])
        parts.append(f"{m}: {share:.2f} (AUROC {np.mean([one.auroc for one in found]):.2f})")
    print(f"{name:18} {'   '.join(parts)}", flush=True)


def mixed(clean: Embeddings, foreign: Embeddings, share: float) -> Taken:
    """Return rows with a share of them exchanged."""

    def taken(rows: Rows) -> Embeddings:
        count = round(share * len(rows))
        return np.concatenate([foreign[:count], clean[rows[count:]]])

    return taken


def in_the_file(classifier: Classifier, known: Embeddings, rest: Embeddings, splits: int) -> None:
    """Print what comparing with the model file's own reference says of unaltered pictures."""
    own = classifier.reference
    assert own is not None
    print(
        f"\nPortions of the 30% against {len(own)} in the file, and against the {len(known)} test pictures: p <= 0.05"
    )
    for m in PORTIONS:
        rng = np.random.default_rng(m)
        rows = [rng.choice(len(rest), m, replace=False) for _ in range(max(1, splits // 4))]
        shares = [np.mean([compare(side, rest[some]).p_value <= 0.05 for some in rows]) for side in (own, known)]
        print(f"{m:5} new  {shares[0]:.2f}  {shares[1]:.2f}", flush=True)


def opened(file: Path) -> Image.Image:
    """The picture."""
    with Image.open(file) as image:
        return image.convert("RGB")


def encoded(image: Image.Image) -> bytes:
    """The picture as a file, nearly as it is."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def again(image: Image.Image, quality: int) -> Image.Image:
    """The picture after a stay in a JPEG file of some quality."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


if __name__ == "__main__":
    main()
