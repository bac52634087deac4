"""Accuracy of the built-in networks that are trained from scratch: Fashion-MNIST, and CIFAR-10 with `vgg-cifar`.

Each is a whole `kilat train` on the CPU. Both sets bring their own test pictures, which are asked once, at the end;
validation is a tenth of the rest. `vgg-cifar` says 250 epochs; `--vgg-epochs` are run (12 by default), its schedule as
it is. The shared CIFAR-10 was compressed as JPEG, so its accuracies are slightly below those on the original pixels.

    python benchmarks/from_scratch.py                                     everything, about an hour on two cores
    python benchmarks/from_scratch.py --on digits --epochs 1              whether it works, in a minute or two
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import _measure as measure

FASHION = ("mlp-bn", "mlp-dropout", "mlp-leaky-relu", "mlp-selu", "small-cnn")
CIFAR = "vgg-cifar"


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=[*FASHION, CIFAR], help="a recipe; may be said again")
    parser.add_argument("--epochs", type=int, help="of all recipes, instead of their own")
    parser.add_argument("--vgg-epochs", type=int, default=12)
    parser.add_argument("--root", type=Path, help="folder with copies of fashion-mnist and cifar10")
    parser.add_argument("--on", help="another set or folder for all of them, such as digits")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    measure.opening(__doc__, *measure.PACKAGES, "torch")
    print(f"{'recipe':16}{'on':16}{'epochs':>8}  {'validation':12}{'test (95% interval)':34}{'seconds':>9}", flush=True)
    with tempfile.TemporaryDirectory() as place:
        for recipe in given.only or [*FASHION, CIFAR]:
            epochs = given.epochs or (given.vgg_epochs if recipe == CIFAR else None)
            data = (given.on,) if given.on else pictures(recipe, given.root)
            print(line(recipe, train(recipe, data, epochs, given.seed, Path(place))), flush=True)


def pictures(recipe: str, root: Path | None) -> tuple[str, ...]:
    """What the command is given to find the pictures of a recipe; skips where they are not here."""
    name = "cifar10" if recipe == CIFAR else "fashion-mnist"
    folder = measure.pictures_of(name, root / name if root else None)
    return (name, "--root", str(folder.parent))


def train(recipe: str, data: tuple[str, ...], epochs: int | None, seed: int, place: Path) -> dict[str, Any]:
    """One whole run: its set, seconds from outside, and metrics."""
    chosen = ["--recipe", recipe, "--seed", str(seed), *(["--epochs", str(epochs)] if epochs else [])]
    done = measure.train(data[0], place / "runs", place / "cache", *data[1:], *chosen)
    return {"on": data[0], "seconds": done.seconds, **done.document["metrics"]}


def line(recipe: str, run: dict[str, Any]) -> str:
    """One row of the table."""
    fit, test = run["fit"], run["test"]
    low, high = test["accuracy_interval"]
    tested = f"{test['accuracy']:.4f} ({low:.4f}–{high:.4f}, n={test['n']:,})"
    accuracy = f"{run['validation']['accuracy']:.4f}"
    return f"{recipe:16}{run['on']:16}{fit['epochs']:>8}  {accuracy:12}{tested:34}{run['seconds']:>9.1f}"


if __name__ == "__main__":
    main()
