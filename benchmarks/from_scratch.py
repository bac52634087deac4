"""Accuracy of the built-in networks that are trained from scratch: Fashion-MNIST, and CIFAR-10 with `vgg-cifar`.

Each is a whole `kilat train` on the CPU. Both sets bring their own test pictures, which are used once, at the end;
validation is a tenth of the rest. The recipe `vgg-cifar` has 250 epochs; `--vgg-epochs` are run (12 by default), its
schedule as it is. The shared CIFAR-10 was compressed as JPEG, so its accuracies are slightly below those on the
original pixels.

    python benchmarks/from_scratch.py                                     everything, about an hour on two cores
    python benchmarks/from_scratch.py --data digits --epochs 1            whether it works, in a minute or two
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import _measure as measure

FASHION = ("mlp-bn", "mlp-dropout", "mlp-leaky-relu", "mlp-selu", "small-cnn")
CIFAR = "vgg-cifar"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=[*FASHION, CIFAR], help="a recipe; may be repeated")
    parser.add_argument("--epochs", type=int, help="of all recipes, instead of their own")
    parser.add_argument("--vgg-epochs", type=int, default=12)
    parser.add_argument("--root", type=Path, help="folder with copies of fashion-mnist and cifar10")
    parser.add_argument("--data", help="another set or folder for all of them, such as digits")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    measure.print_header(__doc__, *measure.PACKAGES, "torch")
    print(
        f"{'recipe':16}{'data':16}{'epochs':>8}  {'validation':12}{'test (95% interval)':34}{'seconds':>9}", flush=True
    )
    with tempfile.TemporaryDirectory() as workdir:
        for recipe in args.only or [*FASHION, CIFAR]:
            epochs = args.epochs or (args.vgg_epochs if recipe == CIFAR else None)
            data = (args.data,) if args.data else data_arguments(recipe, args.root)
            print(line(recipe, train(recipe, data, epochs, args.seed, Path(workdir))), flush=True)


def data_arguments(recipe: str, root: Path | None) -> tuple[str, ...]:
    """Return the command's arguments for the pictures of a recipe; skip where they are not here."""
    name = "cifar10" if recipe == CIFAR else "fashion-mnist"
    folder = measure.dataset_folder(name, root / name if root else None)
    return (name, "--root", str(folder.parent))


def train(recipe: str, data: tuple[str, ...], epochs: int | None, seed: int, workdir: Path) -> dict[str, Any]:
    """Return the name of the data, the seconds and the metrics of one whole run."""
    options = ["--recipe", recipe, "--seed", str(seed), *(["--epochs", str(epochs)] if epochs else [])]
    done = measure.train(data[0], workdir / "runs", workdir / "cache", *data[1:], *options)
    return {"name": data[0], "seconds": done.seconds, **done.document["metrics"]}


def line(recipe: str, run: dict[str, Any]) -> str:
    """Return a row of the table."""
    fit, test = run["fit"], run["test"]
    low, high = test["accuracy_interval"]
    tested = f"{test['accuracy']:.4f} ({low:.4f}–{high:.4f}, n={test['n']:,})"
    accuracy = f"{run['validation']['accuracy']:.4f}"
    return f"{recipe:16}{run['name']:16}{fit['epochs']:>8}  {accuracy:12}{tested:34}{run['seconds']:>9.1f}"


if __name__ == "__main__":
    main()
