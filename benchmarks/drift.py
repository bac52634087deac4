"""`kilat drift`: p-values where nothing changed, and how often small changes are detected.

A classifier is trained on a random 70% of the flowers. The embeddings of its test pictures and of the other 30%, none
of which it was trained on, are split at random again and again into a reference of 500 and new pictures. At a level of
0.01, 1% of such splits may count as drift. The new pictures are then altered, partly replaced by CIFAR-10's, or drawn
with another mix of classes; measured is how often that is detected.

The last table compares samples of the 30% with the reference in the model file itself. Since that reference is the same
every time, its p-values are not independent; what training pictures in it would do shows all the same.

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

from kilat.bundle.predictor import Classifier
from kilat.evaluate.drift import compare
from kilat.verbs.run import Run

LEVEL, REFERENCE = 0.01, 500
SAMPLE_SIZES = (50, 200, 500)

Embeddings = NDArray[np.float32]
Rows = NDArray[np.int64]
Lookup = Callable[[Rows], Embeddings]
ALTERATIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "brightness -30%": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "brightness +30%": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "blur, 1 pixel": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "JPEG quality 30": lambda image: recompressed(image, 30),
    "JPEG quality 75": lambda image: recompressed(image, 75),
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
    with tempfile.TemporaryDirectory() as workdir:
        classifier, test, rest = train(files, Path(workdir))
    known = classifier.embed(test)
    labels = np.array([file.parent.name for file in rest])
    clean = classifier.embed(rest)
    pool = Pool(known, clean)
    unaltered(pool, args.splits)
    print(f"\nShare of {args.alterations} splits detected at {LEVEL}, by number of new pictures; AUROC")
    for name, alter in ALTERATIONS.items():
        altered = classifier.embed([encoded(alter(opened(file))) for file in rest])
        detected(name, pool, altered.__getitem__, args.alterations)
    foreign = classifier.embed(random.Random(0).sample(others, 500))
    for share in (0.05, 0.1, 0.5):
        detected(f"{share:.0%} from CIFAR-10", pool, mixed(clean, foreign, share), args.alterations)
    last = np.unique(labels)[-1]
    for name, weight in ((f"no {last}", 0.0), (f"{last} doubled", 2.0)):
        detected(name, pool, clean.__getitem__, args.alterations, np.where(labels == last, weight, 1.0))
    against_model_file(classifier, known, clean, args.splits)


class Pool:
    """Embeddings of pictures that were not trained on, to be split at random.

    Args:
        known: of the classifier's own test pictures.
        rest: of those that it was never given.
    """

    def __init__(self, known: Embeddings, rest: Embeddings) -> None:
        self.both, self.count = np.concatenate([rest, known]), len(rest)

    def split(
        self, m: int, rng: np.random.Generator, weights: NDArray[np.float64] | None = None
    ) -> tuple[Embeddings, Rows]:
        """Return a reference ``[REFERENCE, d]``, and rows of ``m`` of the rest that are not in it."""
        shares = None if weights is None else weights / weights.sum()
        rows = rng.choice(self.count, m, replace=False, p=shares)
        left = np.setdiff1d(np.arange(len(self.both)), rows)
        return self.both[rng.choice(left, REFERENCE, replace=False)], rows


def train(files: list[Path], workdir: Path) -> tuple[Classifier, list[Path], list[Path]]:
    """Return a classifier trained on 70% of the pictures, its test pictures, and the other 30%."""
    shuffled = random.Random(7).sample(files, len(files))
    cut = round(0.7 * len(files))
    for file in shuffled[:cut]:
        target = workdir / "own" / file.parent.name
        target.mkdir(parents=True, exist_ok=True)
        (target / file.name).symlink_to(file.resolve())
    done = measure.train(workdir / "own", workdir / "runs", workdir / "cache")
    run = Run.open(done.document["run"])
    test = run.catalog.loc[run.catalog["split"] == "test", "path"]
    return run.classifier, [files[0].parent.parent / path for path in test], sorted(shuffled[cut:])


def unaltered(pool: Pool, splits: int) -> None:
    """Print how p-values of unaltered pictures are distributed."""
    from scipy.stats import kstest

    print(f"\nUnaltered, {splits} splits: share of p-values below 0.01, 0.05, 0.1, 0.5; uniform by Kolmogorov-Smirnov")
    for m in SAMPLE_SIZES:
        rng = np.random.default_rng(m)
        p_values = []
        for split in range(splits):
            reference, rows = pool.split(m, rng)
            p_values.append(compare(reference, pool.both[rows], seed=split).p_value)
        shares = [np.mean(np.array(p_values) <= level) for level in (0.01, 0.05, 0.1, 0.5)]
        agreement = kstest(p_values, "uniform").pvalue
        print(f"{m:5} new  {'  '.join(f'{share:.3f}' for share in shares)}  p = {agreement:.2f}", flush=True)
        bound = LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / splits)
        measure.verdict(
            f"at most {LEVEL:.0%} false positives with {m} pictures", f"{shares[0]:.1%}", bool(shares[0] <= bound)
        )


def detected(
    name: str,
    pool: Pool,
    embeddings_of: Lookup,
    splits: int,
    weights: NDArray[np.float64] | None = None,
) -> None:
    """Print how often an alteration is detected."""
    parts = []
    for m in SAMPLE_SIZES:
        rng = np.random.default_rng(m)
        drifts = []
        for split in range(splits):
            reference, rows = pool.split(m, rng, weights)
            drifts.append(compare(reference, embeddings_of(rows), seed=split))
        share = np.mean([one.p_value <= LEVEL for one in drifts])
        parts.append(f"{m}: {share:.2f} (AUROC {np.mean([one.auroc for one in drifts]):.2f})")
    print(f"{name:18} {'   '.join(parts)}", flush=True)


def mixed(clean: Embeddings, foreign: Embeddings, share: float) -> Lookup:
    """Return a lookup of clean embeddings, a share of them replaced by foreign ones."""

    def embeddings_of(rows: Rows) -> Embeddings:
        count = round(share * len(rows))
        return np.concatenate([foreign[:count], clean[rows[count:]]])

    return embeddings_of


def against_model_file(classifier: Classifier, known: Embeddings, rest: Embeddings, splits: int) -> None:
    """Print how unaltered pictures compare with the model file's own reference."""
    own = classifier.reference
    assert own is not None
    print(f"\nSamples of the 30% against {len(own)} in the file, and against the {len(known)} test pictures: p <= 0.05")
    for m in SAMPLE_SIZES:
        rng = np.random.default_rng(m)
        rows = [rng.choice(len(rest), m, replace=False) for _ in range(max(1, splits // 4))]
        shares = [np.mean([compare(side, rest[sample]).p_value <= 0.05 for sample in rows]) for side in (own, known)]
        print(f"{m:5} new  {shares[0]:.2f}  {shares[1]:.2f}", flush=True)


def opened(file: Path) -> Image.Image:
    """Return the picture of a file."""
    with Image.open(file) as image:
        return image.convert("RGB")


def encoded(image: Image.Image) -> bytes:
    """Return a JPEG of a picture, with hardly any loss."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def recompressed(image: Image.Image, quality: int) -> Image.Image:
    """Return the picture compressed as JPEG at some quality and decoded again."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


if __name__ == "__main__":
    main()
