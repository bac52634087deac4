"""Out of distribution: how well pictures unlike all training pictures are detected, by each method.

Every figure is the area under the ROC curve (AUROC) of the output `unknown` of the finished `model.onnx`, known test
pictures against out-of-distribution (OOD) ones:

- far: a model of one set is given pictures of other sets;
- leave one class out: a model is trained without a class, for each class in turn, and given that class (near).

A model file is written for every method, so the file's own arithmetic is measured. Next to the AUROC stand the share of
known test pictures that count as unknown (target: 5%) and the share of OOD pictures that do.

    python benchmarks/unknown.py                          flowers: far and leave one class out; 500 pictures a set
    python benchmarks/unknown.py --only cifar10           CIFAR-10 against the others (some minutes)
    python benchmarks/unknown.py --quick                  whether it works: the digits, 60 pictures a set

For comparison: OpenOOD v1.5 (arXiv 2306.09301), table of CIFAR-10 with a ResNet-18 trained on it, has for kNN 90.6 near
and 93.0 far. There the network was trained on the known set; here it is frozen, trained on ImageNet alone.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import _measure as measure
import numpy as np

from kilat import recipe as recipes
from kilat.bundle.predictor import Classifier, ModelOutput
from kilat.data.catalog import Picture, Source
from kilat.evaluate.out_of_distribution import COMBINATIONS, auroc
from kilat.learn import metadata
from kilat.learn.frozen import learn_head
from kilat.learn.learned import Learned
from kilat.learn.time_budget import TimeBudget
from kilat.learn.uncertainty import fit_uncertainty
from kilat.recipe import METHODS
from kilat.runtime.array_types import Flags, Floats, Ints
from kilat.runtime.progress import silent
from kilat.runtime.timer import Timer
from kilat.verbs.open_data import open_data

CHOICES = ("auto", *METHODS, *("+".join(names) for names in COMBINATIONS[1:]))
SETS = ("flowers", "cifar10", "digits", "fashion-mnist")
_QUICK = 60
_MAX_TEST = 1000


class Subset:
    """Some pictures of a source, as a source.

    Args:
        source: the whole.
        rows: which of its entries, ``[n]``.
    """

    def __init__(self, source: Source, rows: Ints) -> None:
        self.source, self.rows = source, rows
        self.name, self.skipped, self.notes = source.name, source.skipped, source.notes
        self.entries = [source.entries[row] for row in rows]

    def read(self, index: int) -> Picture:
        """Return the picture of an entry."""
        return self.source.read(int(self.rows[index]))

    def link(self, index: int) -> str | None:
        """Return the path of its own file."""
        return self.source.link(int(self.rows[index]))


@dataclass(frozen=True)
class Detection:
    """How well one choice of methods detects OOD pictures.

    Args:
        choice: of the recipe.
        methods: what that came to be.
        auroc: of the score, known test pictures against OOD ones.
        false_positive_rate: the share of known test pictures that count as unknown.
        detection_rate: the share of OOD pictures that do.
    """

    choice: str
    methods: str
    auroc: float
    false_positive_rate: float
    detection_rate: float


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("~/.cache/kilat-shared-data").expanduser())
    parser.add_argument("--only", choices=SETS, default="flowers")
    parser.add_argument("--pictures", type=int, default=500, help="of each OOD set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    known, count = ("digits", _QUICK) if args.quick else (args.only, args.pictures)
    print(measure.machine())
    source = open_set(known, args.root)
    names = [other for other in (SETS[1:] if not args.quick else ("fashion-mnist",)) if other != known]
    if Path(args.root / "flowers").is_dir() and known not in {"flowers", "digits"}:
        names.append("flowers")
    ood_images = {name: draw(open_set(name, args.root), count, args.seed) for name in names}
    far = compare(source, ood_images, args.seed)
    for name, detections in far.items():
        show(f"{known} against {name}", detections)
    rounds = list(leave_classes_out(source, count, args.seed)) if known in {"flowers", "digits"} else []
    if rounds:
        show(f"{known}, a class left out, mean of {len(rounds)}", mean(rounds))
    if args.json:
        document = {
            "known": known,
            "seed": args.seed,
            "pictures": count,
            "far": {name: [asdict(one) for one in detections] for name, detections in far.items()},
            "left_out": [[asdict(one) for one in detections] for detections in rounds],
        }
        args.json.write_text(json.dumps(document, indent=1))


def open_set(name: str, root: Path) -> Source:
    """Return a known set: an embedded one, or a copy below the root."""
    return open_data(root / name) if name in {"flowers", "cifar10"} else open_data(name, root=root)


def draw(source: Source, count: int, seed: int, candidates: Flags | None = None) -> Subset:
    """Return so many pictures of a source, drawn at random: of the candidates, or of its test set where it has one."""
    if candidates is None:
        is_test = np.array([entry.split == "test" for entry in source.entries])
        candidates = is_test if is_test.any() else np.ones(len(is_test), bool)
    rows = np.flatnonzero(candidates)
    return Subset(source, np.sort(np.random.default_rng(seed).permutation(rows)[:count]))


def compare(known: Source, ood_images: Mapping[str, Subset], seed: int) -> dict[str, list[Detection]]:
    """Return how well every choice of methods detects the pictures of every OOD set."""
    recipe = recipes.load("transfer", {"seed": seed})
    learned = learn_head(known, recipe, Timer(), TimeBudget(), silent)
    test = learned.split.test.rows
    test = test[np.linspace(0, len(test) - 1, min(len(test), _MAX_TEST)).round().astype(int)]
    detections: dict[str, list[Detection]] = {name: [] for name in ood_images}
    for choice in CHOICES:
        classifier, methods = bundle(learned, choice)
        known_scores = scores(classifier, Subset(known, test))
        false_positive_rate = float((known_scores > 0).mean())
        for name, pictures in ood_images.items():
            ood_scores = scores(classifier, pictures)
            area, detection_rate = auroc(known_scores, ood_scores), float((ood_scores > 0).mean())
            detections[name].append(Detection(choice, methods, area, false_positive_rate, detection_rate))
    return detections


def leave_classes_out(source: Source, count: int, seed: int) -> Iterator[list[Detection]]:
    """Yield for each class how well every choice detects it with a model that was trained without it."""
    labels = np.array([entry.label for entry in source.entries])
    for label in np.unique(labels):
        others = Subset(source, np.flatnonzero(labels != label))
        yield compare(others, {"left out": draw(source, count, seed, labels == label)}, seed)["left out"]


def bundle(learned: Learned, choice: str) -> tuple[Classifier, str]:
    """Return the finished file with one choice of methods, and what that came to be."""
    recipe, split, artifact = recipes.load("transfer", {"unknown": choice}), learned.split, learned.artifact
    uncertainty = fit_uncertainty(learned, recipe.trust)
    data = metadata.data(learned.catalog, learned.classes, recipe)
    manifest = metadata.manifest(artifact.info, recipe, data, split.measures(), uncertainty.thresholds())
    graph = uncertainty.ood.graph
    file = artifact.assemble(split.temperature, manifest, graph, learned.catalog.training_digests)
    return Classifier(file), "+".join(graph.detector.methods)


def scores(classifier: Classifier, pictures: Subset) -> Floats:
    """Return the file's output `unknown` for every picture that can be read, ``[n]``."""
    outputs = classifier.outputs(pictures.read(index) for index in range(len(pictures.entries)))
    return np.array([output.ood_score for output in outputs if isinstance(output, ModelOutput)], np.float32)


def mean(rounds: Sequence[Sequence[Detection]]) -> list[Detection]:
    """Return the mean of every choice over the rounds."""
    averages: tuple[str, ...] = ("auroc", "false_positive_rate", "detection_rate")
    return [
        replace(own[0], **{key: float(np.mean([getattr(one, key) for one in own])) for key in averages})
        for own in zip(*rounds, strict=True)
    ]


def show(title: str, detections: Sequence[Detection]) -> None:
    """Print a table."""
    print(f"\n{title}\n{'':28} AUROC  false positives  detected")
    for one in detections:
        name = f"{one.choice} = {one.methods}" if one.choice == "auto" else one.choice
        print(f"{name:28} {one.auroc:.4f} {one.false_positive_rate:15.1%} {one.detection_rate:9.1%}")


if __name__ == "__main__":
    main()
