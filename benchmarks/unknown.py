"""None of these: how well pictures are noticed that are unlike all training pictures, by each method.

Every figure is the area under the ROC curve (AUROC) of the output `unknown` of the finished `model.onnx`, known test
pictures against foreign ones:

- far: a model of one set is asked about pictures of other sets;
- leave one class out: a model is trained without a class, for each class in turn, and asked about that class (near).

For every method a file is written, so the file's own arithmetic is measured. Beside the auroc stand the share of known
test pictures that count as unknown (target: 5%) and of foreign ones that do.

    python benchmarks/unknown.py                          flowers: far and leave one class out; 500 pictures a set
    python benchmarks/unknown.py --only cifar10           CIFAR-10 against the others (some minutes)
    python benchmarks/unknown.py --quick                  whether it works: the digits, 60 pictures a set

For comparison: OpenOOD v1.5 (arXiv 2306.09301), table of CIFAR-10 with a ResNet-18 trained on it, has for kNN 90.6 near
and 93.0 far. There the network was trained on the known set; here it is frozen, and knows ImageNet alone.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _measure as measure
import numpy as np
from numpy.typing import NDArray

from kilat import recipe as recipes
from kilat.bundle.predictor import Classifier, ModelOutput
from kilat.data.catalog import Entry, Picture, Source
from kilat.evaluate.out_of_distribution import COMBINATIONS, auroc
from kilat.learn import metadata
from kilat.learn.frozen import Result, fit_head
from kilat.learn.uncertainty import trust
from kilat.recipe import METHODS
from kilat.runtime.progress import silent
from kilat.runtime.timer import Timer
from kilat.verbs.train import open_data

WAYS = ("auto", *METHODS, *("+".join(names) for names in COMBINATIONS[1:]))
SETS = ("flowers", "cifar10", "digits", "fashion-mnist")
_QUICK = 60


@dataclass
class Some:
    """A part of a source, as a source."""

    source: Source
    rows: NDArray[np.int64]

    def __post_init__(self) -> None:
        self.name, self.skipped = self.source.name, self.source.skipped
        self.entries: list[Entry] = [self.source.entries[row] for row in self.rows]

    def read(self, index: int) -> Picture:
        """The picture of an entry."""
        return self.source.read(int(self.rows[index]))

    def link(self, index: int) -> str | None:
        """Its own file."""
        return self.source.link(int(self.rows[index]))


@dataclass(frozen=True)
class Area:
    """How well one way tells known from foreign pictures."""

    way: str
    chosen: str
    area: float
    false_positive_rate: float
    noticed: float


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("~/.cache/kilat-shared-data").expanduser())
    parser.add_argument("--only", choices=SETS, default="flowers")
    parser.add_argument("--pictures", type=int, default=500, help="of each foreign set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    known, count = ("digits", _QUICK) if args.quick else (args.only, args.pictures)
    print(measure.machine())
    source = opened(known, args.root)
    found: dict[str, Any] = {"known": known, "seed": args.seed, "pictures": count, "far": {}, "left_out": {}}
    far = [other for other in (SETS[1:] if not args.quick else ("fashion-mnist",)) if other != known]
    if Path(args.root / "flowers").is_dir() and known not in {"flowers", "digits"}:
        far.append("flowers")
    foreign = {name: some(opened(name, args.root), count, args.seed) for name in far}
    for name, measured in compared(source, foreign, args.seed).items():
        found["far"][name] = [vars(one) for one in measured]
        show(f"{known} against {name}", measured)
    if known in {"flowers", "digits"}:
        rounds = [[vars(one) for one in measured] for measured in left_out(source, count, args.seed)]
        found["left_out"] = rounds
        show(f"{known}, a class left out, mean of {len(rounds)}", mean(rounds))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


def opened(name: str, root: Path) -> Source:
    """A known set: embedded, in a folder below the root, or as the root holds it."""
    folder = root / name
    return open_data(str(folder), None) if name in {"flowers", "cifar10"} else open_data(name, root)


def some(source: Source, count: int, seed: int, keep: NDArray[np.bool_] | None = None) -> Some:
    """So many pictures of a source, drawn at random; of its test where it has one."""
    splits = np.array([entry.split for entry in source.entries])
    allowed = (splits == "test") if (splits == "test").any() and keep is None else np.ones(len(splits), bool)
    rows = np.flatnonzero(allowed if keep is None else allowed & keep)
    return Some(source, np.sort(np.random.default_rng(seed).permutation(rows)[:count]))


def compared(known: Source, foreign: dict[str, Some], seed: int) -> dict[str, list[Area]]:
    """Every way's auroc on every foreign set."""
    result = learnt(known, seed)
    asked = result.learnt.asked.rows
    rows = asked[np.linspace(0, len(asked) - 1, min(len(asked), 1000)).round().astype(int)]
    own = Some(known, rows)
    found: dict[str, list[Area]] = {name: [] for name in foreign}
    for way in WAYS:
        classifier, chosen = bundled(result, way)
        usual = strangeness(classifier, own)
        for name, pictures in foreign.items():
            strange = strangeness(classifier, pictures)
            found[name].append(
                Area(way, chosen, auroc(usual, strange), float((usual > 0).mean()), float((strange > 0).mean()))
            )
    return found


def left_out(source: Source, count: int, seed: int) -> Iterator[list[Area]]:
    """For each class, every way's auroc for a model that never saw it."""
    labels = np.array([entry.label for entry in source.entries])
    for label in np.unique(labels):
        rest = Some(source, np.flatnonzero(labels != label))
        yield compared(rest, {str(label): some(source, count, seed, labels == label)}, seed)[str(label)]


def learnt(source: Source, seed: int) -> Result:
    """A head on a frozen backbone, calibrated."""
    return Result.of(fit_head(source, recipes.load("transfer", {"seed": seed}), Timer(), silent))


def bundled(result: Result, way: str) -> tuple[Classifier, str]:
    """The finished file with one way to notice unknown pictures, and which that came to be."""
    recipe = recipes.load("transfer", {"unknown": way})
    trusted = trust(result, recipe.trust)
    metrics = {"data": metadata.data(result.learnt.catalog, result.learnt.classes, recipe), **result.measures()}
    manifest = metadata.manifest(result.learnt.network, recipe, metrics, trusted.thresholds)
    file = result.learnt.bundle(result.temperature, manifest, trusted.sensed.senses)
    return Classifier(file), "+".join(trusted.sensed.senses.detector.methods)


def strangeness(classifier: Classifier, pictures: Some) -> NDArray[np.float32]:
    """The file's output `unknown` for every picture that can be read."""
    answers = classifier.outputs(pictures.read(at) for at in range(len(pictures.entries)))
    return np.array([one.unknown for one in answers if isinstance(one, ModelOutput)], np.float32)


def mean(rounds: list[list[dict[str, Any]]]) -> list[Area]:
    """Every way's mean over the rounds."""
    means = ("area", "false_positive_rate", "noticed")
    return [
        Area(**{**way, **{key: float(np.mean([found[at][key] for found in rounds])) for key in means}})
        for at, way in enumerate(rounds[0])
    ]


def show(title: str, measured: list[Area]) -> None:
    """A table."""
    print(f"\n{title}\n{'':28} AUROC  false alarms  noticed")
    for one in measured:
        name = f"{one.way} = {one.chosen}" if one.way == "auto" else one.way
        print(f"{name:28} {one.area:.4f} {one.false_positive_rate:11.1%} {one.noticed:9.1%}")


if __name__ == "__main__":
    main()
